"""Reading shards behind an address, and on disk to compare."""

from __future__ import annotations

from lasagna.datamodules import RemoteOptions, read_manifest
from lasagna.datamodules.shards.manifest import read_shard_set
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.shards.remote import open_folder

QUICK = RemoteOptions(retries=3, wait=0.001, timeout=5)
SHARD = "000000.tar"


def read(address, options=QUICK):
    shard_set = read_shard_set(open_folder(address, options))
    return list(read_share(shard_set, shard_set.shards, ShardSplit()))


def plain(samples):
    return [{name: value for name, value in sample.items() if name != "__url__"} for sample in samples]


def local(folder):
    shard_set = read_manifest(folder)
    return plain(read_share(shard_set, shard_set.shards, ShardSplit()))
