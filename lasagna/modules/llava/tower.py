"""CLIP's image encoder as LLaVA's visual tower.

Notation: b: images; i: patches; c: width of the tower.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from lasagna.core.processors import ImageProcessor
from lasagna.core.weights import blanks, reads_weights
from lasagna.errors import CheckpointError
from lasagna.modules.base import FeatureSpec, VisualTower
from lasagna.modules.checkpoints.files import fill, read_json, read_state
from lasagna.modules.image_processors import CropImageProcessor, PadImageProcessor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of red, green and blue, for values from 0 to 1 (arXiv 2103.00020)."""

_MARK = "vision_model."
_CLIP = (
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
)


class Tower(nn.Module):
    """The patches of one of CLIP's hidden layers; later layers are not made.

    Args:
        config: The tower's config.
        select_layer: Index of the hidden state that is read: 0 is that of the embeddings, -1 that of the last layer.

    Raises:
        CheckpointError: If the tower has no such layer.
    """

    def __init__(self, config: CLIPVisionConfig, select_layer: int) -> None:
        super().__init__()
        layers = range(config.num_hidden_layers + 1)
        if not -len(layers) <= select_layer < len(layers):
            raise CheckpointError(
                f"vision_tower: it has {layers[-1]} layers and no layer {select_layer}; take another tower"
            )
        config.num_hidden_layers = layers[select_layer]
        self.width = config.hidden_size
        self.side = config.image_size
        self.patch = config.patch_size
        self.tokens = (config.image_size // config.patch_size) ** 2
        model = CLIPVisionModel(config)
        self.clip = getattr(model, "vision_model", model)  # versions of transformers differ in whether it is nested

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` to patches ``[b, i, c]``, without class token and final norm."""
        states: Tensor = self.clip(pixels).last_hidden_state
        return states[:, 1:]


class PatchMap(VisualTower):
    """A tower's patches as a map.

    Args:
        network: The tower.
        image_processor: The image processor of the tower.
    """

    def __init__(self, network: Tower, image_processor: ImageProcessor) -> None:
        covered = network.side // network.patch * network.patch
        # `cache_key` is empty, since the weights already reveal the layer that is read
        super().__init__(FeatureSpec((network.width,), (network.patch,), (covered, covered)), image_processor, "")
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` to ``[b, c, h, w]``."""
        patches: Tensor = self.network(pixels)
        return patches.transpose(1, 2).reshape(len(pixels), -1, *self.spec.grid)


def read_tower(folder: Path, select_layer: int, dtype: torch.dtype | None = None) -> Tower:
    """Make a tower with the weights of a folder in transformers' layout, of a CLIP or of its image encoder.

    Args:
        folder: The tower's folder.
        select_layer: Which hidden state is read.
        dtype: Precision of the weights; None for torch's default.

    Raises:
        CheckpointError: If the folder is missing, incomplete, or of another kind of model.
    """
    config = CLIPVisionConfig(**tower_settings(folder))
    with torch.device("meta"):
        tower = Tower(config, select_layer)
    state = read_state(folder, "vision_tower") if reads_weights() else blanks(tower.clip)
    own = {name.partition(_MARK)[2]: tensor for name, tensor in state.items() if name.startswith(_MARK)}
    fill(tower.clip, own or state, f"vision_tower: {str(folder)!r}", dtype=dtype)
    tower.clip.embeddings.position_ids = torch.arange(tower.tokens + 1)[None]  # not part of a checkpoint
    return tower


def tower_processor(folder: Path, side: int, centre_crop: bool) -> ImageProcessor:
    """Return the image processor of a tower, with the mean and deviation of its ``preprocessor_config.json``.

    Args:
        folder: The tower's folder.
        side: Height and width of the input in pixels.
        centre_crop: Whether the tower sees the central square, or all of the image, padded to a square.
    """
    path = folder / "preprocessor_config.json"
    settings = read_json(path, "vision_tower") if path.is_file() else {}
    red, green, blue = settings.get("image_mean", CLIP_MEAN)
    mean = (float(red), float(green), float(blue))
    red, green, blue = settings.get("image_std", CLIP_STD)
    std = (float(red), float(green), float(blue))
    return CropImageProcessor(side, mean, std) if centre_crop else PadImageProcessor((side, side), mean, std)


def tower_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the image encoder in a tower's ``config.json``, with CLIP's names.

    Args:
        folder: The tower's folder.

    Raises:
        CheckpointError: If the file is missing, or of another kind of model.
    """
    settings = read_json(folder / "config.json", "vision_tower")
    kind = settings.get("model_type")
    if kind not in ("clip", "clip_vision_model"):
        raise CheckpointError(f"vision_tower: {str(folder)!r} has model_type {kind!r}; LLaVA v1 needs a CLIP folder")
    nested = settings.get("vision_config")
    own = nested if isinstance(nested, dict) else settings
    return {name: own[name] for name in _CLIP if own.get(name) is not None}
