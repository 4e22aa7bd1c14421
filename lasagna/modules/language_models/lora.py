"""Low-rank adapters on a language model, through peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peft import inject_adapter_in_model
from torch import nn
from transformers import PreTrainedModel

from lasagna.modules.low_rank import LowRankAdapters


@dataclass(frozen=True)
class LoRA(LowRankAdapters):
    """Low-rank adapters (arXiv 2106.09685); the layers that they adapt are frozen.

    Args:
        rank: Rank of the update.
        alpha: Scale of the update, before it is divided by the rank.
        dropout: Dropout before the update.
        targets: Last parts of the names of the linear layers to adapt.
        embeddings: Whether word embeddings and output layer are trained in full, as in the original. Without it, the
            embeddings of added tokens stay as they start.

    Raises:
        ConfigError: If rank, dropout or targets are invalid.
    """

    targets: Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    embeddings: bool = True

    def inject(self, model: PreTrainedModel, part: nn.Module) -> None:
        """Add adapters to a model, in place.

        Args:
            model: The model, with word embeddings and an output layer.
            part: The part of it that gets adapters, or the model itself.

        Raises:
            ConfigError: If a target matches no layer of that part.
        """
        self.check(part)
        inject_adapter_in_model(self.config, part)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight.requires_grad_(self.embeddings)
