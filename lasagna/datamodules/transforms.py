"""Changes to whole records, such as crops, before dialogues are made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from lasagna.core.record import Record


class RecordTransform(ABC):
    """A change to a record; image, size and all masks change together."""

    @abstractmethod
    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the changed record, under its old key.

        Args:
            record: The record as it was stored, or as the transform before this one left it.
            rng: The generator that belongs to the record in this epoch.
        """
