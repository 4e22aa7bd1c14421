"""Reading SAM's weights from a checkpoint of SAM, or of a model that contains one, such as a LaSagnA release."""

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
_REMEDY = "give a complete SAM checkpoint, and leave `size` out, so that the sizes are the file's"


def read_sam(path: str) -> dict[str, Tensor]:
    """Read SAM's tensors without unpickling anything but tensors.

    Names may have a prefix (``model.visual_model.`` in LaSagnA's releases). Tensors that are not used are not read from
    disk, in safetensors and in the usual PyTorch format.

    Args:
        path: A ``.safetensors`` file or a PyTorch state dict, or the folder of a model, whose files may be parts.

    Returns:
        The tensors of SAM's three networks by their original names, on the CPU.

    Raises:
        CheckpointError: If the file is missing, cannot be read, or holds no tensors of SAM.
    """
    return split_sam(path)[0]


def split_sam(path: str, argument: str = "weights_file") -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read the tensors that ``read_sam`` returns, and list all others.

    Args:
        path: A file or folder as for ``read_sam``.
        argument: Setting that names it, for messages.

    Returns:
        SAM's tensors, and the names of all other tensors in the file.

    Raises:
        CheckpointError: See ``read_sam``.
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


def made_with(make: Callable[[], Network], state: dict[str, Tensor] | None, root: str, path: str | None) -> Network:
    """Make a network with the weights of a file, without drawing random ones first; random ones if there is no file.

    Args:
        make: Makes the network.
        state: Tensors by their original names, or None for random weights.
        root: Prefix of the network's names in the file, with a dot.
        path: The file, for messages.

    Raises:
        CheckpointError: If tensors are missing or of another shape; names the first few.
    """
    if state is None:
        return make()
    with torch.device("meta"):
        network = make()
    fill(network, state, f"weights_file: {path}", root, _REMEDY)
    return network
