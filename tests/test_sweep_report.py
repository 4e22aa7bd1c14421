import csv
import json

import pytest
from PIL import Image

from lasagna.report_plots import group_by_length
from lasagna.report_runs import collect_runs
from lasagna.sweep_report import ReportError, report, tabulate


def write_run(folder, scores, status="finished", stage="test"):
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps({"stages": {stage: {"scores": scores}}}))
    if status:
        (folder / "sweep_run.json").write_text(json.dumps({"status": status}))


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        for variant, base in (("full", 0.8), ("fixed,lr=1", 0.6)):
            scores = {f"test/recall/by_length/{length}": base - seed / 100 - length / 200 for length in (1, 4, 16)}
            write_run(tmp_path / variant / f"seed_{seed}", scores | {"test/iou": base + seed / 10, "test/nan": None})
    return tmp_path


def test_report_writes_table_and_pictures(runs, capsys):
    report(runs)
    text = (runs / "report.md").read_text()
    assert "| test/iou | 0.7000 ± 0.2484 (3) | 0.9000 ± 0.2484 (3) |" in text
    assert text.index("by_length/4") < text.index("by_length/16")
    assert "test/nan" not in text
    assert "Not in the table" not in text
    rows = list(csv.DictReader((runs / "report.csv").open()))
    row = next(row for row in rows if row["score"] == "test/iou" and row["variant"] == "full")
    assert (row["runs"], float(row["mean"])) == ("3", pytest.approx(0.9))
    assert Image.open(runs / "scores.png").width > 300
    assert Image.open(runs / "by_length.png").width > 300
    assert "test/iou" in capsys.readouterr().out


def test_metrics_can_be_chosen(runs, tmp_path):
    report(runs, out=tmp_path / "elsewhere", metrics=["iou"])
    assert "recall" not in (tmp_path / "elsewhere" / "report.md").read_text()
    assert not (tmp_path / "elsewhere" / "by_length.png").exists()


def test_curves_by_length(runs):
    families = group_by_length(tabulate(collect_runs(runs, "test")[0]))
    assert list(families) == ["test/recall"]
    assert sorted(families["test/recall"]["full"]) == [1, 4, 16]


def test_loader_suffixes_do_not_hide_lengths():
    table = {"recall/by_length/4/dataloader_idx_0": {}, "recall/by_length/4x": {}}
    assert group_by_length(table) == {}
    interval = object()
    found = group_by_length({"recall/by_length/4/dataloader_idx_0": {"v": interval}})
    assert found == {"recall/dataloader_idx_0": {"v": {4: interval}}}


def test_what_cannot_be_used_is_named(runs):
    (runs / "broken" / "seed_0").mkdir(parents=True)
    (runs / "broken" / "seed_0" / "scores.json").write_text("{")
    write_run(runs / "half" / "seed_0", {"test/iou": 1.0}, status="running")
    write_run(runs / "untested" / "seed_0", {}, stage="fit")
    (runs / "empty" / "seed_0").mkdir(parents=True)
    (runs / "empty" / "seed_0" / "sweep_run.json").write_text('{"status": "finished"}')
    report(runs)
    text = (runs / "report.md").read_text()
    for name, reason in {
        "broken/seed_0/scores.json": "",
        "half/seed_0/scores.json": "not finished but running",
        "untested/seed_0/scores.json": "no scores of 'test'",
        "empty/seed_0/scores.json": "there is none",
    }.items():
        assert f"- {name}: " in text
        assert reason in text
    assert "| half" not in text


def test_single_runs_without_a_sweep(tmp_path):
    write_run(tmp_path / "mine", {"test/iou": 0.5}, status=None)
    report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| score | mine |" in text
    assert "0.5000 (1)" in text


def test_a_run_folder_itself(tmp_path):
    write_run(tmp_path / "only", {"test/iou": 0.5}, status=None)
    assert collect_runs(tmp_path / "only", "test")[0][0].variant == "only"
    write_run(tmp_path / "v" / "seed_2", {"test/iou": 0.5}, status=None)
    assert collect_runs(tmp_path / "v" / "seed_2", "test")[0][0].variant == "v"


def test_nothing_to_report(tmp_path):
    with pytest.raises(ReportError, match="no scores of 'test'"):
        report(tmp_path)
