"""Remote folders are checked early and cached, and streams of their shards are those of shards on disk."""

from __future__ import annotations

import pytest

from lasagna.datamodules import RemoteOptions, ShardDataModule, Source
from lasagna.errors import ShardError
from tests.helpers.data_fakes import Listing, processors
from tests.helpers.remote_shards import QUICK, SHARD, local, plain, read


def test_sizes_are_compared_before_anything_runs(server, tmp_path):
    for rank, change in enumerate([lambda content: content[:-512], lambda content: content + b"x", None]):
        path = tmp_path / "train" / f"00000{rank}.tar"
        path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    data = ShardDataModule(test=[Source(f"{server.address}/train", Listing(), remote=QUICK)])
    with pytest.raises(ShardError) as fault:
        data.setup("test")
    lines = str(fault.value).splitlines()
    assert [line.partition("train/")[2][:10] for line in lines] == [f"00000{rank}.tar" for rank in range(3)]
    assert "is truncated" in lines[0]
    assert "is not what was written" in lines[1]
    assert "HTTP Error 404" in lines[2]
    assert not server.requests(SHARD)


def test_a_cache_keeps_whole_shards(server, tmp_path):
    cache = tmp_path / "cache"
    options = RemoteOptions(retries=1, wait=0, cache=str(cache))
    first = read(f"{server.address}/train", options)
    assert plain(first) == plain(read(f"{server.address}/train", options)) == local(tmp_path / "train")
    assert len(server.requests(SHARD)) == 1
    kept = sorted(cache.iterdir())
    assert [path.suffix for path in kept] == [".tar"] * 3
    kept[0].write_bytes(b"")
    assert plain(read(f"{server.address}/train", options)) == local(tmp_path / "train")
    assert sum(len(server.requests(f"00000{rank}.tar")) for rank in range(3)) == 4


def test_a_cache_keeps_nothing_that_is_broken(server, tmp_path):
    path = tmp_path / "train" / SHARD
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ShardError, match=r"000000\.tar: the shard cannot be read \(expected sha256"):
        read(f"{server.address}/train", RemoteOptions(retries=0, cache=str(tmp_path / "cache")))
    assert not list((tmp_path / "cache").iterdir())


def loader(address, workers=0, samples=24):
    data = ShardDataModule(
        train=[Source(address, Listing(), remote=QUICK)],
        batch_size=2,
        num_workers=workers,
        shuffle_buffer=4,
        samples_per_epoch=samples,
    )
    data.connect(processors())
    return data.train_dataloader()


def keys(batches):
    return [[sample.key for sample in batch.samples] for batch in batches]


def test_shards_are_fetched_once_in_a_pass_however_short_the_epochs_are(server):
    made = loader(f"{server.address}/train", samples=4)
    for epoch in range(9):
        made.set_epoch(epoch)
        assert len(list(made)) == 2
    # the dry run, three passes, and perhaps the beginning of the next one
    assert 4 <= len(server.requests(SHARD)) <= 5
    assert 3 <= len(server.requests("000001.tar")) <= 4


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_exact_resume_are_those_of_shards_on_disk(server, tmp_path, workers):
    whole = keys(loader(str(tmp_path / "train"), workers))
    address = f"{server.address}/train"
    server.faults[SHARD] = [None, ("drop", 4000), 503, None, ("drop", 700)]
    first = loader(address, workers)
    batches = iter(first)
    head = keys(next(batches) for _ in range(5))
    state = first.state_dict()
    again = loader(address, workers)
    again.load_state_dict(state)
    assert head + keys(again) == whole
