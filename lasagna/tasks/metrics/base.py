"""The base class of all metrics of answers, and what their rules share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Decoding, Dialogue, Entry
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.names import WAYS, Quantity, register_quantity, score_key

CocoFormat = Literal["", "instances", "panoptic"]
"""One of COCO's formats, or none."""


class DialogueMetric(Metric):
    """A metric that compares answers with the dialogues they should have led to.

    States are sums of fixed size, so that processes and parts of a run add up. They keep their precision whatever the
    model's, since a sum in bfloat16 stops growing at 256. ``compute`` returns one or more scores under their full keys
    (see ``lasagna.tasks.metrics.names``); a score without anything to measure is NaN.

    Args:
        decoding: Which answers are scored: those decoded in the known order ("ordered"), freely ("free"), or by a
            presence head ("one_pass").

    Attributes:
        protocol: Id of the rule.
        decodings: Allowed values of ``decoding``.
        grouped: Whether ``update`` takes all phrases of a record with the same ``group`` at once.
        quantities: What the metric measures besides the quantities of the package: name to description and direction.
            They are registered when the class is defined, so that keys, reports and curves know them.
        coco_format: In which of COCO's formats ``lasagna evaluate --coco`` writes the answers that it scores: objects
            as "instances", or segments as "panoptic", for which the metric has ``stuff``, the normalised names whose
            objects are not told apart; "" for none.
    """

    protocol: ClassVar[str] = "lasagna-v1"
    decodings: ClassVar[tuple[Decoding, ...]] = ("ordered", "free", "one_pass")
    grouped: ClassVar[bool] = False
    quantities: ClassVar[Mapping[str, Quantity]] = {}
    coco_format: ClassVar[CocoFormat] = ""
    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        """Register the quantities that the class states."""
        super().__init_subclass__(**kwargs)
        for name, quantity in cls.quantities.items():
            register_quantity(name, quantity)

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__()
        if decoding not in self.decodings:
            raise ValueError(f"decoding: {decoding!r} is not one of {', '.join(map(repr, self.decodings))}")
        self.decoding = decoding

    @abstractmethod
    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count one answer.

        Args:
            dialogue: The query and the truth.
            answer: The answer of the assistant.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return the scores, float scalars by key."""

    def key(self, quantity: str, *parts: str) -> str:
        """Return the full key of one of this metric's scores."""
        return score_key(quantity, self.protocol, *WAYS.get(self.decoding, ()), *parts)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401
        """Move the states with the model, and only change their precision if ``set_dtype`` asks for it.

        torchmetrics ignores ``half`` and ``bfloat16``, but not ``to(dtype)``, which the Trainer calls. Everything that
        belongs to the metric, other metrics included, is converted through this method.
        """

        def move(value: Tensor) -> Tensor:
            moved = fn(value)
            return moved if moved.dtype == value.dtype else value.to(moved.device)

        super()._apply(fn if self._dtype_convert else move, *args, **kwargs)
        return self

    def add_sum(self, name: str, *shape: int, dtype: torch.dtype = torch.int64) -> None:
        """Add a state of zeros that is summed over processes."""
        self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")


def collect(metrics: Sequence[DialogueMetric]) -> MetricCollection:
    """Return a collection of metrics that share no state.

    Compute groups are off: torchmetrics would let metrics share their state if the states are equal after the first
    update, and those of two protocols may be.
    """
    named: dict[str, Metric | MetricCollection] = {}
    for metric in metrics:
        named[f"{type(metric).__name__}_{len(named)}"] = metric
    return MetricCollection(named, compute_groups=False)


def entries_by_name(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Return a dialogue's entries by normalised name."""
    return {normalise(entry.name): entry for entry in entries}


def answered_by_name(answer: Answer) -> dict[str, AnsweredEntry]:
    """Return an answer's entries by normalised name; if a name is repeated, its first entry counts."""
    return {normalise(entry.name): entry for entry in reversed(answer.entries)}


def image_size(dialogue: Dialogue, answer: Answer) -> tuple[int, int] | None:
    """Return the height and width of the masks, or None if there are none.

    Raises:
        ValueError: If the true masks differ in size.
    """
    sizes = [entry.mask.size for entry in dialogue.entries if entry.mask is not None]
    sizes += [] if dialogue.ignore is None else [dialogue.ignore.size]
    if len(set(sizes)) > 1:
        raise ValueError(f"mask: the true masks of one image have different sizes {sorted(set(sizes))}")
    claimed = [entry.mask.shape for entry in answer.entries if entry.present and entry.mask is not None]
    sizes += [(shape[0], shape[1]) for shape in claimed]
    return sizes[0] if sizes else None


def answered_mask(entry: AnsweredEntry | None, size: tuple[int, int]) -> BoolMask | None:
    """Return the mask an entry claims, or None if it claims none.

    Raises:
        ValueError: If it does not have the image's size.
    """
    if entry is None or not entry.present or entry.mask is None:
        return None
    for what, pixels in (("mask", entry.mask), ("probability", entry.probability)):
        if pixels is not None and pixels.shape != size:
            raise ValueError(
                f"{what} of {entry.name!r}: its size is {pixels.shape}, that of the image {size}; "
                "an answer's masks must have the image's own size"
            )
    return np.asarray(entry.mask, dtype=bool)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return the quotient as float, NaN where ``whole`` is 0."""
    return torch.where(whole > 0, part.float() / whole.clamp(min=1).float(), torch.nan)
