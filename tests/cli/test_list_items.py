"""A list in a config stands in place of the one before, and its items are changed by name."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonargparse import ActionConfigFile

from lasagna.cli.class_names import bare_class_names
from lasagna.cli.configs import DEFAULTS
from lasagna.cli.list_items import named_items
from lasagna.cli.parse_errors import ConfigParser
from lasagna.cli.sweeps.plan import SweepPlan
from lasagna.cli.training_cli import TrainingCLI, command_line
from lasagna.datamodules import ShardDataModule
from lasagna.tasks import RunCheckpoint

FOUR = [{"shards": f"data/mine/{place}", "task": {"class_path": "Semantic"}, "name": str(place)} for place in range(4)]
THREE = [{"class_path": f"lasagna.datamodules.{name}"} for name in ("ClassSampling", "NegativeInjection")]
THREE[0]["init_args"] = {"limit": 5}
THREE.append({"class_path": "lasagna.datamodules.OrderRandomization"})
OWN = {"train": FOUR, "strategies": THREE}
WHOLE = {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": OWN}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data of the default config, changed by a command line; without model and trainer it takes milliseconds."""
    default = yaml.safe_load(DEFAULTS.read_text())["data"]
    del default["init_args"]["seed"]
    file = tmp_path_factory.mktemp("default") / "data.yaml"
    file.write_text(yaml.safe_dump({"data": default}))
    parser = ConfigParser(parser_mode="omegaconf+", default_config_files=[str(file)])
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_lightning_class_args(ShardDataModule, "data", subclass_mode=True)

    def parse(*words):
        with bare_class_names(), named_items():
            config = parser.parse_args([str(word) for word in words])
        return parser.instantiate(config).data

    return parse


@pytest.mark.parametrize("way", ["config", "nested file", "data", "data config", "typed"])
def test_as_many_entries_as_the_default_has_take_nothing_from_it(data, tmp_path, way):
    config, part = tmp_path / "own.yaml", tmp_path / "part.yaml"
    part.write_text(json.dumps(WHOLE))
    config.write_text("data: part.yaml" if way == "nested file" else json.dumps({"data": {"init_args": OWN}}))
    found = data(
        *{
            "config": ["--config", config],
            "nested file": ["--config", config],
            "data": ["--data", json.dumps(WHOLE)],
            "data config": ["--data", part],
            "typed": [f"--data.{name}={json.dumps(value)}" for name, value in OWN.items()],
        }[way]
    )
    assert [source.weight for source in found.sources["train"]] == [1.0] * 4
    assert [source.name for source in found.sources["train"]] == list("0123")
    assert (found.strategies[0].limit, found.strategies[0].least) == (5, 5)
    assert len(found.sources["test"]) == 4


def test_a_later_list_takes_nothing_from_one_before(data, tmp_path):
    for name, weight in (("a", {"weight": 7.0}), ("b", {})):
        sources = [source | weight for source in FOUR[:1]]
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"data": {"init_args": {"train": sources}}}))
    found = data("--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml")
    assert [source.weight for source in found.sources["train"]] == [1.0]
    more = data(f"--data.train+={json.dumps(FOUR)}").sources["train"]
    assert [source.weight for source in more] == [3.0, *[1.0] * 7]


def test_items_are_changed_by_name(data, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "city"}))
    found = data(
        f"--data.train.scenes-semantic.shards={tmp_path}",  # not written yet: the task tells which source is meant
        "--data.train.city-semantic.task.free_decoding=true",
        "--data.init_args.train.scenes-vqa.strategies=[ClassSampling, OrderRandomization]",
        "--data.train.scenes-vqa.strategies.ClassSampling.limit=9",
        "--data.train.scenes-referring.name=a.b",
        "--data.train.a.b.weight=2.5",
        "--data.strategies.ClassSampling.limit",
        "8",
        '--data={"init_args": {"strategies": {"ClassSampling": {"least": null}}}}',
        "--data.writers.SceneWriter.train=50",
        "--data.val.shards=the/only/one",
    )
    train = found.sources["train"]
    assert [(source.shards, source.weight) for source in train] == [
        (str(tmp_path), 3.0),
        ("data/scenes/train", 2.5),
        ("data/scenes/train", 1.0),
        ("data/scenes/train", 1.0),
    ]
    assert train[0].task.decoding == ("ordered", "free")
    assert train[3].strategies[0].limit == 9
    assert [found.strategies[0].limit, found.strategies[0].least, len(found.strategies)] == [8, 8, 3]
    assert found.writers[0].splits[0].count == 50
    assert found.sources["val"][0].shards == "the/only/one"


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (["--data.train.shards=X"], ["data.train: no item", "'shards'; begin with", "`*-semantic.shards`", "*-vqa"]),
        (["--data.strategies.limit", "8"], ["data.strategies: ", "'limit'", "it holds ClassSampling, NegativeInj"]),
        (["--data.strategies.ClasSampling.limit=8"], ["did you mean 'ClassSampling'?"]),
        (['--data={"strategies": {"ClasSampling": {"least": null}}}'], ["did you mean 'ClassSampling'?"]),
        (["--data.strategies.ClassSampling.limitt=8"], ["no option 'limitt'", "did you mean 'limit'?"]),
        (["--data.strategies.ClassSampling.limit=x"], ["limit: expected int, got 'x'"]),
        (["--data.strategies+=ClassSampling", "--data.strategies.ClassSampling.limit=8"], ["2 items", "whole list"]),
    ],
)
def test_an_item_that_is_not_named_or_not_there_is_refused(data, words, reasons, capsys, monkeypatch, tmp_path):
    # shards that are not there yet have no name
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        data(*words)
    error = capsys.readouterr().err
    assert all(reason in error for reason in reasons), error
    assert len(error.strip().splitlines()) <= 2


def test_files_flags_and_grids_of_a_sweep_change_items_by_name(tmp_path):
    own = {"train": {"scenes-semantic": {"weight": 5.0}}, "strategies": {"ClassSampling": {"limit": 7}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"data": {"init_args": own}}))
    grid = {"data.strategies.ClassSampling.least": [None], "trainer.callbacks.RunCheckpoint.every_n_steps": [7]}
    plan = SweepPlan([str(tmp_path / "own.yaml")], grid=grid)
    words = plan.runs(tmp_path)[0].arguments(plan)
    cli = TrainingCLI(**command_line(words, run=False), run=False)
    assert [source.weight for source in cli.datamodule.sources["train"]] == [5.0, 1.0, 1.0, 1.0]
    assert [cli.datamodule.strategies[0].limit, cli.datamodule.strategies[0].least] == [7, 7]
    [checkpoint] = [callback for callback in cli.trainer.callbacks if isinstance(callback, RunCheckpoint)]
    assert checkpoint._every_n_train_steps == 7


def test_an_argument_of_several_callbacks_is_refused(capsys):
    with pytest.raises(SystemExit):
        TrainingCLI(**command_line(["--trainer.callbacks.every_n_steps=7"], run=False), run=False)
    assert "as in `RunCheckpoint.every_n_steps`; it holds RunValidation, BestCheckpoint," in capsys.readouterr().err
