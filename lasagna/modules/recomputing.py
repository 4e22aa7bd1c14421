"""Blocks that training computes a second time, rather than keep what they computed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lasagna.errors import ConfigError


def recompute_blocks(network: nn.Module, name: str) -> None:
    """Let a network of repeated blocks, or stages, keep their inputs alone in training; less memory, more time.

    Args:
        network: The network, changed in place; names in its state dict stay.
        name: What to call it in messages.

    Raises:
        ConfigError: If no layers of it are repeated, or it has batch norms, whose running statistics would move twice.
    """
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ConfigError(f"recompute: {name!r} has batch norms, whose statistics would move twice; take false")
    blocks = list(_repeated(network))
    if not blocks:
        raise ConfigError(f"recompute: {name!r} has no repeated blocks that could be computed again; take false")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules that stand in a row with others of their kind."""
    for child in module.children():
        kinds = [type(block) for block in child.children()]
        if isinstance(child, nn.Sequential | nn.ModuleList) and len(kinds) > len(set(kinds)):
            yield from (block for block in child.children() if kinds.count(type(block)) > 1)
        else:
            yield from _repeated(child)
