"""Filing a run: its scores and how long the whole command took; and filing the report of a sweep."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FILE_RUN = Path(__file__).parents[2] / "docs" / "file_run.py"

RUN = """
import json, pathlib, time
time.sleep(0.3)
pathlib.Path("scores.json").write_text(json.dumps({"stages": {}}))
"""


def test_scores_are_filed_with_the_time_of_the_whole_command(tmp_path):
    script = tmp_path / "docs" / "file_run.py"
    script.parent.mkdir()
    script.write_text(FILE_RUN.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    subprocess.run([sys.executable, script, "made", ".", sys.executable, "run.py"], check=True, cwd=tmp_path)
    filed = json.loads((tmp_path / "docs" / "results" / "made.json").read_text(encoding="utf-8"))
    assert filed["stages"] == {}
    assert filed["command"]["line"].endswith("run.py")
    assert 0.3 <= filed["command"]["seconds"] < 60


def test_a_failing_command_files_nothing(tmp_path):
    script = tmp_path / "docs" / "file_run.py"
    script.parent.mkdir()
    script.write_text(FILE_RUN.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            [sys.executable, script, "made", ".", sys.executable, "-c", "raise SystemExit(3)"], check=True, cwd=tmp_path
        )
    assert not (tmp_path / "docs" / "results").exists()


def test_the_report_of_a_sweep_is_filed(tmp_path):
    spec = importlib.util.spec_from_file_location("file_sweep", FILE_RUN.with_name("file_sweep.py"))
    file_sweep = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file_sweep)
    with pytest.raises(FileNotFoundError, match="it has no finished run; start `lasagna sweep`"):
        file_sweep.file("ways", tmp_path / "runs", tmp_path / "results")
    for variant in ("set", "tokens"):
        folder = tmp_path / "runs" / variant / "seed_0"
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps({"stages": {}, "from": variant}))
    (tmp_path / "runs" / "report.csv").write_text("score,variant,runs,mean,half_width\n")
    (tmp_path / "runs" / "report.md").write_text("## Claims\n\n- one\n")
    file_sweep.file("ways", tmp_path / "runs", tmp_path / "results")
    filed = {file.name: file.read_text() for file in (tmp_path / "results").iterdir()}
    assert filed.keys() == {"ways.csv", "ways_report.md", "ways.json"}
    assert filed["ways_report.md"] == "## Claims\n\n- one\n"
    assert json.loads(filed["ways.json"])["from"] == "set"
