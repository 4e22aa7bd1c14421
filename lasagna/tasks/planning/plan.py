"""The plan of a training: what it takes with each precision, recomputing or not, and what would make it fit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from lasagna.errors import LasagnaError
from lasagna.tasks.planning.batches import PlannedBatches, planned_batches
from lasagna.tasks.planning.cost import Devices, StepCost
from lasagna.tasks.planning.division import division_of
from lasagna.tasks.planning.step import (
    PARTS,
    PRECISIONS,
    checkpoint_bytes,
    cost_of,
    outline,
    parameters_of,
    recomputing_parts,
)
from lasagna.tasks.training.module import AssistantTraining

USABLE = 0.92
"""Part of a GPU's memory that a step may take; the rest is for CUDA itself and for gaps between tensors."""

DIVIDED = (2, 4, 8, 16, 32, 64)
"""Numbers of devices that are tried to divide the weights among."""

ONE = Devices()

Way = tuple[str, bool | None]
"""A precision, and whether blocks are recomputed; None where no part can, or parts of the config differ."""


@dataclass(frozen=True)
class Plan:
    """What a training takes on each device.

    Args:
        parts: Part to the number of its parameters, and of those that are trained.
        batches: Batches of the training.
        costs: Cost of a step by precision and recomputing; that of the config is under ``own``.
        own: The config's way.
        recomputing: Parts that can recompute blocks.
        checkpoint: Bytes of a checkpoint.
        features: Bytes of an image in a feature cache, and how many images the data has, or None if that is unknown.
        accumulate: Batches of a step.
        steps: Steps of the training, or None if its length is not given in steps.
    """

    parts: dict[str, tuple[int, int]]
    batches: PlannedBatches
    costs: dict[Way, StepCost]
    own: Way
    recomputing: tuple[str, ...]
    checkpoint: int
    features: tuple[int, int | None]
    accumulate: int
    steps: int | None

    @property
    def flops(self) -> int:
        """Floating-point operations of a step on each device, all its batches together."""
        return (self.costs[self.own].flops or 0) * self.accumulate

    def hours(self, peak: float, share: float) -> float | None:
        """Return how long training takes, without validation and loading; None if its length is unknown.

        Args:
            peak: Peak of a device in TFLOPS.
            share: Part of the peak that is reached.
        """
        return None if self.steps is None else self.flops * self.steps / (peak * 1e12 * share) / 3600

    def fits(self, cost: StepCost, memory: float, devices: Devices = ONE) -> bool:
        """Say whether a step fits.

        Args:
            cost: The step.
            memory: Memory of a device in GiB.
            devices: The devices; several that do not divide the weights keep their gradients twice.
        """
        peak = cost.peak_on(devices)
        return peak is not None and peak <= memory * 2**30 * USABLE

    def way_out(self, memory: float, devices: Devices = ONE) -> str:
        """Return the flags that make the training fit.

        Args:
            memory: Memory of a device in GiB.
            devices: The devices.
        """
        precision, as_set = self.own
        ways: list[Way] = [(precision, True), ("bf16-true", as_set), ("bf16-true", True)]
        for way in ways:
            if way in self.costs and self.fits(self.costs[way], memory, devices):
                return " ".join(self._flags(way))
        best = next((way for way in reversed(ways) if way in self.costs), self.own)
        images = self._images_that_fit(self.costs[best], memory, devices)
        flags = " ".join(self._flags(best))
        if images:
            batch = round(self.batches.mean("images"))
            more = -(-batch * self.accumulate // images)
            return f"{flags} --data.batch_size {images} --trainer.accumulate_grad_batches {more}".strip()
        count = next((count for count in DIVIDED if self.fits(self.costs[best], memory, Devices(count, True))), None)
        if count is not None and count > devices.count * devices.divided:
            return f"{flags} --trainer.strategy fsdp2 --trainer.devices {count}".strip()
        return (
            f"{flags} is not enough, even with one image a batch: train adapters only "
            "(--model.assistant.language_model.adapter.rank 8), choose smaller parts, or a GPU with more memory"
        ).strip()

    def _images_that_fit(self, cost: StepCost, memory: float, devices: Devices) -> int:
        """Return the largest batch that fits, if activations grow with the number of images."""
        peak = cost.peak_on(devices)
        images = round(self.batches.mean("images"))
        if peak is None:
            return 0
        activations = cost.divided(devices.count).activations if devices.divided else cost.activations
        free = memory * 2**30 * USABLE - (peak - activations)
        return min(images - 1, int(free * images / max(1, activations))) if free > 0 else 0

    def _flags(self, way: Way) -> list[str]:
        precision, recompute = way
        flags = [] if precision == self.own[0] else [f"--trainer.precision {precision}"]
        parts = self.recomputing if recompute and not self.own[1] else ()
        return flags + [f"--model.assistant.{part}.recompute true" for part in parts]


def make_plan(
    training: AssistantTraining,
    data: Any,  # noqa: ANN401
    trainer: dict[str, Any],
    divided: bool = False,
) -> Plan:
    """Plan a training.

    Args:
        training: The training, not built; it stays as it is.
        data: Its data module; read if its data is there, and never written.
        trainer: Settings of its trainer.
        divided: Whether its devices divide the weights.

    Raises:
        ConfigError: If the parts do not fit one another, the precision cannot be planned, or the weights cannot be
            divided.
    """
    precision = str(trainer.get("precision") or "32-true")
    precision = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}.get(precision, precision)
    accumulate = int(trainer.get("accumulate_grad_batches") or 1)
    outlined = outline(training, precision)
    built = outlined.training
    if divided:
        division_of(built)
    spec = built.assistant.vision_encoder.spec
    batches = planned_batches(data, built.assistant.processors, spec.image_size)
    named = {name: getattr(built.assistant, name) for name in (*PARTS, "prompt_projection", "presence_head")}
    parts = {name: parameters_of(part) for name, part in named.items() if part is not None}
    recomputing = recomputing_parts(training)
    as_set = {bool(getattr(training.assistant, part).recompute) for part in recomputing}
    own: Way = (precision, as_set.pop() if len(as_set) == 1 else None)
    costs = {own: cost_of(outlined, batches.largest, accumulate)}
    for way in product(dict.fromkeys((precision, *PRECISIONS[:3])), (False, True) if recomputing else (None,)):
        if way not in costs:
            costs[way] = cost_of(outline(training, *way), batches.largest, accumulate, count=False)
    steps = int(trainer.get("max_steps") or -1)
    cells = [
        channels * int(spec.image_size[0] // stride) * int(spec.image_size[1] // stride)
        for channels, stride in zip(spec.channels, spec.strides, strict=True)
    ]
    return Plan(
        parts=parts,
        batches=batches,
        costs=costs,
        own=own,
        recomputing=recomputing,
        checkpoint=checkpoint_bytes(built, costs[own].optimiser),
        features=(sum(cells) * (4 if precision == "32-true" else 2), _records(data)),
        accumulate=accumulate,
        steps=steps if steps > 0 else None,
    )


def _records(data: Any) -> int | None:  # noqa: ANN401
    """Return how many images the data has, each folder of shards once; None if it is not there."""
    try:
        counts = {source.shards: int(source.shard_set.records) for source in data.sources["train"]}
        return sum(counts.values())
    except (LasagnaError, OSError, AttributeError, KeyError):
        return None
