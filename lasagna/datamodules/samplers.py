"""How often the records of a source are drawn in training, from what the index of its shards says about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.datamodules.shards.index import ShardIndex
from lasagna.datamodules.shards.reader import RawSample
from lasagna.errors import ConfigError

COPY = "__copy__"
"""Key of a raw sample under which its number is, from 1, where a pass draws a record more than once."""


class RecordSampler(ABC):
    """Says how often each record is drawn."""

    @abstractmethod
    def weights(self, index: ShardIndex) -> NDArray[np.float64]:
        """Return how often a pass over the source draws each record on average, float64 ``[records]``.

        A weight of 2.3 draws a record twice in each pass, and once more in 3 of 10. All must be above 0.

        Args:
            index: What the records hold.
        """

    def __repr__(self) -> str:
        """Return the class and its settings, which tell whether a stream can be resumed."""
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class RepeatFactors(RecordSampler):
    """Draws records with rare categories more often (Gupta et al., LVIS, arXiv 1908.03195, section 5).

    A category that a share f of the records show has the factor ``max(1, sqrt(threshold / f))``, and a record the
    largest factor of its categories.

    Args:
        threshold: Share of the records below which a category is rare.

    Raises:
        ValueError: If the threshold is not in (0, 1].
    """

    def __init__(self, threshold: float = 0.001) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"RepeatFactors: `threshold` must be in (0, 1], got {threshold}")
        self.threshold = threshold

    def weights(self, index: ShardIndex) -> NDArray[np.float64]:
        """Return the repeat factors, at least 1."""
        share = index.images / max(1, len(index))
        factors = np.maximum(1, np.sqrt(self.threshold / np.maximum(share, 1e-12)))
        weights = np.ones(len(index))
        np.maximum.at(weights, index.entries[:, 0], factors[index.entries[:, 1]])
        return weights


def other_weights(sampler: RecordSampler, index: ShardIndex, source: str) -> dict[str, float]:
    """Return the weights other than 1 by the keys of raw samples.

    Args:
        sampler: The sampler.
        index: The index of the source's shards.
        source: The source, for the message.

    Raises:
        ConfigError: If the sampler gives anything but one positive weight for each record.
    """
    weights = np.asarray(sampler.weights(index), dtype=np.float64)
    if weights.shape != (len(index),) or not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ConfigError(
            f"source {source}: {type(sampler).__name__} must give a positive weight for each of {len(index)} records, "
            f"got {list(weights.shape)} weights from {weights.min(initial=0):g} to {weights.max(initial=0):g}"
        )
    return {index.keys[place]: float(weights[place]) for place in np.flatnonzero(weights != 1).tolist()}


@dataclass(frozen=True)
class Repeats:
    """Draws a raw sample as often as its weight says.

    Args:
        weights: Weights other than 1, by ``other_weights``.
        draw: Returns the generator that belongs to a key of this source.
    """

    weights: Mapping[str, float]
    draw: Callable[[str], np.random.Generator]

    def __call__(self, visit: int, raw: RawSample) -> Iterable[RawSample]:
        """Return the copies of an undecoded record in a pass, perhaps none.

        Args:
            visit: Number of the pass.
            raw: The record.
        """
        key = raw["__key__"]
        weight = self.weights.get(key)
        if weight is None:
            return (raw,)
        times = int(weight)
        times += self.draw(f"copies/{key}/{visit}").random() < weight - times
        return (copy_of(raw, number) for number in range(times))


def copy_of(sample: RawSample, number: int) -> RawSample:
    """Return a sample as one of several in a pass; its transforms and dialogues are drawn anew."""
    return {**sample, COPY: number} if number else sample


def occurrence(sample: Mapping[str, Any]) -> str:
    """Return what tells this occurrence of a record in a pass from others; empty for the first one."""
    return f"/{sample[COPY]}" if COPY in sample else ""
