"""Any image model of timm as a vision encoder.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lasagna.core.processors import ImageProcessor
from lasagna.core.weights import reads_weights
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.checkpoints.files import why_unreadable
from lasagna.modules.image_processors import PadImageProcessor, SquashImageProcessor
from lasagna.modules.vision_encoders.lora import VisionLoRA


def recompute_blocks(network: nn.Module, name: str) -> None:
    """Let a network recompute the activations of its repeated blocks, or stages, in the backward pass.

    Args:
        network: The network, changed in place; names in its state dict stay.
        name: Its name in messages.

    Raises:
        ConfigError: If it has no repeated layers, or has batch norms, whose running statistics would be updated twice.
    """
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ConfigError(f"recompute: {name!r} has batch norms, whose statistics would be updated twice; take false")
    blocks = list(_repeated(network))
    if not blocks:
        raise ConfigError(f"recompute: {name!r} has no repeated blocks to recompute; take false")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules that are in a list with others of their type."""
    for child in module.children():
        kinds = [type(block) for block in child.children()]
        if isinstance(child, nn.Sequential | nn.ModuleList) and len(kinds) > len(set(kinds)):
            yield from (block for block in child.children() if kinds.count(type(block)) > 1)
        else:
            yield from _repeated(child)


MAIN_STRIDE, FINEST_STRIDE = 16, 4


class TimmEncoder(VisionEncoder):
    """The feature maps of a timm model (https://github.com/huggingface/pytorch-image-models).

    Args:
        model: Name of the model, one of ``timm.list_models()``.
        pretrained: Whether timm downloads its pretrained weights (once).
        weights_file: File with the weights of the complete model in timm's names, ``.safetensors`` or a plain PyTorch
            state dict; takes precedence over ``pretrained``.
        image_size: Height and width of the input in pixels, multiples of the coarsest stride in use.
        out_indices: Which of the model's maps to use, as timm counts them; None for the one at stride 16 (or the next
            finer one, or the only one) and all finer ones from stride 4.
        frozen: Whether the encoder keeps its weights, and its norm statistics, in training; None where they are
            pretrained.
        resize: "squash" to the input size, or keep the aspect ratio and "pad" at the right and the bottom.
        recompute: Whether training recomputes the activations of each block, or stage, in the backward pass, to save
            memory. Not for models with batch norms.
        layers: Blocks whose outputs are the maps, in place of ``out_indices``, e.g. (5, 11) of a transformer of 12
            blocks: several maps of one stride, the deepest first.
        adapter: Low-rank adapters, which are trained while all other weights are frozen; None for none.

    Raises:
        ConfigError: If there is no such model, or both ``layers`` and ``out_indices`` are given.
    """

    def __init__(
        self,
        model: str,
        pretrained: bool = False,
        weights_file: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        out_indices: tuple[int, ...] | None = None,
        frozen: bool | None = None,
        resize: Literal["squash", "pad"] = "squash",
        recompute: bool = False,
        layers: tuple[int, ...] | None = None,
        adapter: VisionLoRA | None = None,
    ) -> None:
        super().__init__()
        if layers is not None and out_indices is not None:
            raise ConfigError(f"layers: {layers} and out_indices {out_indices} both name maps; leave one of them out")
        architecture, _, weights = model.partition(".")
        if not timm.is_model(architecture):
            near = get_close_matches(model, timm.list_models(), n=5, cutoff=0.5)
            raise ConfigError(f"model: timm has no {model!r}; near it are {near}, all are listed by timm.list_models()")
        try:
            timm.get_pretrained_cfg(model)
        except RuntimeError as error:
            known = timm.list_pretrained(f"{architecture}.*")
            raise ConfigError(f"model: timm has no weights {weights!r} of {architecture!r}; it has {known}") from error
        if len(image_size) != 2 or min(image_size) < 1:
            raise ConfigError(f"image_size: expected height and width in pixels, such as (224, 224), got {image_size}")
        self.model = model
        self.pretrained = pretrained
        self.weights_file = weights_file
        self.image_size = image_size
        self.out_indices = out_indices if layers is None else layers
        self.layers = layers
        self.frozen = (pretrained or weights_file is not None) if frozen is None else frozen
        self.adapter = adapter
        self.learns = adapter is not None or not self.frozen
        self.resize = resize
        self.recompute = recompute
        self._spec: FeatureSpec | None = None

    @property
    def spec(self) -> FeatureSpec:
        """The chosen maps, coarsest first, and of one stride the deepest first."""
        if self._spec is None:
            raise RuntimeError(f"spec: the maps of {self.model!r} are known after build(); call build() first")
        return self._spec

    @property
    def image_processor(self) -> ImageProcessor:
        """Squash or pad, with the mean and standard deviation of the model's training."""
        config = timm.get_pretrained_cfg(self.model)
        kind = SquashImageProcessor if self.resize == "squash" else PadImageProcessor
        return kind(self.image_size, _channels(config.mean), _channels(config.std))

    def build(self) -> None:
        """Make the layers and load pretrained weights.

        Raises:
            ConfigError: If ``out_indices`` or ``image_size`` do not suit the model.
            ConfigError: If pretrained weights are not available, or the model cannot recompute activations or has no
                layers for the adapter.
            CheckpointError: If ``weights_file`` is missing, unreadable or of another model.
        """
        with torch.device("meta"):
            indices = self.out_indices or _default_indices(self._create())
            strides = self._create(out_indices=indices).feature_info.reduction()
        self._check(indices, strides)
        self.network = self._with_weights(indices)
        self.order = sorted(range(len(strides)), key=lambda position: (-strides[position], -position))
        channels = self.network.feature_info.channels()
        self._spec = FeatureSpec(
            tuple(channels[position] for position in self.order),
            tuple(strides[position] for position in self.order),
            self.image_size,
        )
        if self.adapter is not None:
            self.adapter.inject(self.network)
            self.adapter.check_called(self.network, torch.zeros(1, 3, *self.image_size), self.model)
        if not self.learns:
            self.freeze()
        elif self.recompute:
            recompute_blocks(self.network, self.model)

    def train(self, mode: bool = True) -> TimmEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode, so that its norm statistics do not change."""
        return super().train(mode and self.learns)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            pixels: Prepared images, float ``[b, 3, H, W]``.

        Returns:
            The maps that ``spec`` announces, each float ``[b, c, h, w]``.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            maps = self.network(pixels.contiguous(memory_format=torch.channels_last))
        if str(getattr(getattr(self.network, "output_fmt", None), "value", "")) == "NHWC":
            maps = [features.permute(0, 3, 1, 2) for features in maps]  # [b, h, w, c] -> [b, c, h, w]
        return [maps[position] for position in self.order]

    def _create(self, **options: Any) -> Any:  # noqa: ANN401
        if timm.get_pretrained_cfg(self.model).fixed_input_size:
            options["img_size"] = self.image_size
        try:
            return timm.create_model(self.model, features_only=True, **options)
        except (AssertionError, IndexError) as error:
            named = "out_indices" if self.layers is None else "layers"
            raise ConfigError(
                f"{named} {self.out_indices} or image_size {self.image_size} do not suit {self.model!r} ({error}); "
                f"leave {named} unset, and take a multiple of 32 for each side"
            ) from error

    def _with_weights(self, indices: Sequence[int]) -> Any:  # noqa: ANN401
        source = self._weight_source()
        try:
            return self._create(out_indices=indices, **source)
        except (OSError, RuntimeError) as error:
            if source != {"pretrained": True}:
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise ConfigError(
                f"pretrained: the weights of {self.model!r} are neither in the hub's local cache nor could they be "
                f"downloaded ({reason}); run once with network access, give a file of them as weights_file, or start "
                "from random weights with pretrained: false"
            ) from error

    def _check(self, indices: Sequence[int], strides: Sequence[int]) -> None:
        if self.layers is None and len(set(strides)) != len(strides):
            raise ConfigError(
                f"out_indices: the maps {tuple(indices)} of {self.model!r} have the strides {tuple(strides)}; choose "
                "one map per stride, or name them as `layers`, for several of one stride"
            )
        coarsest = max(strides)
        if any(side % coarsest for side in self.image_size):
            near = tuple(max(1, round(side / coarsest)) * coarsest for side in self.image_size)
            raise ConfigError(
                f"image_size: {self.image_size} must be multiples of {coarsest}, the coarsest stride of {self.model!r} "
                f"in use; the nearest is {near}"
            )

    def _weight_source(self) -> dict[str, Any]:
        if self.weights_file is None or not reads_weights():
            return {"pretrained": self.pretrained and reads_weights()}
        state = read_weights(self.weights_file)
        with torch.device("meta"):
            model: nn.Module = timm.create_model(self.model, num_classes=0)
        missing = sorted(set(model.state_dict()) - set(state))
        if missing:
            raise CheckpointError(
                f"weights_file: {self.weights_file} lacks {len(missing)} of the {len(model.state_dict())} tensors of "
                f"{self.model!r}, e.g. {missing[:3]}; give a file of that model in timm's own names"
            )
        return {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}


def read_weights(path: str) -> dict[str, Tensor]:
    """Read a file of tensors without unpickling anything but tensors.

    Args:
        path: A ``.safetensors`` file or a PyTorch state dict.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        CheckpointError: If the file is missing or holds anything else.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"weights: there is no file {path!r}; check the path or leave it out")
    try:
        state = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"weights: {path} is neither safetensors nor a plain state dict: {why_unreadable(error)}; save only the "
            "model's state_dict()"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"weights: {path} holds more than tensors; save only the model's state_dict()")
    return state


def _default_indices(network: Any) -> tuple[int, ...]:  # noqa: ANN401
    info = network.feature_info
    by_stride = dict(zip(info.reduction(), info.out_indices, strict=True))
    chosen = [stride for stride in by_stride if FINEST_STRIDE <= stride <= MAIN_STRIDE] or [min(by_stride)]
    return tuple(by_stride[stride] for stride in sorted(chosen))


def _channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
