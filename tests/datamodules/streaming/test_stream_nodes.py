"""Two simulated nodes with two real workers each: nothing is lost, doubled or waited for."""

from __future__ import annotations

from collections import Counter

import pytest

from lasagna.cli.train import main
from lasagna.datamodules import ShardDataModule, Source
from tests.helpers.data_fakes import Listing, processors, write
from tests.helpers.remote_server import Server
from tests.helpers.tiny_run import write_config, write_scenes

NODES, WORKERS, RECORDS = 2, 2, 13


@pytest.fixture(params=["on disk", "behind an address", "through a command"])
def address(request, tmp_path):
    with Server(tmp_path).running() as server:
        yield {
            "on disk": str(tmp_path / "s"),
            "behind an address": f"{server.address}/s",
            "through a command": f"pipe:cat {tmp_path}/s/{{file}}",
        }[request.param]


def keys(batches):
    return [sample.key for batch in batches for sample in batch.samples]


def on_each_node(monkeypatch, address, **settings):
    """Yield the datamodule of each node."""
    for rank in range(NODES):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(NODES))
        source = Source(address, Listing())
        data = ShardDataModule(train=[source], test=[source], num_workers=WORKERS, batch_size=2, **settings)
        data.connect(processors())
        yield data


@pytest.mark.parametrize("per_shard", [1, 3, 5, 20])
def test_a_finite_pass_gives_every_record_once(tmp_path, address, monkeypatch, per_shard):
    write(tmp_path / "s", RECORDS, per_shard=per_shard)
    found, lengths = [], []
    for data in on_each_node(monkeypatch, address):
        [loader] = data.test_dataloader()
        batches = list(loader)
        lengths.append((len(loader), len(batches)))
        found += keys(batches)
    assert sorted(found) == sorted(f"r-{index}" for index in range(RECORDS))
    assert all(told == given for told, given in lengths)


@pytest.mark.parametrize(
    ("records", "per_shard"),
    [
        (1, 1),
        pytest.param(3, 3, marks=pytest.mark.slow),
        (RECORDS, 20),
        pytest.param(RECORDS, 5, marks=pytest.mark.slow),
        pytest.param(RECORDS, 1, marks=pytest.mark.slow),
    ],
)
def test_training_continues_however_few_shards_there_are(tmp_path, address, monkeypatch, records, per_shard):
    write(tmp_path / "s", records, per_shard=per_shard)
    for data in on_each_node(monkeypatch, address, samples_per_epoch=4 * RECORDS, shuffle_buffer=3):
        loader = data.train_dataloader()
        found = keys(loader)
        assert len(found) == 2 * len(loader) == 2 * RECORDS
        assert set(found) <= {f"r-{index}" for index in range(records)}


@pytest.mark.parametrize("per_shard", [1, 16])
def test_one_pass_of_training_gives_every_record_once(tmp_path, address, monkeypatch, per_shard):
    write(tmp_path / "s", 16, per_shard=per_shard)
    found = []
    for data in on_each_node(monkeypatch, address, samples_per_epoch=16, shuffle_buffer=3):
        found += keys(data.train_dataloader())
    assert Counter(found) == {f"r-{index}": 1 for index in range(16)}


def test_more_processes_than_the_trainer_has_are_refused(tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path, write_scenes(tmp_path / "scenes"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "`devices` times `num_nodes` is 1, but 2 processes were started" in told
    assert "`--trainer.devices 2`" in told
