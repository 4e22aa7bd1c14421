"""Reading the settings and weights of Mask2Former's decoders from a folder in transformers' layout."""

from __future__ import annotations

from transformers import Mask2FormerConfig

from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.files import fill, read_state
from lasagna.modules.language_models.pretrained import find_folder, read_config
from lasagna.modules.mask2former.decoders import Mask2FormerDecoders

_ROOTS = {"model.pixel_level_module.decoder.": "pixel_decoder.", "model.transformer_module.": "transformer_module."}
"""Beginnings of the names of tensors, in a folder and here."""
_REMEDY = "give the folder of a complete Mask2Former, and leave `size` out, so that the sizes are the folder's"


def read_settings(checkpoint: str, download: bool = False) -> Mask2FormerConfig:
    """Return transformers' settings of a Mask2Former.

    Args:
        checkpoint: Folder in transformers' layout, or a name on the hub.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If there is no such folder, or it is of another kind of model.
    """
    config = read_config(str(find_folder(checkpoint, download, "checkpoint")), argument="checkpoint")
    if not isinstance(config, Mask2FormerConfig):
        raise ConfigError(
            f"checkpoint: {checkpoint!r} is a {config.model_type!r}, not a Mask2Former (mask2former); give the "
            "folder of one"
        )
    return config


def load_into(decoders: Mask2FormerDecoders, checkpoint: str, download: bool = False) -> None:
    """Fill decoders with the weights of a folder, except for layers that read maps of other widths than there.

    Args:
        decoders: The decoders, whose own weights stay in those layers.
        checkpoint: Folder in transformers' layout, or a name on the hub.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If there is no such folder.
        CheckpointError: If weights are missing or do not fit.
    """
    state = read_state(find_folder(checkpoint, download, "checkpoint"), "checkpoint")
    tensors = {
        own + name.removeprefix(root): tensor
        for root, own in _ROOTS.items()
        for name, tensor in state.items()
        if name.startswith(root)
    }
    kept = decoders.state_dict()
    for layer in _readers(decoders):
        first = f"{layer}.0.weight"
        if first in tensors and tensors[first].shape[1] != kept[first].shape[1]:
            tensors |= {name: tensor for name, tensor in kept.items() if name.startswith(f"{layer}.")}
    fill(decoders, tensors, f"checkpoint: {checkpoint}", remedy=_REMEDY)


def _readers(decoders: Mask2FormerDecoders) -> list[str]:
    """Return the names of the layers that read the maps of the encoder."""
    pixels = decoders.pixel_decoder
    names = [f"input_projections.{level}" for level in range(len(pixels.input_projections))]
    names += [name for name, _ in pixels.named_children() if name.startswith("adapter_")]
    return [f"pixel_decoder.{name}" for name in names]
