"""Which config file is wrong and why, and where a wrong word stands."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from lasagna.cli.file_errors import ConfigFile, file_error, line_of, read_config, typed_files, without_empty_sections
from lasagna.errors import ConfigError

DATA = "# data\ndata:\n  init_args:\n    batch_size: 3\n    test:\n      - {shards: x, task: {class_path: my.VQA}}\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("trainer:\n", "{}"),
        ("threads: 1\ntrainer: # later\n", "threads: 1\n # later\n"),
        ("data:\n  init_args:\nmodel:\n  seed: 3", "\n  \nmodel:\n  seed: 3"),
        ("model: null\ndata: ''\nthreads:\n", "model: null\ndata: ''\nthreads:\n"),
        ("trainer: null\nthreads: 1", "\nthreads: 1"),
        ("trainer:\n  logger:\n", "trainer:\n  logger:\n"),
    ],
)
def test_sections_with_nothing_below_them_state_nothing(text, left):
    assert without_empty_sections(text) == left


@pytest.mark.parametrize(
    ("trainer", "found"), [("[1]", "a list"), ("3", "a int"), ("{}", None), ("a.yaml", None), ("", None)]
)
def test_a_trainer_without_settings_is_refused_since_it_would_drop_those_before(trainer, found, tmp_path):
    (tmp_path / "own.yaml").write_text(f"trainer: {trainer}\n")
    with nullcontext() if found is None else pytest.raises(ConfigError, match=f"own.yaml: trainer: .* found {found}"):
        typed_files([f"--config={tmp_path / 'own.yaml'}"])


def test_a_word_is_found_below_its_key_in_the_last_file():
    files = [ConfigFile("a", DATA), ConfigFile("b", f"\n{DATA}"), ConfigFile("c", "init_args: {seed: VQA}", ("model",))]
    assert line_of("batch_size", ("data",), files) == "b, line 5"
    assert line_of("data.batch_size", (), files) == "b, line 5"
    assert line_of("VQA", ("data", "test", "task"), files) == "b, line 7"
    assert line_of("VQA", ("model",), files) == "c, line 1"
    assert line_of("VQA", ("trainer",), files) is None
    assert line_of("VQA", (), [ConfigFile("d", "a: [")]) is None


def test_files_are_read_before_the_parser_changes_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name in ("root", "part"):
        Path("mine", f"{name}.yaml").write_text("a: 1")
    argv = ["fit", "--config", "mine/root.yaml", "--data=mine/part.yaml", "--model.seed", "3", "--ckpt_path", "mine"]
    files = [ConfigFile("mine/root.yaml", "a: 1"), ConfigFile("mine/part.yaml", "a: 1", ("data",))]
    assert typed_files([*argv, f"--config={'x' * 5000}"]) == files


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8")
    with pytest.raises(ConfigError, match=r"picture.yaml: it cannot be read as text in UTF-8"):
        read_config(str(tmp_path / "picture.yaml"))


def test_a_tab_is_named_with_its_line():
    error = file_error("Problems parsing config: ...", [ConfigFile("fine", "a: 1"), ConfigFile("x", "a:\n\tb: 1")])
    assert error == (
        "x, line 2: not valid YAML: while scanning for the next token, "
        "found character '\\t' that cannot start any token; indent with blanks, not with tabs"
    )


def test_a_broken_file_of_a_part_is_named_without_the_parsers_words():
    places = [f'    in "<unicode string>", line {line}, column 2' for line in (2, 3)]
    reason = [places[0], "  did not find", places[1], "  - Expected a NoneType", "  Given value: x"]
    said = "\n".join(['Parser key "data":', "  Invalid content in sub-config file x.yaml: while parsing", *reason])
    assert file_error(said, []) == "x.yaml, line 3: not valid YAML: while parsing, did not find"
