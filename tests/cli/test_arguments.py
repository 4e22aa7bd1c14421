"""A list in a config stands in place of the one before; what its entries leave out is the classes' own default."""

from __future__ import annotations

import json

import pytest

from lasagna.cli.arguments import Lists, configs_first
from lasagna.cli.training_cli import TrainingCLI, command_line

FOUR = [{"shards": f"data/mine/{place}", "task": {"class_path": "Semantic"}, "name": str(place)} for place in range(4)]
THREE = [{"class_path": f"lasagna.datamodules.{name}"} for name in ("ClassSampling", "NegativeInjection")]
THREE[0]["init_args"] = {"limit": 5}
THREE.append({"class_path": "lasagna.datamodules.OrderRandomization"})


@pytest.mark.parametrize("way", ["config", "glued", "data", "data config", "typed"])
def test_as_many_entries_as_the_default_has_take_nothing_from_it(tmp_path, way):
    arguments = {"train": FOUR, "strategies": THREE}
    config = tmp_path / "own.yaml"
    whole = {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": arguments}
    config.write_text(json.dumps(whole if way == "data config" else {"data": {"init_args": arguments}}))
    words = {
        "config": ["--config", str(config)],
        "glued": [f"--config={config}"],
        "data": ["--data", json.dumps(whole)],
        "data config": ["--data", str(config)],
        "typed": [f"--data.{name}={json.dumps(value)}" for name, value in arguments.items()],
    }[way]
    data = TrainingCLI(**command_line(words, run=False), run=False).datamodule
    assert [source.weight for source in data.sources["train"]] == [1.0] * 4
    assert [source.name for source in data.sources["train"]] == list("0123")
    assert (data.strategies[0].limit, data.strategies[0].least) == (5, 5)
    assert len(data.sources["test"]) == 4


def test_a_later_file_takes_nothing_from_one_before(tmp_path):
    for name, weight in (("a", {"weight": 7.0}), ("b", {})):
        sources = [source | weight for source in FOUR[:1]]
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"data": {"init_args": {"train": sources}}}))
    words = [word for name in "ab" for word in ("--config", str(tmp_path / f"{name}.yaml"))]
    data = TrainingCLI(**command_line(words, run=False), run=False).datamodule
    assert [source.weight for source in data.sources["train"]] == [1.0]


@pytest.mark.parametrize("way", ["--config", "-c", "--config="])
def test_flags_win_over_files_that_come_after_them(tmp_path, way):
    file = tmp_path / "own.yaml"
    file.write_text("seed_everything: 3\ndata: {init_args: {batch_size: 2, num_workers: 0}}\n")
    given = [f"{way}{file}"] if way.endswith("=") else [way, str(file)]
    words = ["--seed_everything", "7", "--data.batch_size=5", *given, "--trainer.max_steps=1"]
    cli = TrainingCLI(**command_line(words, run=False), run=False)
    assert (cli.datamodule.seed, cli.datamodule.batch_size, cli.datamodule.num_workers) == (7, 5, 0)


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("fit --a 1 --config x -b --config=y", "fit --config x --config=y --a 1 -b"),
        ("--print_config -c x", "-c x --print_config"),
        ("fit", "fit"),
        ("", ""),
    ],
)
def test_files_come_before_flags_and_after_the_job(words, ordered):
    assert configs_first(words.split()) == ordered.split()


@pytest.mark.parametrize(
    ("words", "emptied"),
    [
        (["fit", "--data.train=[{a: 1}]"], ["fit", "--data.train=[]", "--data.train=[{a: 1}]"]),
        (["fit", "--data.train+=[{a: 1}]"], None),
        (["fit", "--data.other=[{a: 1}]"], None),
        (["fit", "--data.train=[1, 2]"], None),
        (["fit", "--config", "nowhere.yaml"], None),
        (["fit", "--config", "{: ]"], None),
        (["fit", "--print_config", "--data.train=[{a: 1}]"], 2),
        (["--a", "-1", "--data.init_args.train", "[{a: 1}]"], 2),
        (["--data", "{class_path: B, init_args: {}}", "--data.train=[{a: 1}]"], None),
    ],
)
def test_only_what_was_stated_before_is_emptied(tmp_path, words, emptied):
    base = tmp_path / "base.yaml"
    base.write_text("data: {class_path: x.A, init_args: {train: [{b: 1}]}}")
    found = Lists([str(base)]).emptied(words)
    if isinstance(emptied, int):
        assert len(found) == len(words) + 1
        assert found[emptied].endswith("train=[]")
    else:
        assert found == (emptied or words)
