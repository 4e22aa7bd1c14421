"""Networks without weights: floating-point tensors have a shape and no content, whole numbers are computed.

A training step chooses shapes by whole numbers alone: the ids and lengths of rows, which tokens are supervised, which
rows have masks. So these are real here, and everything else is torch's meta or fake tensors, which take no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lasagna.core.weights import weights_left_out

SMALL = 4096
"""Most elements of a floating-point tensor that is computed, such as a step count or the values of a norm."""

_aten = torch.ops.aten
_INDEXED = (
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
)
"""Operators whose result has as many rows as a mask of booleans has true ones."""

_ASSUMED = {_aten.all.default: True, _aten.any.default: False}
"""What is taken as the answer where code asks about the content of a tensor, such as whether all of it is finite."""


class WholeNumbersOnly(TorchDispatchMode):
    """Computes whole numbers, and only the shapes of everything else.

    Args:
        fake: The mode of the fake tensors; None for tensors on the meta device, on which networks are built.
        seen: Called with each tensor that an operator returns, or None.
    """

    def __init__(self, fake: FakeTensorMode | None = None, seen: Callable[[Tensor], None] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fake = fake
        self.seen = seen

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run an operator on what has content, or find the shape of its result."""
        result = self._run(func, args, dict(kwargs or {}))
        if self.seen is not None:
            for tensor in _tensors(result):
                self.seen(tensor)
        return result

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        given = _tensors((args, kwargs))
        if not given:
            return self._made(func, args, kwargs)
        if not any(_is_empty(tensor) for tensor in given):
            with unset_fake_temporarily():
                return func(*args, **_on(kwargs, "cpu"))
        if func in _ASSUMED:
            with unset_fake_temporarily():
                return torch.tensor(_ASSUMED[func])
        if func in _INDEXED:
            args = (args[0], _places(args[1]), *args[2:])
        args, kwargs = tree_map(self._emptied, (args, kwargs))
        return func(*args, **(_on(kwargs, "meta") if self.fake is None else kwargs))

    def _made(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Run an operator that makes tensors from numbers alone."""
        kwargs = _on(kwargs, "cpu")
        with unset_fake_temporarily():
            if not any(argument.name == "device" for argument in func._schema.arguments):
                return func(*args, **kwargs)
            outline = func(*args, **kwargs | {"device": torch.device("meta")})
            if all(not tensor.is_floating_point() or tensor.numel() <= 1 for tensor in _tensors(outline)):
                return func(*args, **kwargs)
        return tree_map(self._emptied, outline)

    def _emptied(self, value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            return value
        if self.fake is not None:
            return emptied(value, self.fake)
        return value if value.is_meta else _meta(value)


@contextmanager
def built_without_weights() -> Iterator[None]:
    """Build networks without weights; files of weights are not read where that can be avoided."""
    with weights_left_out(), WholeNumbersOnly():
        yield


def emptied(value: Tensor, fake: FakeTensorMode) -> Tensor:
    """Return a fake tensor of the CPU with the shape of another tensor."""
    with unset_fake_temporarily():
        return FakeTensor(fake, _meta(value), torch.device("cpu"))


def empty_module(module: nn.Module, fake: FakeTensorMode) -> None:
    """Replace parameters and buffers of a module by fake ones; those that modules share stay shared.

    Args:
        module: The module, built without weights.
        fake: The mode of the fake tensors.
    """
    replaced: dict[int, Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, value in tensors.items():
                if value is None or not (value.is_floating_point() or value.is_meta):
                    continue
                if id(value) not in replaced:
                    new = emptied(value.detach(), fake)
                    replaced[id(value)] = nn.Parameter(new, value.requires_grad) if name in part._parameters else new
                tensors[name] = replaced[id(value)]  # type: ignore[assignment]


def _meta(value: Tensor) -> Tensor:
    return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")


def _is_empty(value: Tensor) -> bool:
    return isinstance(value, FakeTensor) or value.is_meta or (value.is_floating_point() and value.numel() > SMALL)


def _places(indices: list[Tensor | None]) -> list[Tensor | None]:
    """Return indices in which masks of booleans have become the places of their true elements."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype != torch.bool or _is_empty(index):
            places.append(index)
            continue
        with unset_fake_temporarily():
            places += index.nonzero(as_tuple=True)
    return places


def _on(kwargs: dict[str, Any], device: str) -> dict[str, Any]:
    return kwargs | {"device": torch.device(device)} if "device" in kwargs else kwargs


def _tensors(values: Any) -> list[Tensor]:  # noqa: ANN401
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
