"""SAM's weights out of a file: a checkpoint of SAM's, or of a model that holds one, as LaSagnA's releases do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import fill, read_state

Network = TypeVar("Network", bound=nn.Module)

_MARKS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
_REMEDY = "give a whole SAM checkpoint, and leave `size` out, so that sizes are the file's"


def read_sam(path: str) -> dict[str, Tensor]:
    """Read SAM's tensors without unpickling anything but tensors.

    Names may stand behind a prefix (``model.visual_model.`` in LaSagnA's releases). Of the usual PyTorch format and of
    safetensors, what is not used is not read from the disk.

    Args:
        path: A ``.safetensors`` file or a PyTorch state dict, or the folder of a model, whose files may be parts.

    Returns:
        The tensors of SAM's three networks by their original names, on the CPU.

    Raises:
        CheckpointError: If the file is missing, cannot be read, or holds nothing of SAM's.
    """
    return split_sam(path)[0]


def split_sam(path: str, argument: str = "weights_file") -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read what ``read_sam`` does, and tell what else there is.

    Args:
        path: A file or folder as for ``read_sam``.
        argument: The setting that named it, for messages.

    Returns:
        SAM's tensors, and the names of all others in the file.

    Raises:
        CheckpointError: As ``read_sam`` does.
    """
    if not Path(path).exists():
        raise CheckpointError(f"{argument}: there is no file {path!r}; check the path or leave it out")
    state = read_state(path, argument)
    named, others = {}, []
    for name, tensor in state.items():
        start = min((name.find(mark) for mark in _MARKS if mark in name), default=-1)
        if start >= 0:
            named[name[start:]] = tensor
        else:
            others.append(name)
    if not named:
        raise CheckpointError(f"{argument}: {path} holds no {', no '.join(_MARKS)}; give a SAM checkpoint")
    return named, tuple(others)


def made_with(make: Callable[[], Network], state: dict[str, Tensor], root: str, path: str) -> Network:
    """Make a network that takes its weights from a file, without drawing random ones before.

    Args:
        make: Makes the network.
        state: Tensors by their original names.
        root: What the network's names begin with in the file, with a dot.
        path: The file, for the message.

    Raises:
        CheckpointError: If tensors are missing or of another shape; names the first few.
    """
    with torch.device("meta"):
        network = make()
    fill(network, state, f"weights_file: {path}", root, _REMEDY)
    return network
