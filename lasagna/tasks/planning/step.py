"""One training step without weights: what it holds in memory, and how many operations it takes."""

from __future__ import annotations

import copy
import gc
import inspect
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

import torch
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lasagna.core.batch import Batch
from lasagna.core.seeding import seeded
from lasagna.errors import ConfigError
from lasagna.modules import object_loss
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.tasks.planning.cost import Phases, StepCost
from lasagna.tasks.planning.division import Division, division_of
from lasagna.tasks.planning.tracker import MemoryTracker
from lasagna.tasks.planning.weightless import WholeNumbersOnly, built_without_weights, empty_module
from lasagna.tasks.training.float32_copies import wide
from lasagna.tasks.training.module import AssistantTraining

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")
"""Precisions that can be planned, by the trainer's names."""

_FAKE = FakeTensorMode()
"""One mode for all steps, since code may keep tensors, such as SAM 3's positions, and give them to the next step."""

PARTS = ("vision_encoder", "language_model", "mask_head")


@dataclass(frozen=True)
class Outline:
    """A training whose assistant is built without weights.

    Args:
        training: The training.
        precision: Lightning's plugin.
    """

    training: AssistantTraining
    precision: Precision


def outline(training: AssistantTraining, precision: str, recompute: bool | None = None) -> Outline:
    """Build a training's assistant without weights; the training itself stays as it is.

    Args:
        training: The training, not built.
        precision: The trainer's ``precision``.
        recompute: Whether parts that can recompute blocks do so; None for what they are set to.

    Raises:
        ConfigError: If there is no such precision, or the parts do not fit one another.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision: {precision!r} cannot be planned; choose {', '.join(PRECISIONS)}")
    training = copy.deepcopy(training)
    for part in recomputing_parts(training) if recompute is not None else ():
        vars(getattr(training.assistant, part))["recompute"] = recompute
    plugin = precision_plugin(precision)
    with warnings.catch_warnings(), built_without_weights(), plugin.module_init_context():
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        training.build_assistant()
        plugin.convert_module(training)
    return Outline(training, plugin)


def recomputing_parts(training: AssistantTraining) -> tuple[str, ...]:
    """Return the parts of an assistant that can recompute blocks."""
    classes = {name: type(getattr(training.assistant, name)) for name in PARTS}
    return tuple(name for name, kind in classes.items() if "recompute" in inspect.signature(kind).parameters)


def cost_of(outlined: Outline, batch: Batch, accumulate: int = 1, count: bool = True) -> StepCost:
    """Take a training step without weights, as the second and all later ones are.

    Args:
        outlined: The training, built without weights; it is used up.
        batch: The batch.
        accumulate: Batches of a step; gradients of earlier ones are there while the others are computed.
        count: Whether to count operations, which takes as long again.
    """
    training, fake, memory = outlined.training, _FAKE, MemoryTracker()
    gc.freeze()  # what is here already need not be searched for cycles
    inputs = (batch.pixels, batch.mask_targets, batch.tower_pixels)  # as bytes they are looked up, which needs content
    empty_module(training, fake)
    division = _division(training)
    training.train()
    memory.set_apart([*training.parameters(), *training.buffers()])
    weights = memory.bytes
    trained = [parameter for parameter in training.parameters() if parameter.requires_grad]
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _OneModule()  # type: ignore[assignment]
    with fake, WholeNumbersOnly(fake, memory.add):
        memory.add_all(_held(batch, inputs))
        if training.feature_cache is not None:
            training.assistant.feature_cache = _ReadMaps(training.assistant.vision_encoder.spec)  # type: ignore[assignment]
        held = memory.bytes - weights
        optimiser = training.optimiser.build(training.factors, training.assistant.named_parameters())
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
            parameter.register_post_accumulate_grad_hook(lambda own: memory.set_apart(_gradients([own])))
        memory.set_apart(_gradients(trained))
        gradients = memory.bytes - weights - held
        optimiser.step()
        averages = [] if training.average is None else [torch.empty_like(wide(value)) for value in trained]
        memory.set_apart([*_tensors(optimiser.state), *averages])
        states = memory.bytes - weights - held - gradients
        memory.start_peaks()
        with counter if count else nullcontext():
            _pass(outlined, batch, optimiser, accumulate)
        peak, apart, rest = memory.peak, memory.rest_peak, memory.rest
        memory.start_peaks()
        optimiser.step()
    gc.unfreeze()
    return StepCost(
        weights=weights,
        gradients=gradients,
        optimiser=states,
        activations=max(peak, memory.peak) - weights - gradients - states,
        flops=counter.get_total_flops() if count else None,
        phases=Phases(peak - weights - states, apart, memory.rest_peak - rest),
        division=division,
    )


class _OneModule:
    """Counts all operations as those of one module; torch's own finds modules by hooks that hold recomputed blocks."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Begin to count."""

    def __exit__(self, *error: object) -> None:
        """End."""


def _division(training: AssistantTraining) -> Division | None:
    try:
        return division_of(training)
    except ConfigError:
        return None


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _tensors(values: Any) -> list[Tensor]:  # noqa: ANN401
    """Return the tensors in a dictionary of dictionaries."""
    return [value for value in tree_leaves(dict(values)) if isinstance(value, Tensor)]


def checkpoint_bytes(training: AssistantTraining, optimiser: int) -> int:
    """Return the size of a checkpoint, which stores trained weights in float32 and the optimiser's states.

    Args:
        training: The training, built without weights.
        optimiser: Bytes of the optimiser's states.
    """
    state = training.assistant.state_dict()
    weights = sum(wide(state[name]).nbytes if state[name].is_floating_point() else state[name].nbytes
                  for name in training.trained)  # fmt: skip
    averages = 0 if training.average is None else weights
    return weights + averages + optimiser


class _ReadMaps:
    """Stands for a feature cache that holds every image."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec

    def __call__(self, encoder: VisionEncoder, pixels: Tensor) -> list[Tensor]:
        (height, width), spec = self.spec.image_size, self.spec
        return [
            pixels.new_empty(len(pixels), channels, int(height // stride), int(width // stride))
            for channels, stride in zip(spec.channels, spec.strides, strict=True)
        ]


def _pass(outlined: Outline, batch: Batch, optimiser: torch.optim.Optimizer, accumulate: int) -> None:
    """Compute the loss and its gradients, in Lightning's order."""
    training = outlined.training
    # costs without content assign nothing, and their number is all that matters
    pairs = patch.object(object_loss, "assigned", _first_pairs)
    with pairs, outlined.precision.forward_context(), seeded(training.seed, "plan", torch.device("cpu")):
        loss = training.loss(training.assistant(batch), batch)["loss"]
    if accumulate == 1:
        # the gradients of the step before live until now
        optimiser.zero_grad()
    loss.backward()


def _first_pairs(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Assign the first masks to the first objects, as many as there are of both."""
    first = torch.arange(min(costs.shape))
    return first, first


def _held(batch: Batch, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    values: list[Any] = [*vars(batch).values(), *inputs]
    return [value for value in values if isinstance(value, Tensor)]


def precision_plugin(precision: str) -> Precision:
    """Return Lightning's plugin for a precision, on the CPU."""
    if precision.endswith("-true") and precision != "32-true":
        name: Literal["bf16-true", "16-true"] = "bf16-true" if precision == "bf16-true" else "16-true"
        return HalfPrecision(name)
    # of 16-mixed, bfloat16 has the same sizes, and needs no scaler, which only CUDA has
    return Precision() if precision == "32-true" else MixedPrecision("bf16-mixed", "cpu")


def parameters_of(part: nn.Module) -> tuple[int, int]:
    """Return the number of parameters of a part, and of those that are trained; shared ones count once."""
    numbers = [(parameter.numel(), parameter.requires_grad) for parameter in part.parameters()]
    return sum(number for number, _ in numbers), sum(number for number, trained in numbers if trained)
