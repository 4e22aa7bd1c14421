"""Low-rank adapters through peft, as language models and vision encoders have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peft import LoraConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from lasagna.errors import ConfigError


@dataclass(frozen=True)
class LowRankAdapters:
    """Settings of low-rank adapters (arXiv 2106.09685).

    Args:
        rank: Rank of the update.
        alpha: Scale of the update, before it is divided by the rank.
        dropout: Dropout before the update.
        targets: Last parts of the names of the linear layers to adapt.

    Raises:
        ConfigError: If rank, dropout or targets are invalid.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check rank, dropout and targets."""
        if self.rank < 1:
            raise ConfigError(f"adapter.rank: expected at least 1, got {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"adapter.dropout: expected a probability in [0, 1), got {self.dropout}")
        if not self.targets:
            raise ConfigError("adapter.targets: it is empty; name linear layers, or leave out the adapter")

    @property
    def config(self) -> LoraConfig:
        """The same settings as peft's config."""
        return LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=list(self.targets)
        )

    def check(self, model: nn.Module) -> None:
        """Check, before weights are read, that a model has the targets.

        Args:
            model: The model, or its part that gets adapters; its layers need no weights.

        Raises:
            ConfigError: If a target matches no layer of the model.
        """
        linear = sorted(
            {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear | Conv1D)}
        )
        missing = sorted(set(self.targets) - set(linear))
        if missing:
            parts = [target.rpartition(".")[2] for target in missing if "." in target]
            hint = f"; a target is the last part of a name: {', '.join(map(repr, parts))}" if parts else ""
            raise ConfigError(f"adapter.targets: no linear layer is called {missing}; the model has {linear}{hint}")
