"""Assistants of published sizes with random weights, made in the precision that they are used in.

Frozen weights are in bfloat16. What is trained is trained in float32: mask head and prompt projection hold float32, and
the optimiser keeps float32 copies of the adapters, and of the word embeddings where these are trained. Each weight is
made once, so that building takes no more memory than the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from memory import QWEN
from models import SIZES, write_settings
from torch.utils._python_dispatch import TorchDispatchMode

from lasagna.core.weights import weights_left_out
from lasagna.modules import Assistant, ImageTextModel, LoRA, SamMaskHead, SamVisionEncoder
from lasagna.modules.base import LanguageModel
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.sam.sizes import SamHeadSize, SamSize
from lasagna.tasks import AssistantTraining

SizeName = Literal["tiny", "3b", "7b"]
NAMES: dict[SizeName, str] = {
    "tiny": "LLaVA v1 and SAM, tiny",
    "3b": "Qwen2.5-VL-3B, SAM ViT-B",
    "7b": "LLaVA v1 7B, SAM ViT-H",
}
TINY = replace(SIZES["tiny"], sam=SamSize(32, 2, 2, (1,), 64, image_size=128, out_channels=64))
DEVIATION = 0.02
"""Standard deviation of random weights, the usual one of these models."""
BLOCK, SMALL = 1_000_003, 2**14
"""Length of what is repeated, and most elements of a weight that is drawn as its layer draws it."""
DRAWN = (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default)


class HalfSamEncoder(SamVisionEncoder):
    """SAM's image encoder in bfloat16."""

    def build(self) -> None:
        """Make the layers."""
        with default_dtype(torch.bfloat16):
            super().build()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make weights in a precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_training(name: SizeName, folder: Path, rows: bool = True, recompute: bool = True) -> AssistantTraining:
    """Return a training of adapters and mask head, not built.

    Args:
        name: The size.
        folder: An empty folder for the settings of the language model.
        rows: Whether word embeddings and output layer are trained, new rows among them.
        recompute: Whether blocks are computed again in the backward pass.
    """
    size, prompt_format = TINY if name == "tiny" else SIZES["7b"], "released"
    adapter = LoRA(rank=8, alpha=16.0, dropout=0.05, targets=("q_proj", "v_proj"), embeddings=rows)
    encoder: SamSize | Literal["vit_b"] = size.sam
    head: SamHeadSize | None = size.head
    model: LanguageModel
    if name == "3b":
        model = ImageTextModel(QWEN, "words", adapter, dtype="bfloat16", recompute=recompute)
        encoder, head, prompt_format = "vit_b", None, "paper"
    else:
        write_settings(size, folder)
        places = str(folder / "llava"), str(folder / "clip")
        model = LlavaV1(*places, adapter=adapter, dtype="bfloat16", recompute=recompute)
    return AssistantTraining(
        Assistant(
            HalfSamEncoder(encoder, recompute=recompute),
            model,
            SamMaskHead(size=head, chunk=8, recompute=recompute),
            prompt_format,  # type: ignore[arg-type]
        )
    )


def build(training: AssistantTraining, device: torch.device) -> None:
    """Build a training's assistant with random weights on a device.

    A block of random numbers is repeated, since drawing billions of them takes minutes; its length is prime, so that
    rows of a matrix differ.
    """
    with device, weights_left_out(), Undrawn():
        training.build_assistant()
        block = torch.randn(BLOCK) * DEVIATION
    with torch.no_grad():
        for name, weight in training.assistant.named_parameters():
            if weight.numel() > SMALL and "lora_B" not in name:
                for part in weight.view(-1).split(BLOCK):
                    part.copy_(block[: len(part)])
            elif name.startswith("language_model") and "norm" in name and name.endswith("weight"):
                weight.fill_(1.0)  # LLaVA v1 is read from a file, in whose place there are zeros
    training.train()


class Undrawn(TorchDispatchMode):
    """Leaves large tensors as they are where random numbers would be drawn."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator that draws nothing."""
        if func in DRAWN and args[0].numel() > SMALL:
            return args[0]
        return func(*args, **(kwargs or {}))
