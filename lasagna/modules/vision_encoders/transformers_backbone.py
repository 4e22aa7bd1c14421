"""Any backbone of transformers as a vision encoder, such as DINOv3.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from transformers import AutoBackbone

from lasagna.core.processors import ImageProcessor
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.checkpoints.files import read_json
from lasagna.modules.image_processors import PadImageProcessor, SquashImageProcessor
from lasagna.modules.language_models.pretrained import find_folder, read_config
from lasagna.modules.vision_encoders.lora import VisionLoRA
from lasagna.modules.vision_encoders.timm import FINEST_STRIDE, MAIN_STRIDE, recompute_blocks


class TransformersEncoder(VisionEncoder):
    """The feature maps of a backbone of transformers, such as DINOv3 (arXiv 2508.10104), DINOv2 or Swin.

    All of the model is computed, even stages behind the last map in use; what no map depends on is not trained.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings with a ``model_type`` such as
            "dinov3_vit" or "dinov3_convnext", for random weights.
        image_size: Height and width of the input in pixels, multiples of the coarsest stride in use.
        out_indices: Which of the model's maps to use, as transformers counts them, 0 for the stem; None for the last at
            stride 16 (or the next finer one, or the finest) and all finer ones from stride 4.
        frozen: Whether the encoder keeps its weights, and its norm statistics, in training; None where they are
            pretrained.
        resize: "squash" to the input size, or keep the aspect ratio and "pad" at the right and the bottom.
        recompute: Whether training recomputes the activations of each block, or stage, in the backward pass, to save
            memory. Not for models with batch norms.
        download: Whether missing files may be downloaded from the hub.
        layers: Blocks or stages whose outputs are the maps, counted from 0, in place of ``out_indices``, e.g. (5, 11)
            of a transformer of 12 blocks: several maps of one stride, the deepest first.
        adapter: Low-rank adapters, which are trained while all other weights are frozen; None for none.

    Raises:
        ConfigError: If both ``layers`` and ``out_indices`` are given.
    """

    def __init__(
        self,
        model: str | dict[str, Any],
        image_size: tuple[int, int] = (224, 224),
        out_indices: tuple[int, ...] | None = None,
        frozen: bool | None = None,
        resize: Literal["squash", "pad"] = "squash",
        recompute: bool = False,
        download: bool = False,
        layers: tuple[int, ...] | None = None,
        adapter: VisionLoRA | None = None,
    ) -> None:
        super().__init__()
        if layers is not None and out_indices is not None:
            raise ConfigError(f"layers: {layers} and out_indices {out_indices} both name maps; leave one of them out")
        self.model = model
        self.image_size = image_size
        self.out_indices = out_indices
        self.frozen = isinstance(model, str) if frozen is None else frozen
        self.resize = resize
        self.recompute = recompute
        self.download = download
        self.layers = layers
        self.adapter = adapter
        self.learns = adapter is not None or not self.frozen
        self._spec: FeatureSpec | None = None

    @cached_property
    def config(self) -> Any:  # noqa: ANN401
        """Transformers' settings of the model; those of a folder are read on first use."""
        return read_config(self.model, self.download)

    @property
    def spec(self) -> FeatureSpec:
        """The chosen maps, coarsest first, and of one stride the deepest first."""
        if self._spec is None:
            raise RuntimeError(f"spec: the maps of {self._name} are known after build(); call build() first")
        return self._spec

    @property
    def image_processor(self) -> ImageProcessor:
        """Squash or pad, with the mean and deviation that the model's folder states, or else ImageNet's."""
        kind = SquashImageProcessor if self.resize == "squash" else PadImageProcessor
        return kind(self.image_size, *self._normalisation)

    def build(self) -> None:
        """Make the layers and load pretrained weights.

        Raises:
            ConfigError: If the model is missing or no backbone, ``out_indices`` or ``image_size`` do not suit it, or it
                has no layers for the adapter.
            CheckpointError: If weights of the folder are missing or unreadable.
        """
        network, every = self._outline()
        indices = self._chosen([self._stride(features.shape) for features in every])
        maps = [every[place] for place in indices]
        unread = _unread(network, maps)
        strides = [self._stride(features.shape) for features in maps]
        self.order = sorted(range(len(strides)), key=lambda position: (-strides[position], -position))
        self._spec = FeatureSpec(
            tuple(maps[position].shape[1] for position in self.order),
            tuple(strides[position] for position in self.order),
            self.image_size,
        )
        self.config.out_indices = list(indices)
        self.network = self._with_weights(type(network))
        if self.adapter is not None:
            self.adapter.inject(self.network)
        for name, parameter in self.network.named_parameters():
            layer, of_adapter, _ = name.partition(".lora_")
            if (f"{layer}.weight" if of_adapter else name.replace(".base_layer.", ".")) in unread:
                parameter.requires_grad_(False)
        if not self.learns:
            self.freeze()
        elif self.recompute:
            recompute_blocks(self.network, self._name)

    def train(self, mode: bool = True) -> TransformersEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode, so that its norm statistics do not change."""
        return super().train(mode and self.learns)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into the maps that ``spec`` announces, each float ``[b, c, h, w]``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            maps = self.network(pixels).feature_maps
        return [maps[position] for position in self.order]

    @property
    def _name(self) -> str:
        return repr(self.model if isinstance(self.model, str) else self.model.get("model_type"))

    @cached_property
    def _normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        mean, deviation = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
        if isinstance(self.model, str):
            folder = find_folder(self.model, self.download)
            if (folder / "preprocessor_config.json").is_file():
                stated = read_json(folder / "preprocessor_config.json", "model")
                mean, deviation = stated.get("image_mean", mean), stated.get("image_std", deviation)
        return _three(mean), _three(deviation)

    def _outline(self) -> tuple[Any, Sequence[Tensor]]:
        """Return the network and all of its maps for an input of the wanted size, both without memory."""
        config = self.config
        try:
            config.out_indices = list(range(len(config.stage_names)))
            with torch.device("meta"):
                network = AutoBackbone.from_config(config).eval()
                return network, network(torch.empty(1, 3, *self.image_size)).feature_maps
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"model: {self._name} is no backbone of transformers; take a vision model") from error
        except RuntimeError as error:
            raise ConfigError(
                f"image_size: {self.image_size} does not suit {self._name} ({str(error).splitlines()[0][:120]}); take "
                "multiples of its patch side, or of 32"
            ) from error

    def _stride(self, shape: torch.Size) -> int:
        strides = {side / cells for side, cells in zip(self.image_size, shape[2:], strict=True)}
        stride = strides.pop()
        if strides or stride != int(stride):
            raise ConfigError(
                f"image_size: {self.image_size} must be multiples of the strides of {self._name}; take multiples of "
                "its patch side, or of 32"
            )
        return int(stride)

    def _chosen(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the maps to use, given the stride of each."""
        if self.layers is not None:
            chosen = tuple(layer + 1 for layer in sorted(self.layers))  # the first map is that of the stem
            if not chosen or not 1 <= chosen[0] <= chosen[-1] < len(strides):
                raise ConfigError(f"layers: {self.layers} must be from 0 to {len(strides) - 2}, those of {self._name}")
            return chosen
        if self.out_indices is None:
            last = {stride: place for place, stride in enumerate(strides)}
            usual = [stride for stride in sorted(last) if FINEST_STRIDE <= stride <= MAIN_STRIDE] or [min(last)]
            return tuple(last[stride] for stride in usual)
        chosen = tuple(sorted(self.out_indices))
        if not chosen or not 0 <= chosen[0] <= chosen[-1] < len(strides):
            raise ConfigError(f"out_indices: {chosen} must be from 0 to {len(strides) - 1}, the maps of {self._name}")
        own = tuple(strides[place] for place in chosen)
        if len(set(own)) != len(own):
            raise ConfigError(
                f"out_indices: the maps {chosen} of {self._name} have the strides {own}; choose one map per "
                "stride, or name them as `layers`, for several of one stride"
            )
        return chosen

    def _with_weights(self, kind: Any) -> Any:  # noqa: ANN401
        if isinstance(self.model, dict):
            return AutoBackbone.from_config(self.config)
        folder = find_folder(self.model, self.download)
        try:
            network, found = kind.from_pretrained(
                folder,
                config=self.config,
                local_files_only=True,
                dtype=torch.get_default_dtype(),
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"model: the weights of {self._name} cannot be read ({str(error).strip().splitlines()[0][:120]}); give "
                "the folder of a complete checkpoint"
            ) from error
        missing = sorted(found["missing_keys"])
        if missing:
            raise CheckpointError(
                f"model: {self._name} lacks {len(missing)} tensors of a {kind.__name__}, e.g. {missing[:3]}; give the "
                "folder of a complete checkpoint"
            )
        return network


def _unread(network: Any, maps: Sequence[Tensor]) -> set[str]:  # noqa: ANN401
    """Return the names of the parameters that no map depends on."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    reached = torch.autograd.grad([features.sum() for features in maps], parameters, allow_unused=True)
    return {name for name, gradient in zip(names, reached, strict=True) if gradient is None}


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
