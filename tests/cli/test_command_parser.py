"""The parser of the commands: flags that need no value."""

from __future__ import annotations

from importlib import import_module

import pytest

from lasagna.__main__ import COMMANDS, OWN_OPTIONS
from lasagna.cli.calibrate import calibrate
from lasagna.cli.command_parser import CommandParser
from lasagna.cli.inspect import inspect
from lasagna.cli.label import label
from lasagna.datamodules.converters.voc import VOC


def parsed(function, *words):
    parser = CommandParser()
    parser.add_function_arguments(function)
    return parser.parse_args(list(words))


@pytest.mark.parametrize(
    ("words", "strict"),
    [
        ([], False),
        (["--strict"], True),
        (["--strict", "--seed=3"], True),
        (["--seed", "3", "--strict"], True),
        (["--strict", "true"], True),
        (["--strict", "false"], False),
        (["--strict=false"], False),
        (["--strict", "--strict=false"], False),
    ],
)
def test_a_flag_that_is_true_or_false_needs_no_value(words, strict):
    assert parsed(inspect, "--shards=[a]", *words).strict is strict


def test_the_flags_of_all_commands_are_known():
    found = set()
    for place in (place for name, (place, _) in COMMANDS.items() if name not in OWN_OPTIONS):
        module, function = place.split(":")
        parser = CommandParser()
        parser.add_function_arguments(getattr(import_module(module), function))
        found |= set(parser.flags())
    assert found == {
        "--allow_urls",
        "--coco",
        "--consolidate",
        "--dry_run",
        "--frozen_check",
        "--geojson",
        "--int8",
        "--objects",
        "--private",
        "--strict",
        "--teacher_forced",
    }


def test_a_converter_s_flag_needs_no_value_either():
    parser = CommandParser()
    parser.add_class_arguments(VOC)
    assert parser.parse_args(["--source=a", "--augmented"]).augmented is True


def test_what_is_neither_true_nor_false_is_refused(capsys):
    with pytest.raises(SystemExit):
        parsed(inspect, "--shards=[a]", "--strict", "b")
    assert "error: strict: expected true, false or nothing, got 'b'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tiles", "x"], "tiles: expected int, got 'x'; see "),
        (["--threshold", "x"], "threshold: expected float, got 'x'; see "),
        (["--channels", "x"], "channels: expected list, got 'x'; see "),
        (["--window", "5"], "window: expected values in brackets ('[1, 2]'), got '5'; see "),
        (["--overlap", "2.5"], "overlap: expected int, got '2.5'; see "),
    ],
)
def test_an_argument_that_may_be_left_out_says_what_it_takes(words, said, capsys):
    with pytest.raises(SystemExit):
        parsed(label, "--folder=a", "--names=sky", *words)
    assert capsys.readouterr().err.startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("lasagna.tasks.Semantics", "task: "),
        ("no_module.Mine", "task: No module named 'no_module'"),
        ("Semantics", "task: no class is called 'Semantics'"),
    ],
)
def test_a_class_that_cannot_be_found_is_one_short_line(path, said, capsys):
    with pytest.raises(SystemExit):
        parsed(calibrate, "--ckpt=a", "--shards=[b]", "--task", path)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert path in error or "no_module" in error
    assert len(error) < 160 and "Union" not in error
