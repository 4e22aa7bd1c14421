"""How far a training has come in its streams, as a checkpoint keeps it, and what of it another run can use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lasagna.datamodules.streaming.distributed import gather, rank_and_world_size
from lasagna.datamodules.streaming.mixture import Position, StreamConfig
from lasagna.datamodules.streaming.shuffle import Place
from lasagna.datamodules.streaming.stream import PositionedBatch

FORMAT = 2
"""Version of the state; in version 1, which has no number, streams began anew with each epoch."""


@dataclass(frozen=True)
class Progress:
    """How far the batches were consumed; those that wait in a worker do not count.

    Args:
        began: Number of batches of the run, over all processes, before the streams began. Streams that begin at
            different times have different orders.
        epoch: Number of the epoch.
        batches: Number of batches of the epoch that this process consumed.
        taken: Number of batches that were consumed since the streams began, over all processes.
        positions: Position of the streams after them; the others are at their beginning.
    """

    began: int = 0
    epoch: int = 0
    batches: int = 0
    taken: int = 0
    positions: Mapping[int, Position] = field(default_factory=dict)

    def after(self, batch: PositionedBatch) -> Progress:
        """Return the progress after each process consumed another batch."""
        return replace(
            self,
            batches=self.batches + 1,
            taken=self.taken + rank_and_world_size()[1],
            positions={**self.positions, batch.stream: batch.position},
        )

    def next_epoch(self) -> Progress:
        """Return the progress at the beginning of the next epoch, in which the streams go on."""
        return replace(self, epoch=self.epoch + 1, batches=0)

    def anew(self, epoch: int, batches: int = 0) -> Progress:
        """Return the progress with streams that begin now.

        Args:
            epoch: Number of the epoch.
            batches: Number of its batches that this process consumed.
        """
        return Progress(self.began + self.taken, epoch, batches)

    def state(self, config: StreamConfig) -> dict[str, Any]:
        """Return the progress of all processes, which must call this together, as plain data.

        Args:
            config: What the order depends on.
        """
        rank, world_size = rank_and_world_size()
        own = {
            stream: [position.given, [place and list(place) for place in position.places]]
            for stream, position in self.positions.items()
            if (stream - self.taken - rank) % world_size == 0
        }
        parts = gather(own)
        return {
            "format": FORMAT,
            "began": self.began,
            "epoch": self.epoch,
            "batches": self.batches,
            "taken": self.taken,
            "positions": {stream: part[stream] for part in parts for stream in sorted(part)},
            "layout": asdict(config),
        }


def read_progress(state: Mapping[str, Any], config: StreamConfig, *, keep_streams: bool) -> tuple[Progress, int, str]:
    """Read a state.

    Args:
        state: What ``Progress.state`` returned.
        config: What the order depends on now.
        keep_streams: Whether the number of streams of ``config`` must be kept; otherwise that of the state is.

    Returns:
        The progress, the number of streams, and why the batches are not those of the run that was stopped; empty if
        they are.
    """
    if state.get("format") != FORMAT:
        batches = int(state["batches"])
        fresh = Progress(batches, int(state["epoch"]), batches)
        return fresh, config.streams, "an earlier version wrote the checkpoint. The rest of the epoch has other samples"
    progress = Progress(
        began=int(state["began"]),
        epoch=int(state["epoch"]),
        batches=int(state["batches"]),
        taken=int(state["taken"]),
        positions={
            int(stream): Position(given, tuple(None if place is None else Place(*place) for place in places))
            for stream, (given, places) in state["positions"].items()
        },
    )
    streams = int(state["layout"]["streams"])
    before, now = _flat(state["layout"]), _flat(asdict(config))
    changed = {
        name: f"{name} was {before[name]}, is {value}"
        for name, value in now.items()
        if name in before and before[name] != value
    }
    if not keep_streams:
        changed.pop("streams", None)
    _, world_size = rank_and_world_size()
    if streams % world_size:
        changed["streams"] = f"its {streams} streams cannot be divided between {world_size} processes"
    if not changed.keys() - {"batch_size"}:
        return progress, streams, changed.get("batch_size", "") and f"{changed['batch_size']}. Only the batches differ"
    anew = progress.anew(progress.epoch, progress.batches)
    return anew, config.streams, f"{'; '.join(changed.values())}. The rest of the epoch has other samples"


def _flat(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with one entry for each source, and the sources in order."""
    single = {name: value for name, value in layout.items() if not isinstance(value, dict)}
    per_source = ("weights", "records", "samplers")
    each = {f"{name} of {source}": value for name in per_source for source, value in layout.get(name, {}).items()}
    return {**single, "sources": ", ".join(layout["weights"]), **each}
