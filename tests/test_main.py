"""The ``lasagna`` command: its list of commands, and arguments that come without a flag."""

from importlib import import_module

import pytest

from lasagna import __version__
from lasagna.__main__ import COMMANDS, _with_flags, main
from lasagna.tasks.pretrain import weights


@pytest.mark.parametrize("place", [place for place, _ in COMMANDS.values()])
def test_every_command_is_there(place):
    module, function = place.split(":")
    assert callable(getattr(import_module(module), function))


def test_list_of_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(f"\n  {name}" in printed for name in COMMANDS)
    assert max(map(len, printed.splitlines())) <= 100


def test_help_shows_the_form_without_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    assert "Short form: lasagna verify SHARDS [OPTION ...]" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_pretrain_runs_the_stages_that_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(weights, "write_vocabulary", lambda: tmp_path / "words.txt")
    main(["pretrain", "--stages", "[vocabulary]", "--out", str(tmp_path / "out")])
    assert "words.txt" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pretrain", "--stages", "[vocabularies]", "--out", str(tmp_path / "out")])


def test_what_is_typed_beats_a_config_that_comes_after_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(weights, "write_vocabulary", lambda: tmp_path / "words.txt")
    (tmp_path / "own.yaml").write_text(f"stages: []\nout: {tmp_path / 'out'}\n")
    main(["pretrain", "--stages", "[vocabulary]", "--config", str(tmp_path / "own.yaml")])
    assert "words.txt" in capsys.readouterr().out


def test_arguments_without_a_flag_replace_those_of_a_config(tmp_path):
    (tmp_path / "own.yaml").write_text("shards: [a]\nout: somewhere\n")
    config = ["--config", str(tmp_path / "own.yaml")]
    listed = [*config, "--strict", "true", '--shards=["b", "c"]']
    assert _with_flags("inspect", ["b", "c", "--strict", "true", *config]) == listed
    assert _with_flags("inspect", ["b", "--strict", "true", "--shards", "c", *config]) == listed
    assert _with_flags("inspect", ["--shards", "b"]) == ['--shards=["b"]']
    assert _with_flags("inspect", ["--shards=[b, c]"]) == ["--shards=[b, c]"]
    assert _with_flags("inspect", ["b", "--shards", "[c]"]) == ['--shards=["b", "c"]']
    assert _with_flags("inspect", ["b", "--shards+", "c"]) == ["--shards=b", "--shards+", "c"]
    assert _with_flags("inspect", ["--shards", "--strict"]) == ["--shards", "--strict"]
    assert _with_flags("verify", ["b", *config]) == [*config, "--shards=b"]
    shown = ["--image", "a.png", "--ask", "what is new", "--image=b.png", *config]
    assert _with_flags("predict", shown) == [*config, "--ask", "what is new", '--image=["a.png", "b.png"]']
    assert _with_flags("predict", shown[:4]) == shown[:4]
