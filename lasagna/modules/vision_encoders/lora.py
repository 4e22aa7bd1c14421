"""Low-rank adapters on a vision encoder, through peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from peft import inject_adapter_in_model
from torch import Tensor, nn

from lasagna.errors import ConfigError
from lasagna.modules.low_rank import LowRankAdapters

ATTENTION = ("qkv", "q_proj", "k_proj", "v_proj", "query", "key", "value")
"""Names of the layers that make queries, keys and values; a model has some of them."""


@dataclass(frozen=True)
class VisionLoRA(LowRankAdapters):
    """Low-rank adapters (arXiv 2106.09685) on a vision encoder, all of whose other weights are frozen.

    Args:
        rank: Rank of the update.
        alpha: Scale of the update, before it is divided by the rank.
        dropout: Dropout before the update.
        targets: Last parts of the names of the linear layers to adapt. By default those of queries, keys and values, by
            the names that they have in SAM, timm and transformers.

    Raises:
        ConfigError: If rank, dropout or targets are invalid.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: Sequence[str] = ATTENTION

    def inject(self, network: nn.Module) -> None:
        """Add adapters to a network, in place, and freeze everything else in it.

        Raises:
            ConfigError: If a target matches no layer.
        """
        linear = {name.rpartition(".")[2] for name, part in network.named_modules() if isinstance(part, nn.Linear)}
        usual = [name for name in ATTENTION if name in linear]
        settings = replace(self, targets=usual) if tuple(self.targets) == ATTENTION and usual else self
        settings.check(network)
        inject_adapter_in_model(settings.config, network)

    @torch.no_grad()
    def check_called(self, network: nn.Module, pixels: Tensor, name: str) -> None:
        """Check that a network calls all adapted layers; some models read only their weights, past the adapters.

        Args:
            network: The network, with adapters.
            pixels: An image of any values, float ``[1, 3, H, W]``.
            name: Its name in messages.

        Raises:
            ConfigError: If it does not call one.
        """
        layers = {layer: part for layer, part in network.named_modules() if layer.endswith(".lora_A.default")}
        called = set[str]()
        hooks = [part.register_forward_hook(lambda *_, own=layer: called.add(own)) for layer, part in layers.items()]
        mode = network.training
        network.eval()(pixels)
        network.train(mode)
        for hook in hooks:
            hook.remove()
        passed = sorted({layer.removesuffix(".lora_A.default").rpartition(".")[2] for layer in layers.keys() - called})
        if passed:
            raise ConfigError(
                f"adapter.targets: {name!r} does not call its layers {passed}, so that adapters on them would have no "
                "effect; leave them out of the targets, or take another model"
            )
