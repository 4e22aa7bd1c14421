"""Weights of a checkpoint folder: one file, or several with an index; safetensors or PyTorch, never unpickled."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lasagna.core.storage import whole_file
from lasagna.errors import CheckpointError

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
"""File names of a checkpoint in a single file, in order of preference; an index adds ``.index.json``."""

WHOLE = "give the folder of a complete checkpoint"

_WRAPPERS = ("state_dict", "module", "model")
"""Keys under which training states keep their tensors, next to other things."""

_METADATA = {"format": "pt"}
"""What transformers and peft want to be said of files that torch wrote."""

_SHOWN = 4

_CODE = (
    "Unsupported global",
    "not an allowed global",
    "Unsupported class",
    "Unsupported operand",
    "build objects",
    "unsupported GLOBAL",
)
"""Parts of torch's errors about files with more than tensors and plain data."""


def save_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors as safetensors.

    Tensors that share memory are copied, since the format does not allow them. The file may be read by whoever may read
    new files here; safetensors itself would keep it to its owner.

    Args:
        tensors: Tensors by name.
        file: The file; replaced as a whole.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(file) as draft:
        draft.touch()
        mode = draft.stat().st_mode
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        save_file(copies, draft, _METADATA)
        draft.chmod(mode)


def read_state(folder: str | Path, argument: str = "folder") -> dict[str, Tensor]:
    """Read all tensors of a checkpoint folder, or of a single file.

    Files are memory-mapped where their format allows it, so that unused tensors are not read from disk.

    Args:
        folder: Folder with ``model.safetensors`` or ``pytorch_model.bin``, or with an index of several such files; or
            one such file, whatever its name.
        argument: The setting that named the folder, for messages.

    Returns:
        Tensors by name, on the CPU. They may be mapped to the file: copy those that have to outlive it.

    Raises:
        CheckpointError: If there is no such folder or file, a file cannot be read, or files and index disagree.
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
    missing = (
        f"it has neither {' nor '.join(SINGLE_FILES)}, nor an index" if root.is_dir() else "there is no such folder"
    )
    raise CheckpointError(f"{argument}: {str(root)!r} is not a checkpoint: {missing}; check the path")


def read_json(path: Path, argument: str = "folder") -> dict[str, Any]:
    """Read a JSON object, such as ``config.json``, of a checkpoint's folder.

    Args:
        path: The file.
        argument: The setting that named the folder, for messages.

    Raises:
        CheckpointError: If the file is missing or does not hold a JSON object.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{argument}: {str(path.parent)!r} has no {path.name}; give the complete folder of the checkpoint"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{argument}: {path} is not JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{argument}: {path} does not hold a JSON object; download it again")
    return content


def why_unreadable(error: Exception) -> str:
    """Return in a few words why torch or safetensors could not read a file.

    Their own messages are long, and torch's explains how to run code from the file, which is never done here.

    Args:
        error: The error they raised.
    """
    text = str(error)
    if any(word in text for word in _CODE):
        return "it holds objects or code besides tensors, which are never loaded"
    # without a file name, the error is not from the file system but from reading past the end of the file
    if isinstance(error, OSError) and error.strerror and error.filename:
        return error.strerror.lower()
    return "it is truncated, or in another format"


def read_plain(path: Path) -> Any:  # noqa: ANN401
    """Read a file that torch wrote; only plain data and tensors are unpickled, and tensors stay on the disk.

    Args:
        path: The file; it must exist.

    Raises:
        CheckpointError: If it cannot be read, or is damaged.
    """
    facts = path.stat()
    check_intact(path, facts.st_mtime_ns, facts.st_size)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} cannot be read: {why_unreadable(error)}; train again, or use another one"
        ) from error


@lru_cache(maxsize=64)
def check_intact(path: Path, changed: int, size: int) -> None:
    """Compare the parts of a checkpoint file with the checksums in it, which torch does not.

    A file is read once in a process, unless it changes. Files in torch's old format have no checksums.

    Args:
        path: The file.
        changed: When it was written.
        size: Its number of bytes.

    Raises:
        CheckpointError: If a part differs.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as parts:
        try:
            broken = parts.testzip()
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            broken = str(error)
    if broken is not None:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} is damaged: {broken} differs from its checksum; copy it again, or use "
            "another one"
        )


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    prefix: str = "",
    remedy: str = WHOLE,
    dtype: torch.dtype | None = None,
) -> None:
    """Load weights into a network on the meta device; they are copied to torch's default device.

    Args:
        network: The network; buffers that its state dict leaves out are not filled.
        tensors: Tensors by name; those that the network does not have are ignored.
        source: Setting and place that they come from, for the message.
        prefix: Prefix of the network's own names in ``tensors``, including the dot.
        remedy: What to do about tensors that do not fit, for the message.
        dtype: Precision of the weights; None for torch's default.

    Raises:
        CheckpointError: If tensors are missing or have another shape; names the first few.
    """
    device, precision = torch.get_default_device(), dtype or torch.get_default_dtype()
    own = fitting(network, tensors, source, prefix, remedy)
    network.load_state_dict({name: value.to(device, precision, copy=True) for name, value in own.items()}, assign=True)


def fitting(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str, prefix: str = "", remedy: str = WHOLE
) -> dict[str, Tensor]:
    """Return the tensors that a network needs, by its own names; arguments and errors are those of ``fill``."""
    wanted = network.state_dict()
    found = {name: tensors[prefix + name] for name in wanted if prefix + name in tensors}
    problems = [f"{prefix}{name} is missing" for name in wanted if name not in found]
    problems += [
        f"{prefix}{name} has shape {tuple(tensor.shape)}, here {tuple(wanted[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit its config: {_first_few(problems)}; {remedy}")
    return found


def _sharded(index: Path, argument: str) -> dict[str, Tensor]:
    places = read_json(index, argument).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{argument}: {index} has no weight_map; download the index again")
    files = sorted(set(map(str, places.values())))
    absent = [name for name in files if not (index.parent / name).is_file()]
    if absent:
        raise CheckpointError(f"{argument}: {index} names files that are missing: {_first_few(absent)}; download them")
    read = {name: _tensors(index.parent / name, argument) for name in files}
    lost = [f"{name} in {file}" for name, file in places.items() if name not in read[file]]
    if lost:
        raise CheckpointError(
            f"{argument}: {index} names tensors that are missing: {_first_few(lost)}; download all files again"
        )
    return {name: read[file][name] for name, file in places.items()}


def _tensors(path: Path, argument: str) -> dict[str, Tensor]:
    state: Any
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns its own developers about files that are refused below
                state = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        raise CheckpointError(
            f"{argument}: {path} is neither safetensors nor a plain state dict: {why_unreadable(error)}; "
            "download it again, or save only the tensors"
        ) from error
    if isinstance(state, dict):
        state = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{argument}: {path} holds more than tensors by name; give a state dict")
    return state


def _first_few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
