"""Null that is typed arrives as null, however deep the argument is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lasagna.cli.arguments import nulls_kept
from lasagna.cli.training_cli import TrainingCLI, command_line

PART = "--model.assistant.language_model"
CAUSAL = Path(__file__).parents[2] / "configs" / "language_model" / "causal.yaml"
LONG = "--model.init_args.assistant.init_args.language_model.init_args"


def language_model(*argv):
    cli = TrainingCLI(**command_line([*argv, "--trainer.accelerator=cpu"], run=False), run=False)
    return cli.config.model.init_args.assistant.init_args.language_model.init_args


@pytest.mark.parametrize(
    "words",
    [
        [f"{PART}.adapter=null"],
        [f"{PART}.adapter", "~"],
        [f"{PART}.adapter.rank=4", f"{LONG}.adapter=Null"],
        [f'{PART}={{"init_args": {{"adapter": null}}}}'],
    ],
)
def test_an_adapter_is_left_out(words):
    found = language_model(f"{PART}.max_length=512", *words)
    assert (found.adapter, found.max_length) == (None, 512)


def test_what_follows_null_counts():
    assert language_model(f"{PART}.adapter=null", f"{PART}.adapter.rank=4").adapter.rank == 4


def test_a_tokeniser_is_the_models_own():
    found = language_model(f"{PART}={CAUSAL}", f"{PART}.model=gpt2", f"{PART}.tokenizer=null")
    assert (found.model, found.tokenizer) == ("gpt2", None)


def test_settings_hold_null():
    settings = '{"model_type": "llama", "pad_token_id": null}'
    found = language_model(f"{PART}={CAUSAL}", f"{PART}.model={settings}")
    assert found.model == {"model_type": "llama", "pad_token_id": None}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["fit", "--model.a.b=null"], ["fit", '--model={"a": {"b": null}}']),
        (["--model.a.init_args.b", "[1, ~]"], ['--model={"a": {"init_args": {"b": [1, null]}}}']),
        (["--trainer.logger.folder=null"], ['--trainer.logger={"folder": null}']),
        (["--trainer.logger=null", "--data=null", "--threads", "null"], None),
        (["--config", "null", "-c", '{"model": null}'], None),
        (["--data.strategies+=null", "--model.a=", "--model.a.b={: ]", "--model.a.b=None"], None),
        (["test", "--ckpt_path", "a.ckpt", "--model.a.b=c", "--model.print_config"], None),
    ],
)
def test_a_command_line_is_changed_where_null_is_typed(words, kept):
    assert nulls_kept(words) == (words if kept is None else kept)
