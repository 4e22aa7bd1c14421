"""Reading SAM 2's weights from a folder in transformers' layout or an original checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import Sam2MaskDecoderConfig, Sam2PromptEncoderConfig, Sam2VisionConfig

from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.checkpoints.files import fill, read_state
from lasagna.modules.language_models.pretrained import find_folder, read_config
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.networks import from_original, from_transformers, unused_because
from lasagna.modules.sam2.sizes import Shapes, decoder_size, published_size

Network = TypeVar("Network", bound=nn.Module)

_KINDS = ("sam2", "sam2_video")
_PARTS = ("vision_encoder.", "conv_s", "no_memory_embedding", "mask_decoder.", "prompt_encoder.")
_REMEDY = "give a complete checkpoint of SAM 2, and leave `size` out, so that the sizes are the checkpoint's"
_SHOWN = 4


@dataclass(frozen=True)
class Sam2Weights:
    """The tensors of a SAM 2.

    Args:
        source: Where they come from.
        tensors: Those that the networks use, by the networks' names, on the CPU.
        unused: Name in the source to the reason why the networks do not need it.
    """

    source: str
    tensors: dict[str, Tensor]
    unused: dict[str, str]

    @property
    def shapes(self) -> Shapes:
        """Shapes of the tensors."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def made_with(self, make: Callable[[], Network], root: str = "") -> Network:
        """Make a network with these weights, without drawing random ones first.

        Args:
            make: Makes the network.
            root: Prefix of the network's names, with a dot.

        Raises:
            CheckpointError: If tensors are missing, surplus or of another shape; names the first few.
        """
        with torch.device("meta"):
            network = make()
        wanted = {root + name for name in network.state_dict()}
        owned = {f"{root}{name}." for name, _ in network.named_children()}
        surplus = [name for name in self.tensors if name not in wanted and name.startswith(tuple(owned))]
        if surplus:
            raise CheckpointError(
                f"checkpoint: {self.source} holds tensors that the network lacks: {_first_few(surplus)}; {_REMEDY}"
            )
        fill(network, self.tensors, f"checkpoint: {self.source}", root, _REMEDY)
        return network


def read_sam2(checkpoint: str, download: bool = False) -> Sam2Weights:
    """Read SAM 2's tensors without unpickling anything but tensors.

    Tensors that are not used are not read from disk, in safetensors and in the usual PyTorch format.

    Args:
        checkpoint: Folder in transformers' layout, of an image or a video model; a name on the hub; or an original
            checkpoint (``sam2.1_hiera_tiny.pt``), or a file of a model that contains one.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If there is no such folder or file, or it is of another kind of model.
        CheckpointError: If it cannot be read, or holds tensors that SAM 2 does not have.
    """
    if Path(checkpoint).is_file():
        return _original(checkpoint)
    _config(checkpoint, download)
    state = read_state(find_folder(checkpoint, download, "checkpoint"), "checkpoint")
    return _sorted(checkpoint, state, from_transformers(state))


def read_vision_config(checkpoint: str, download: bool = False) -> Sam2VisionConfig:
    """Return transformers' settings of an image encoder; arguments and errors as for ``read_sam2``.

    For an original checkpoint these are the published ones of its width and depth, since shapes do not reveal all.
    """
    if Path(checkpoint).is_file():
        return published_size(_original(checkpoint).shapes).config()
    return _config(checkpoint, download).vision_config


def read_decoder_size(checkpoint: str, download: bool = False) -> SamHeadSize:
    """Return the sizes of a mask decoder; arguments and errors as for ``read_sam2``."""
    if Path(checkpoint).is_file():
        return decoder_size(_original(checkpoint).shapes)
    # as an image model's settings, since those of a video model lose their defaults in some releases of transformers
    config = _config(checkpoint, download)
    found = Sam2MaskDecoderConfig.from_dict(config.mask_decoder_config.to_dict())
    prompts = Sam2PromptEncoderConfig.from_dict(config.prompt_encoder_config.to_dict())
    masks, narrow = found.num_multimask_outputs + 1, prompts.mask_input_channels
    sizes = (found.hidden_size, found.num_hidden_layers, found.num_attention_heads, found.mlp_dim, masks, narrow)
    return SamHeadSize(*sizes)


def _config(checkpoint: str, download: bool) -> Any:  # noqa: ANN401
    config = read_config(str(find_folder(checkpoint, download, "checkpoint")), argument="checkpoint")
    if config.model_type not in _KINDS:
        raise ConfigError(
            f"checkpoint: {checkpoint!r} is a {config.model_type!r}, not a SAM 2 ({', '.join(_KINDS)}); give the "
            "folder of one"
        )
    return config


def _original(checkpoint: str) -> Sam2Weights:
    state = read_state(checkpoint, "checkpoint")
    names = from_original(state)
    if not any(name.startswith(_PARTS) for name in names.values()):
        raise CheckpointError(
            f"checkpoint: {checkpoint} has no image_encoder.trunk.* and no sam_mask_decoder.*; give an original "
            "checkpoint of SAM 2, or the complete folder of one in transformers' layout"
        )
    return _sorted(checkpoint, state, names)


def _sorted(checkpoint: str, state: dict[str, Tensor], names: dict[str, str]) -> Sam2Weights:
    reasons = {name: unused_because(own) for name, own in names.items()}
    unknown = [name for name, own in names.items() if reasons[name] is None and not own.startswith(_PARTS)]
    if unknown:
        raise CheckpointError(
            f"checkpoint: {checkpoint} holds tensors that SAM 2 does not have: {_first_few(unknown)}; give a "
            "checkpoint of only a SAM 2"
        )
    used = {own: state[name] for name, own in names.items() if reasons[name] is None}
    # transformers keeps in one table what the original has in four
    table = used.pop("prompt_encoder.point_embed.weight", torch.empty(0))
    used |= {f"prompt_encoder.point_embeddings.{kind}.weight": row[None] for kind, row in enumerate(table)}
    return Sam2Weights(checkpoint, used, {name: reason for name, reason in reasons.items() if reason is not None})


def _first_few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
