"""Null is refused, with the key and what is expected, where an argument takes none."""

from __future__ import annotations

import json

import pytest
from jsonargparse import Namespace

from lasagna.cli.config_checks import check_nulls, check_settings
from lasagna.cli.train import main
from lasagna.errors import ConfigError

LANGUAGE_MODEL = "model.assistant.language_model"


@pytest.mark.parametrize("way", ["flag", "file"])
def test_null_for_a_number_is_said_at_its_key(way, tmp_path, capsys):
    config = {"model": {"assistant": {"language_model": {"max_length": None}}}}
    (tmp_path / "own.yaml").write_text(json.dumps(config))
    word = f"--{LANGUAGE_MODEL}.max_length=null" if way == "flag" else f"--config={tmp_path / 'own.yaml'}"
    with pytest.raises(SystemExit):
        main([word])
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {LANGUAGE_MODEL}.max_length: expected int, got null"


def described(**arguments):
    return Namespace(class_path="lasagna.modules.TinyLanguageModel", init_args=Namespace(arguments))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_length": 9, "adapter": None}, None),
        ({"adapter": Namespace(rank=4)}, None),
        ({"adapter": Namespace(rank=None)}, r"part\.adapter\.rank: expected int, got null"),
        ({"adapter": {"rank": None, "alpha": None}}, r"part\.adapter\.rank.*; part\.adapter\.alpha: expected float"),
        ({"image_grid": None}, r"part\.image_grid: expected tuple\[int, int\], got null"),
        ({"weights": None}, r"part\.weights: expected Literal\['pretrained', 'neutral', 'random'\], got null"),
    ],
)
def test_null_inside_of_a_class(arguments, error):
    config = Namespace(part=described(**arguments), other=None, path="a")
    if error is None:
        check_nulls(config)
        return
    with pytest.raises(ConfigError, match=error):
        check_nulls(config)


def test_a_list_in_place_of_settings():
    with pytest.raises(ConfigError, match=r"trainer: expected settings \(`key: value`\), got a list"):
        check_settings("trainer", [1, 2])
    training = {"class_path": "lasagna.tasks.AssistantTraining", "init_args": {"optimiser": [1]}}
    with pytest.raises(ConfigError, match=r"model\.optimiser: expected settings \(`key: value`\), got a list"):
        check_nulls(Namespace(model=training))


def test_null_in_a_list_and_a_mapping():
    source = {"shards": "a", "task": {"class_path": "lasagna.tasks.Semantic"}, "weight": None}
    data = {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": {"train": [source]}}
    with pytest.raises(ConfigError, match=r"data\.train\[0\]\.weight: expected float, got null"):
        check_nulls(Namespace(data=data))
    settings = {"model": {"model_type": "gpt2", "pad_token_id": None}, "tokenizer": "words"}
    kind = "lasagna.modules.CausalLanguageModel"
    check_nulls(Namespace(part={"class_path": kind, "init_args": settings}))
