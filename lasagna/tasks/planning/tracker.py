"""Memory of tensors that live at the same time, without allocating any."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

from torch import Tensor

FINENESS = 0.02
"""Growth since the last search, as a part, from which tensors that nothing refers to are looked for."""


class MemoryTracker:
    """Sums the bytes of storages while they live.

    Memory that an operator takes only while it runs is not seen, nor what an allocator holds back. ``rest`` is what is
    not set apart, ``rest_peak`` the most of it.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.peak = 0
        self.rest = 0
        self.rest_peak = 0
        self._apart: set[int] = set()
        self._searched = 0
        self._sizes: dict[int, int] = {}

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor, once, until nothing refers to it any more."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        weakref.finalize(storage, self._remove, key)
        self.bytes += self._sizes[key]
        self.rest += self._sizes[key]
        if self.bytes > (1 + FINENESS) * self._searched:
            # recomputed blocks leave tensors in cycles of Python's frames, which computing does not
            gc.collect()
            self._searched = max(self._searched, self.bytes)
        self.peak = max(self.peak, self.bytes)
        self.rest_peak = max(self.rest_peak, self.rest)

    def add_all(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages of tensors."""
        for tensor in tensors:
            self.add(tensor)

    def set_apart(self, tensors: Iterable[Tensor]) -> None:
        """Leave tensors out of the rest from now on."""
        for tensor in tensors:
            self.add(tensor)
            key = tensor.untyped_storage()._cdata
            if key not in self._apart:
                self._apart.add(key)
                self.rest -= self._sizes[key]

    def start_peaks(self) -> None:
        """Look for the most bytes from now on."""
        self.peak, self.rest_peak = self.bytes, self.rest

    def _remove(self, key: int) -> None:
        size = self._sizes.pop(key)
        self.bytes -= size
        if key in self._apart:
            self._apart.discard(key)
        else:
            self.rest -= size
