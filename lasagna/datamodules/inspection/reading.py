"""Reading the shards of an inspection in several processes, each shard once, and going on after a stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from hashlib import sha256

from rich.progress import track

from lasagna.core.workers import made_in_order, usable_cores, worker_pool
from lasagna.datamodules.inspection.store import Store
from lasagna.datamodules.inspection.survey import ShardSurvey, survey_shard
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet

FORMAT = 1
"""Version of what is stored; a stopped inspection of another version starts over."""

AHEAD = 2
"""Shards per process that may be in work or wait to be stored."""

Ranks = Mapping[str, Sequence[int]]
"""For the file of a shard, the ranks of the records to keep as examples."""


def read_folder(store: Store, shard_set: ShardSet, examples: Ranks, processes: int | None = None) -> int:
    """Read those shards of a folder that the store does not have yet, with a progress bar.

    Args:
        store: Where counts and findings go.
        shard_set: The shards.
        examples: Which records to keep as examples.
        processes: Number of processes; None for the number of cores, 0 for this process only.

    Returns:
        The folder's number in the store.

    Raises:
        LasagnaError: If a process was killed; what was read is stored.
    """
    name = str(shard_set.folder)
    content = (FORMAT, shard_set.manifest, shard_set.shards, shard_set.members, dict(examples))
    folder, done = store.begin(name, sha256(repr(content).encode()).hexdigest())
    left = [shard for shard in shard_set.shards if shard.file not in done]
    tasks = [(shard_set, shard, examples.get(shard.file, ())) for shard in left]
    processes = min(usable_cores() if processes is None else processes, len(left))
    with worker_pool(processes) if processes > 1 else nullcontext() as pool:
        parts = made_in_order(pool, _survey, tasks, AHEAD * processes) if pool else map(_survey, tasks)
        bar = track(parts, f"reading {name}", len(shard_set.shards), completed=len(done))
        for shard, part in zip(left, bar, strict=True):
            store.add(folder, shard.file, part)
    return folder


def _survey(task: tuple[ShardSet, Shard, Sequence[int]]) -> ShardSurvey:
    return survey_shard(*task)
