"""The pages in docs/ say what is true: their files are written as shown and their commands run."""

import json
import sys

import pytest

from lasagna.__main__ import COMMANDS
from lasagna.cli.train import main
from lasagna.modules.tiny.weights import FOLDER
from lasagna.tasks.pretrain.command import SEEDS, pretrain
from tests.helpers.documented import ROOT, blocks, commands, make_place, run, run_block, write_named

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.glob("*.md") if blocks(page, "bash"))
EXTENSIONS = ["add_a_strategy.md", "add_a_task.md", "add_a_backbone.md", "add_a_dataset.md", "data_format.md"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("docs"))


@pytest.fixture
def there(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    return place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_as_written(page, there, monkeypatch):
    names = write_named(page, there)
    for block in blocks(page, "bash"):
        run_block(block, monkeypatch)
    lines = [line for block in blocks(page, "bash") for line in commands(block)]
    assert all(any(name in line for line in lines) for name in names if name.endswith(".yaml"))


def test_scores_of_the_task_are_where_the_page_says(there, monkeypatch):
    page = DOCS / "add_a_task.md"
    write_named(page, there)
    run_block(blocks(page, "bash")[0], monkeypatch)
    scores = json.loads((there / "runs" / "one_by_one" / "scores.json").read_text(encoding="utf-8"))["stages"]["test"]
    assert {"test/scenes-onebyone/giou/grefcoco", "test/scenes-onebyone/area_error/mine-v1"} <= scores["scores"].keys()


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_pages_end_with_a_checklist(name):
    last = (DOCS / name).read_text(encoding="utf-8").rsplit("\n## ", 1)[-1]
    assert last.startswith("Checklist\n")
    assert len([line for line in last.splitlines() if line[:1].isdigit()]) >= 4


def test_every_command_is_in_the_architecture():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in COMMANDS)


def test_pretraining_page_knows_every_stage_seed_and_file():
    rows = [line.split("|") for line in (DOCS / "pretraining.md").read_text(encoding="utf-8").splitlines()]
    stages = {row[1].strip(" `"): [cell.strip(" `") for cell in row[2:]] for row in rows if len(row) == 7}
    for stage, seed in SEEDS.items():
        assert stages[stage][3] == str(seed)
    made = {cells[0] for cells in stages.values()}
    assert {path.name for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".txt")} <= made
    assert callable(pretrain)


def test_help_of_one_class_as_the_configuration_page_says(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--model.assistant.vision_encoder.help", "lasagna.modules.TinyVisionEncoder"])
    assert stopped.value.code == 0
    assert "image_size" in capsys.readouterr().out


def test_example_runs(there, monkeypatch, capsys):
    run_block("python train.py", monkeypatch)
    run(["python", "examples/answer_pictures.py"])
    assert capsys.readouterr().out.rstrip().splitlines()[-1].startswith("scene.png: ")
    assert (there / "predictions" / "scene-answered.png").is_file()
