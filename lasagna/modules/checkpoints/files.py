"""Weights out of a checkpoint folder: one file or several with an index, safetensors or PyTorch, nothing unpickled."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lasagna.errors import CheckpointError

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of a checkpoint's only file, in the order of preference; an index is called so with ``.index.json`` behind."""

WHOLE = "give the folder of a whole checkpoint"

_WRAPPERS = ("state_dict", "module", "model")
"""Keys under which training states keep their tensors, beside other things."""

_SHOWN = 4

_CODE = (
    "Unsupported global",
    "not an allowed global",
    "Unsupported class",
    "Unsupported operand",
    "build objects",
    "unsupported GLOBAL",
)
"""What torch says of a file with more than tensors and plain data."""


def read_state(folder: str | Path, argument: str = "folder") -> dict[str, Tensor]:
    """Read all tensors of a checkpoint's folder, or of a single file.

    Of the usual PyTorch format and of safetensors, what is not used is not read from the disk.

    Args:
        folder: Folder with ``model.safetensors`` or ``pytorch_model.bin``, or with an index of several such files; or
            one such file, whatever its name.
        argument: The setting that named the folder, for messages.

    Returns:
        Tensors by name, on the CPU. They may stand for the file itself: copy what has to outlive it.

    Raises:
        CheckpointError: If there is no such folder or file, one cannot be read, or files and index do not agree.
    """
    root = Path(folder)
    if root.is_file():
        return _tensors(root, argument)
    for name in SINGLE_FILES:
        index = root / f"{name}.index.json"
        if index.is_file():
            return _sharded(index, argument)
        if (root / name).is_file():
            return _tensors(root / name, argument)
    missing = "no such folder" if not root.is_dir() else f"neither {' nor '.join(SINGLE_FILES)} in it, nor an index"
    raise CheckpointError(f"{argument}: {str(root)!r} is no checkpoint, there is {missing}; check the path")


def read_json(path: Path, argument: str = "folder") -> dict[str, Any]:
    """Read a JSON object, such as ``config.json``, of a checkpoint's folder.

    Args:
        path: The file.
        argument: The setting that named the folder, for messages.

    Raises:
        CheckpointError: If the file is missing or holds no JSON object.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{argument}: {str(path.parent)!r} has no {path.name}; give the checkpoint's whole folder"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{argument}: {path} is no JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{argument}: {path} holds no JSON object; fetch it again")
    return content


def why_unreadable(error: Exception) -> str:
    """Say in a few words why torch or safetensors could not read a file.

    Their own texts are long, and torch's says how to run the code in a file, which nothing here does.

    Args:
        error: What they raised.
    """
    text = str(error)
    if any(word in text for word in _CODE):
        return "it holds objects or code beside tensors, and these are never run"
    # without the file's name it is not the file system's own, but that of reading behind a file's end
    if isinstance(error, OSError) and error.strerror and error.filename:
        return error.strerror.lower()
    return "it is cut short, or in another format"


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    prefix: str = "",
    remedy: str = WHOLE,
    dtype: torch.dtype | None = None,
) -> None:
    """Give a network that was made on the meta device its weights, copied to torch's default device.

    Args:
        network: The network; buffers that its state dict leaves out are not filled.
        tensors: Tensors by name; those the network has no place for are left alone.
        source: Setting and place they come from, for the message.
        prefix: What stands before the network's own names in ``tensors``, with a dot.
        remedy: What to do about tensors that do not fit, for the message.
        dtype: Precision of the weights; None for torch's default.

    Raises:
        CheckpointError: If tensors are missing or of another shape; names the first few.
    """
    device, precision = torch.get_default_device(), dtype or torch.get_default_dtype()
    own = fitting(network, tensors, source, prefix, remedy)
    network.load_state_dict({name: value.to(device, precision, copy=True) for name, value in own.items()}, assign=True)


def fitting(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str, prefix: str = "", remedy: str = WHOLE
) -> dict[str, Tensor]:
    """Return the tensors that a network needs, by its own names; arguments and faults are those of ``fill``."""
    wanted = network.state_dict()
    found = {name: tensors[prefix + name] for name in wanted if prefix + name in tensors}
    _check(wanted, found, f"{source} does not fit its config", prefix, remedy)
    return found


def _check(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], fault: str, prefix: str, remedy: str) -> None:
    faults = [f"{prefix}{name} is missing" for name in wanted if name not in found]
    faults += [
        f"{prefix}{name} has shape {tuple(tensor.shape)}, here {tuple(wanted[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    if faults:
        raise CheckpointError(f"{fault}: {_few(faults)}; {remedy}")


def _sharded(index: Path, argument: str) -> dict[str, Tensor]:
    places = read_json(index, argument).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{argument}: {index} has no weight_map; fetch the index again")
    files = sorted(set(map(str, places.values())))
    absent = [name for name in files if not (index.parent / name).is_file()]
    if absent:
        raise CheckpointError(f"{argument}: {index} names files that are not there: {_few(absent)}; fetch them too")
    read = {name: _tensors(index.parent / name, argument) for name in files}
    lost = [f"{name} in {file}" for name, file in places.items() if name not in read[file]]
    if lost:
        raise CheckpointError(f"{argument}: {index} names tensors that are not there: {_few(lost)}; fetch all anew")
    return {name: read[file][name] for name, file in places.items()}


def _tensors(path: Path, argument: str) -> dict[str, Tensor]:
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except Exception as error:
        raise CheckpointError(
            f"{argument}: {path} is neither safetensors nor a plain state dict: {why_unreadable(error)}; "
            "fetch it again, or save the tensors alone"
        ) from error
    if isinstance(state, dict):
        state = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{argument}: {path} holds more than tensors by name; give a state dict")
    return state


def _load(path: Path) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is about to be refused, torch tells its own developers more
        return torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _few(things: Sequence[str]) -> str:
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return "; ".join(things[:_SHOWN]) + more
