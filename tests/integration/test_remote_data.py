"""Commands take shards that are elsewhere, and run no command that only a checkpoint names."""

from __future__ import annotations

import json

import pytest

from lasagna.__main__ import main
from lasagna.cli.train import main as train
from tests.helpers.documented import ROOT, blocks, run, write_named
from tests.helpers.remote_server import Server
from tests.helpers.tiny_run import write_config, write_scenes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    write_scenes(folder / "scenes")
    with Server(folder).running() as running:
        yield running


@pytest.fixture(scope="module")
def trained(server, tmp_path_factory):
    """A run whose data is behind an address, and its test through a command."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder, f"{server.address}/scenes")
    text = config.read_text()
    test = f"shards: {server.address}/scenes/test, task"
    assert test in text
    config.write_text(text.replace(test, f"shards: 'pipe:cat {server.folder}/scenes/test/{{file}}', task"))
    train(["run", "--config", str(config), "--trainer.default_root_dir", str(folder / "run")])
    return folder


def refused(capsys, call, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        call([*map(str, words)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_the_documented_config_runs(tmp_path, monkeypatch, capsys):
    page = ROOT / "docs" / "data_format.md"
    monkeypatch.chdir(tmp_path)
    write_named(ROOT / "docs" / "how_to" / "own_data.md", tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    run(["python", "own_squares.py"])
    main(["convert", "folder", "--source", "squares", "--target", "data/squares"])
    [example] = [block for block in blocks(page, "yaml") if "localhost" in block]
    with Server(tmp_path / "data").running() as server:
        (tmp_path / "elsewhere.yaml").write_text(example.replace("http://localhost:8000", server.address))
        run(["python", "train.py", "--config", "elsewhere.yaml"])
        assert server.requests("squares/train/000000.tar")
    scores = json.loads((tmp_path / "runs" / "elsewhere" / "scores.json").read_text())["stages"]
    assert scores["test"]["records"]["test"]["squares-semantic"]["used"] > 0
    assert len(list((tmp_path / "data" / "cache").glob("*.tar"))) == 1


def test_a_run_reads_from_elsewhere_what_it_reads_from_disk(server, trained):
    folder = trained / "on_disk"
    folder.mkdir()
    config = write_config(folder, server.folder / "scenes")
    train(["run", "--config", str(config), "--trainer.default_root_dir", str(folder / "run")])
    here, there = ((place / "run" / "scores.json").read_text() for place in (folder, trained))
    assert json.loads(here)["stages"]["test"]["scores"] == json.loads(there)["stages"]["test"]["scores"]


def test_verify_and_inspect(server, tmp_path, capsys):
    address = f"{server.address}/scenes/val"
    main(["verify", address])
    assert f"{address}: 4 records in 1 shards, as they were written" in capsys.readouterr().out
    main(["inspect", address, str(server.folder / "scenes" / "train"), "--out", str(tmp_path), "--processes", "2"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["folders"][address]["records"] == 4
    error = refused(capsys, main, "verify", f"{server.address}/scenes/none")
    assert f"{server.address}/scenes/none/manifest.json: the manifest cannot be read (HTTP Error 404" in error
    assert "unknown scheme 'gs://'" in refused(capsys, main, "inspect", "gs://bucket/x")


def test_verify_names_what_was_changed(server, tmp_path, capsys):
    write_scenes(tmp_path / "scenes")
    path = tmp_path / "scenes" / "val" / "000000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    error = refused(capsys, main, "verify", f"pipe:cat {path.parent}")
    assert f"pipe:cat {path}: the shard cannot be read (expected sha256" in error


def test_evaluate_runs_no_command_of_a_checkpoint(server, trained, tmp_path, capsys):
    ckpt = trained / "run" / "checkpoints" / "last.ckpt"
    common = ["--ckpt", ckpt, "--out", tmp_path / "out", "--device", "cpu", "--controls", "[]"]
    for call, words in (
        (main, ["evaluate", *common]),
        (train, ["test", "--ckpt_path", ckpt]),
    ):
        error = refused(capsys, call, *words)
        assert "names shards that are read by the command 'pipe:cat" in error
        assert "not run unless you name it" in error
    main(["evaluate", *map(str, common), "--data", f"{server.address}/scenes/test"])
    found = json.loads((tmp_path / "out" / "scores.json").read_text())["stages"]["test"]["scores"]
    assert any(name.startswith("test/scenes-semantic/") for name in found)
    named = str(trained / "tiny.yaml")
    train(["test", "--config", named, "--ckpt_path", str(ckpt), "--trainer.default_root_dir", str(tmp_path / "run")])
    assert (tmp_path / "run" / "scores.json").is_file()
