"""Reading SAM 3's settings and weights from a folder in transformers' layout, of an image or a video model."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Sam3Config, Sam3VisionConfig, Sam3VisionModel

from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.files import fill, fitting, read_state
from lasagna.modules.language_models.pretrained import find_folder, read_config

Network = TypeVar("Network", bound=nn.Module)

_DETECTOR = "detector_model."
"""Prefix of the image model's tensors in the folder of a video model."""
_REMEDY = "give the folder of a complete SAM 3, and leave `size` out, so that the sizes are the folder's"


def read_settings(checkpoint: str, download: bool = False) -> Sam3Config:
    """Return transformers' settings of an image model.

    Args:
        checkpoint: Folder in transformers' layout, of an image or a video model; or a name on the hub.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If there is no such folder, or it is of another kind of model.
    """
    config = read_config(str(find_folder(checkpoint, download, "checkpoint")), argument="checkpoint")
    if config.model_type not in ("sam3", "sam3_video"):
        raise ConfigError(
            f"checkpoint: {checkpoint!r} is a {config.model_type!r}, not a SAM 3 (sam3, sam3_video); give the "
            "folder of one"
        )
    own = config.detector_config if config.model_type == "sam3_video" else config
    return deepcopy(own if isinstance(own, Sam3Config) else Sam3Config(**own))


def filled(make: Callable[[], Network], checkpoint: str, download: bool) -> Network:
    """Return a network with its weights; arguments and errors as for ``vision_model``, without buffers.

    Args:
        make: Makes the network, whose names are those of transformers' image model.
        checkpoint: Folder in transformers' layout, of an image or a video model; or a name on the hub.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If there is no such folder.
        CheckpointError: If weights are missing or do not fit.
    """
    with torch.device("meta"):
        network = make()
    fill(network, _tensors(checkpoint, download), f"checkpoint: {checkpoint}", remedy=_REMEDY)
    return network


def vision_model(config: Sam3VisionConfig, checkpoint: str, download: bool) -> PreTrainedModel:
    """Return transformers' image encoder with its weights; arguments and errors as for ``filled``."""
    root = "vision_encoder."
    with torch.device("meta"):
        outline = Sam3VisionModel(config)
    own = fitting(outline, _tensors(checkpoint, download), f"checkpoint: {checkpoint}", root, _REMEDY)
    # transformers fills the buffers that no file holds, whose names change between its releases
    network: PreTrainedModel = Sam3VisionModel.from_pretrained(
        None, config=config, state_dict=own, dtype=torch.get_default_dtype()
    )
    return network


def _tensors(checkpoint: str, download: bool) -> dict[str, Tensor]:
    state = read_state(find_folder(checkpoint, download, "checkpoint"), "checkpoint")
    return {name.removeprefix(_DETECTOR): tensor for name, tensor in state.items()}
