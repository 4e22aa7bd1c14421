"""What the README says is true: its commands run, its numbers are those of the committed files, its files are there."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lasagna.cli.train import main
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import PROMPT_FORMATS
from tests.helpers.documented import ROOT, blocks, broken_links, commands, make_place, run_block

README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCKS = blocks(README, "bash")
FILES = re.compile(r"(?<![\w/.-])(?:configs|docs|lasagna|tests|examples)/[\w./-]*\w")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A place in which the commands of the set-up have been run, the main job among them."""
    folder = make_place(tmp_path_factory.mktemp("readme"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_block(BLOCKS[0], patch)
    return folder


@pytest.fixture
def there(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def setup_commands():
    return commands(BLOCKS[0])


def test_readme_is_short():
    assert len(README.read_bytes()) <= 10_000


def test_two_commands_do_all_the_set_up():
    assert setup_commands() == ["pip install -e . && python train.py", 'pip install -e ".[test]" && pytest']


def test_the_checks_install_and_test_as_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    wanted, job = (shlex.split(part) for part in setup_commands()[1].split("&&"))
    ran = [shlex.split(line.split("||")[0], comments=True) for line in script.splitlines() if "pip install" in line]
    extras = {extra for words in ran for word in words for extra in re.findall(r"^\.\[([\w,]+)\]$", word)}
    assert any("-e" in words for words in ran)
    assert set(re.findall(r"\[(\w+)\]", wanted[-1])) <= set(",".join(extras).split(","))
    assert any(line.split()[: len(job)] == job for line in script.splitlines())


@pytest.mark.docs
@pytest.mark.parametrize("block", BLOCKS[1:], ids=[commands(block)[0][:48] for block in BLOCKS[1:]])
def test_commands_run(block, there, monkeypatch):
    run_block(block, monkeypatch)


def test_the_main_job_leaves_what_is_promised(there):
    text = README.read_text(encoding="utf-8")
    promised = re.search(r"leaves in\s+`runs/default`:(.*?predictions.png`)", text, re.S)[1]
    for name in re.findall(r"`([\w/.]+)`", promised):
        assert (there / "runs" / "default" / name).is_file(), name


def test_python_form_runs_and_is_short(there, capsys):
    [text] = blocks(README, "python")
    assert len([line for line in text.splitlines() if line.strip()]) < 10
    exec(compile(text, "README.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["sky", "sun", "house", "dog"]


def test_flags_that_are_named_in_passing_are_taken(there):
    flags = re.findall(r"`--((?:model|trainer|data)\.[\w.]+) ([\w.-]+)`", README.read_text(encoding="utf-8"))
    flags = [f"--{key}={value}" for key, value in flags if key not in ("trainer.max_steps", "data.num_workers")]
    assert len(flags) >= 3
    small = ["--trainer.fast_dev_run=true", "--data.writers=[]", "--data.batch_size=2", "--data.num_workers=0"]
    main(["fit", *flags, *small, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])


def test_prompt_formats_are_written_as_shown():
    mask = RLEMask.from_array(np.ones((2, 2), dtype=bool))
    dialogue = Dialogue("categories", ("sky", "dog"), (Entry("sky", True, mask), Entry("dog", False)))
    page = ROOT / "docs" / "how_to" / "prompt_format.md"
    rows = re.findall(r"^\| `(\w+)` \| `(.*)` \| `(.*)` \|$", page.read_text(encoding="utf-8"), re.M)
    rows = [row for row in rows if row[0] in PROMPT_FORMATS]
    assert {name for name, _, _ in rows} == set(PROMPT_FORMATS)
    for name, asked, answered in rows:
        assert asked in PROMPT_FORMATS[name].prompt("categories", dialogue.query)
        assert answered == PROMPT_FORMATS[name].answer(dialogue)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_are_there(page):
    assert broken_links(page) == []
    named = FILES.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and not name.startswith("docs/results/")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_are_those_of_the_committed_files(page, results):
    text = page.read_text(encoding="utf-8")
    assert results.fill(text) == text, "run `python docs/results.py`"


def test_results_of_a_run_become_a_table(results, there, tmp_path):
    scores = json.loads((there / "runs" / "default" / "scores.json").read_text(encoding="utf-8"))
    scores["stages"]["test"]["scores"]["test/scenes-semantic/miou/lasagna-v1"] = 0.12345
    (tmp_path / "mine.json").write_text(json.dumps(scores), encoding="utf-8")
    text = results.fill("<!-- results:mine miou vqa_accuracy -->\nold\n<!-- /results -->\n", tmp_path)
    assert "| scenes-semantic | `miou/lasagna-v1` ↑ | 0.123 |" in text
    assert "`vqa_accuracy/lasagna-v1` ↑" in text
    assert "faults" not in text
    assert "old" not in text
    assert f"{scores['machine']['cores']} cores" in text
    assert results.fill(text, tmp_path) == text
    with pytest.raises(ValueError, match="miuo"):
        results.fill("<!-- results:mine miuo -->\n<!-- /results -->", tmp_path)


def test_what_a_report_says_of_the_claims_is_copied(results, tmp_path):
    (tmp_path / "mine_report.md").write_text(
        "Made so.\n\n## Claims\n\n- One: **holds here**\n- Two\n\n## More\n\n- x\n"
    )
    (tmp_path / "bare_report.md").write_text("# Nothing\n")
    text = results.fill("<!-- claims:mine -->\nold\n<!-- /claims -->\n", tmp_path)
    assert text == "<!-- claims:mine -->\n- One: **holds here**\n- Two\n<!-- /claims -->\n"
    assert "No report has been filed" in results.fill("<!-- claims:none -->\n<!-- /claims -->", tmp_path)
    with pytest.raises(ValueError, match="no section of claims"):
        results.fill("<!-- claims:bare -->\n<!-- /claims -->", tmp_path)


def test_the_short_table_has_the_numbers_of_the_runs(results):
    [head, _, *rows] = results.summary(results.RESULTS).splitlines()
    assert head.count("↑") == 2
    assert len(rows) == len(results.SUMMARY) == 6
    scores = json.loads((ROOT / "docs" / "results" / "default.json").read_text(encoding="utf-8"))["stages"]["test"]
    assert f"| {scores['scores']['test/scenes-semantic/miou/lasagna-v1']:.3f} |" in rows[0]


def test_a_report_becomes_a_table_with_intervals(results, tmp_path):
    key = "test/names-04/presence_recall/lasagna-v1"
    lines = ["score,variant,runs,mean,half_width", f"{key},a,3,0.5,0.25", f"{key},b,1,0.75,"]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = results.render(Path(tmp_path), "mine")
    assert "| names-04 | `presence_recall/lasagna-v1` ↑ | 0.500 ± 0.250 (3) | 0.750 (1) |" in table
