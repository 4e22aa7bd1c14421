"""Image encoder and mask decoder as two programs of ``torch.export``, divided as SAM's users divide them.

The language model stays outside: it writes text step by step, with a cache that grows.

Notation: b: images; n: mask prompts; k: masks of a prompt; h, w: size of a resized image.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lasagna.core.processors import ByteImageProcessor, ImageProcessor
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.load import load, read_checkpoint, unbuilt_assistant
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.state import precision_of

MOST_IMAGES, MOST_PROMPTS = 1024, 4096
"""Most images and prompts that the programs state; graphs of ONNX hold for any number."""

UNDIVIDED = 2**31 - 1
"""Value of ``chunk`` with which no number of prompts is divided."""


class PixelEncoder(nn.Module):
    """A vision encoder that takes the bytes of resized images: normalisation and padding are inside.

    Args:
        assistant: The assistant, configured.

    Raises:
        ConfigError: If the encoder's image processor does not resize images as bytes.
    """

    tables: Tensor

    def __init__(self, assistant: Assistant) -> None:
        super().__init__()
        processor = assistant.vision_encoder.image_processor
        if not isinstance(processor, ByteImageProcessor):
            raise ConfigError(
                f"vision_encoder: the image processor of {type(assistant.vision_encoder).__name__} gives no bytes, so "
                "its normalisation cannot be exported; derive it from ByteImageProcessor"
            )
        fitted = processor.fitted(np.zeros((8, 8, 3), dtype=np.uint8))
        self.encoder = assistant.vision_encoder
        self.padded = fitted.padded
        self.register_buffer("tables", torch.from_numpy(fitted.normalisation.tables.copy()))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            pixels: Resized images, uint8 ``[b, 3, h, w]``, at most as large as the encoder's input.

        Returns:
            The encoder's maps, each float ``[b, c, h', w']``.
        """
        channels = [self.tables[channel][pixels[:, channel].long()] for channel in range(3)]
        down, across = self.padded[0] - pixels.shape[2], self.padded[1] - pixels.shape[3]
        maps: list[Tensor] = self.encoder(nn.functional.pad(torch.stack(channels, 1), (0, across, 0, down)))
        return maps


class StateDecoder(nn.Module):
    """Projection and mask head: from hidden states of the language model to masks.

    Args:
        assistant: The assistant, configured.
    """

    def __init__(self, assistant: Assistant) -> None:
        super().__init__()
        self.projection = assistant.prompt_projection
        self.head = assistant.mask_head

    def forward(self, features: Sequence[Tensor], states: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
        """Draw masks.

        Args:
            features: The encoder's maps, each float ``[b, c, h', w']``.
            states: Hidden states that prompt masks, float ``[n, d]``.
            image_index: Index of each prompt's image, long ``[n]``.

        Returns:
            Logits ``[n, k, h'', w'']`` over the padded input, and the score of each mask, ``[n, k]``.
        """
        masks = self.head(features, self.projection(states), image_index)
        if isinstance(masks, MaskPrediction):
            return masks.logits, masks.scores
        return masks[:, None], masks.new_ones((masks.shape[0], 1))  # len() would fix the number of prompts


@dataclass(frozen=True)
class Programs:
    """The exported programs of an assistant.

    Args:
        encoder: ``PixelEncoder``, for any number of images.
        decoder: ``StateDecoder``, for any number of prompts.
        maps: Number of maps between them.
        single: Whether the decoder takes the maps of one image, and not of any number.
    """

    encoder: ExportedProgram
    decoder: ExportedProgram
    maps: int
    single: bool


def load_resized(path: str | Path, image_size: tuple[int, int] | None) -> Assistant:
    """Load an assistant whose vision encoder gets another input size than in training.

    Args:
        path: A checkpoint or folder, as of ``lasagna.load``.
        image_size: Height and width of the input in pixels; None for those of training.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or does not say how to build its assistant.
        ConfigError: If the encoder has no such setting, or does not take this size.
    """
    if image_size is None:
        return load(path)
    checkpoint = read_checkpoint(path)
    if checkpoint.get(ASSISTANT_CONFIG) is None:
        load(path)  # explains what is missing
    encoder = unbuilt_assistant(checkpoint, path).vision_encoder
    if "image_size" not in inspect.signature(type(encoder)).parameters:
        raise ConfigError(f"image_size: {type(encoder).__name__} has one input size, that of its weights; leave it out")
    changed = copy.deepcopy(checkpoint[ASSISTANT_CONFIG])
    single = isinstance(getattr(encoder, "image_size", None), int | None)
    side = image_size[0] if single and image_size[0] == image_size[1] else list(image_size)
    changed["init_args"]["vision_encoder"].setdefault("init_args", {})["image_size"] = side
    try:
        assistant = unbuilt_assistant({**checkpoint, ASSISTANT_CONFIG: changed}, path)
    except CheckpointError as error:
        reasons = [line.strip(" -") for line in str(error).splitlines() if "image_size: " in line]
        raise ConfigError((reasons or [f"image_size: {type(encoder).__name__} does not take {side}"])[0]) from error
    return load(path, assistant=assistant)


@torch.no_grad()
def export_programs(assistant: Assistant) -> Programs:
    """Export image encoder and mask decoder in evaluation mode.

    The number of images and of prompts stays open, and so does the size of resized images where the encoder pads them.
    Mask heads that group prompts by image, as SAM's do, are exported for one image and any number of prompts.

    Args:
        assistant: The assistant, configured, in float32.

    Raises:
        ConfigError: If it is in half precision, or ``torch.export`` cannot trace a part.
    """
    assistant.configure_model()
    for name in ("vision_encoder", "prompt_projection", "mask_head"):
        if (found := precision_of(getattr(assistant, name))) != torch.float32:
            raise ConfigError(f"{name}: only float32 can be exported, got {found}; call assistant.float() first")
    encoder = PixelEncoder(assistant)
    device, images = assistant.device, Dim("images", min=1, max=MOST_IMAGES)
    with assistant.answering():
        encoder.to(device).eval()
        axes = _open_axes(assistant.vision_encoder.image_processor)
        # smaller than the input, so that the padding is traced
        size = [math.ceil(side * 0.7) if axis in axes else side for axis, side in enumerate(encoder.padded)]
        pixels = torch.zeros(2, 3, *size, dtype=torch.uint8, device=device)
        maps = encoder(pixels)
        sizes = {2 + axis: Dim(name, min=1, max=encoder.padded[axis]) for axis, name in axes.items()}
        first = _traced(encoder, (pixels,), ({0: images} | sizes,), "vision_encoder")
        with _undivided(assistant.mask_head):
            second, single = _traced_decoder(assistant, maps, images)
    return Programs(first, second, len(maps), single)


@contextmanager
def _undivided(head: nn.Module) -> Iterator[None]:
    """Draw all prompts at once; a program that divides them would hold for as many as one part has."""
    chunks = [(part, part.chunk) for part in head.modules() if isinstance(getattr(part, "chunk", None), int)]
    for part, _ in chunks:
        part.chunk = UNDIVIDED  # type: ignore[assignment]
    try:
        yield
    finally:
        for part, chunk in chunks:
            part.chunk = chunk


def _traced_decoder(assistant: Assistant, maps: list[Tensor], images: Any) -> tuple[ExportedProgram, bool]:  # noqa: ANN401
    """Return the decoder for any number of images if that can be traced, else for one, and whether it is for one."""
    decoder, device = StateDecoder(assistant), assistant.device
    prompts = Dim("prompts", min=1, max=MOST_PROMPTS)
    states = torch.zeros(3, assistant.language_model.hidden_size, device=device)
    index = torch.tensor([0, 1, 1], device=device)
    try:
        shapes = ([{0: images}] * len(maps), {0: prompts}, {0: prompts})
        return _traced(decoder, (maps, states, index), shapes, "mask_head"), False
    except ConfigError:
        first = [level[:1].contiguous() for level in maps]
        shapes = ([{}] * len(maps), {0: prompts}, {0: prompts})
        return _traced(decoder, (first, states, torch.zeros_like(index)), shapes, "mask_head"), True


def _open_axes(processor: ImageProcessor) -> dict[int, str]:
    """Return the axes along which resized images may be smaller than the input: of wide images, and of tall ones."""
    wide, tall = processor.geometry((50, 100)), processor.geometry((100, 50))
    found = ((0, "height", wide), (1, "width", tall))
    return {axis: name for axis, name, fit in found if fit.resized[axis] != fit.padded[axis]}


def _traced(module: nn.Module, inputs: tuple[Any, ...], shapes: tuple[Any, ...], name: str) -> ExportedProgram:
    try:
        return torch.export.export(module, inputs, dynamic_shapes=shapes)
    except Exception as error:  # torch has no one class for what cannot be traced
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{name}: torch.export cannot trace it ({reason[:200]}); use `--layout adapter`, or another part"
        ) from error
