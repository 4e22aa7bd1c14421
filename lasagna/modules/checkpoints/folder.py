"""An assistant as a folder: its config and its trained weights; frozen pretrained weights are only named in it.

``assistant.json`` says how to build the assistant, ``adapter_config.json`` and ``adapter_model.safetensors`` are
low-rank adapters in peft's format, and ``heads.safetensors`` holds all other trained weights. ``config.yaml`` is for
further training: the assistant, where its weights are, and the seed of random weights that were never trained. Both
name what lies within the folder by ``{folder}``, so that it can be moved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lasagna.core.storage import check_output, whole_file, write_json, writing
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import save_tensors

if TYPE_CHECKING:
    from peft import LoraConfig

    from lasagna.core.config import Config
    from lasagna.modules.assistant import Assistant

ASSISTANT = "assistant.json"
ADAPTER = "adapter_model.safetensors"
HEADS = "heads.safetensors"
CONFIG = "config.yaml"
FORM = 1
"""Version of this layout."""

HERE = "{folder}"
"""Stands for the folder itself at the beginning of paths in its files."""

WEIGHTS = "weights"
"""Key in ``assistant.json``: the names of all weights in the folder, so that a lost file is noticed."""

SUMS = "sha256"
"""Key in ``assistant.json``: the checksum of each file of weights, since safetensors has none."""

_PREFIX = "adapted_model"
_SHOWN = 4


def is_assistant_folder(path: Path) -> bool:
    """Return whether a path is a folder in this layout."""
    return (path / ASSISTANT).is_file()


def check_empty(folder: Path) -> None:
    """Check that a folder is new or empty.

    Raises:
        OutputError: If it is a file, or cannot be written to.
        CheckpointError: If it is not empty.
    """
    check_output(folder, "output")
    if folder.is_dir() and any(folder.iterdir()):
        raise CheckpointError(f"output: {str(folder)!r} is not empty; give a new folder, or empty it first")


def write_assistant(folder: Path, assistant: Assistant, checkpoint: Mapping[str, Any]) -> list[Path]:
    """Write an assistant into a folder.

    Args:
        folder: A new or empty folder.
        assistant: The assistant, built; its adapters are looked up.
        checkpoint: Its trained weights, config, seed and fingerprint, as in a checkpoint file.

    Returns:
        The files.

    Raises:
        CheckpointError: If the folder is not empty, or the checkpoint does not say how to build the assistant.
    """
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, FROZEN, LEARNED, SEED, assistant_weights

    check_empty(folder)
    if checkpoint.get(ASSISTANT_CONFIG) is None:
        raise CheckpointError("checkpoint: it does not say how to build its assistant, and the folder has to say it")
    weights = assistant_weights(checkpoint)
    adapted = adapted_model(assistant)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    kept = (ASSISTANT_CONFIG, SEED, FROZEN, LEARNED)
    known = {key: checkpoint[key] for key in kept if checkpoint.get(key) is not None}
    about: dict[str, Any] = {"form": FORM, WEIGHTS: sorted(weights), **known}
    if adapted is not None:
        prefix, config = adapted
        about |= write_adapters(folder, weights, prefix, config)
        weights = {name: value for name, value in weights.items() if not to_peft({name: value}, prefix)}
    save_tensors(weights, folder / HEADS)
    write_about(folder, about)
    write_config(folder, checkpoint[ASSISTANT_CONFIG], checkpoint.get(SEED))
    return sorted(folder.iterdir())


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``assistant.json``, with checksums of the folder's weights, which must be there already.

    Args:
        folder: The assistant's folder.
        about: Its content.
    """
    sums = {file.name: checksum(file) for file in (folder / HEADS, folder / ADAPTER) if file.is_file()}
    write_json(folder / ASSISTANT, movable({**about, SUMS: sums}, folder), indent=2, sort_keys=True)


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def write_config(folder: Path, config: Config, seed: int | None = None) -> None:
    """Write the config with which ``python train.py --config`` continues training.

    Args:
        folder: The assistant's folder.
        config: How to build the assistant.
        seed: Seed of its random weights, which the frozen ones keep; None if it was not trained yet.
    """
    from omegaconf import OmegaConf

    model = {"assistant": config, "warm_start": str(folder.resolve()), **({} if seed is None else {"seed": seed})}
    with whole_file(folder / CONFIG) as draft:
        OmegaConf.save(OmegaConf.create({"model": {"init_args": movable(model, folder)}}), draft)


def movable(content: Any, folder: Path) -> Any:  # noqa: ANN401
    """Return plain data in which absolute paths of a folder and within it begin with ``HERE``.

    Args:
        content: The data.
        folder: The folder.
    """
    root = folder.resolve()

    def replaced(text: str) -> str:
        path = Path(text)
        inside = path.is_absolute() and path.is_relative_to(root)
        return "/".join((HERE, *path.relative_to(root).parts)) if inside else text

    return _with_texts(content, replaced)


def placed(content: Any, folder: Path) -> Any:  # noqa: ANN401
    """Return plain data in which paths that begin with ``HERE`` are those of a folder; the inverse of ``movable``."""
    root = folder.resolve()

    def replaced(text: str) -> str:
        first, *rest = text.split("/")
        return str(root.joinpath(*rest)) if first == HERE else text

    return _with_texts(content, replaced)


def _with_texts(content: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(content, Mapping):
        return {name: _with_texts(part, change) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [_with_texts(part, change) for part in content]
    return change(content) if isinstance(content, str) else content


def write_adapters(folder: Path, weights: Mapping[str, Tensor], prefix: str, config: LoraConfig) -> dict[str, str]:
    """Write the adapters among an assistant's weights in peft's format.

    Args:
        folder: The assistant's folder.
        weights: Name to weight.
        prefix: Prefix of the adapted model's names, including the dot.
        config: The adapters' settings.

    Returns:
        Their entry in ``assistant.json``.
    """
    save_tensors(to_peft(weights, prefix), folder / ADAPTER)
    with writing(folder):
        config.save_pretrained(str(folder))
    return {_PREFIX: prefix}


def read_assistant(folder: Path) -> dict[str, Any]:
    """Read a folder in the form that ``lasagna.modules.checkpoints.load.read_checkpoint`` returns for a file.

    Raises:
        CheckpointError: If files are missing, unreadable, or in a later layout.
    """
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, FROZEN, LEARNED, PREFIX, SEED, check_content

    about = placed(_about(folder), folder)
    weights = _tensors(folder / HEADS)
    if _PREFIX in about:
        weights |= from_peft(_tensors(folder / ADAPTER), about[_PREFIX])
    _check_names(folder, weights, about.get(WEIGHTS, weights))
    _check_sums(folder, about.get(SUMS, {}))
    checkpoint = {"state_dict": {PREFIX + name: value for name, value in weights.items()}}
    check_content(checkpoint | about, folder)
    kept = {key: about[key] for key in (ASSISTANT_CONFIG, SEED, FROZEN, LEARNED) if about.get(key) is not None}
    return {**checkpoint, **kept}


def _check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    for name, wanted in sums.items():
        if (folder / name).is_file() and checksum(folder / name) != wanted:
            raise CheckpointError(
                f"checkpoint: {folder / name} is not the file that {ASSISTANT} describes (SHA-256); it is damaged, and "
                f"can be copied or exported again; if you changed it yourself, remove {SUMS!r} from {ASSISTANT}"
            )


def _check_names(folder: Path, found: Collection[str], listed: Collection[str]) -> None:
    for names, problem in (
        ([name for name in listed if name not in found], "lacks {}, which {} lists; export or import it again"),
        ([name for name in found if name not in listed], "holds {}, which belong to another and are not in {}"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            shown = ", ".join(names[:_SHOWN]) + more
            raise CheckpointError(f"checkpoint: {str(folder)!r} {problem.format(shown, ASSISTANT)}")


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / ASSISTANT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint: {folder / ASSISTANT} cannot be read ({error}); export it again") from error
    if not isinstance(about, dict):
        raise CheckpointError(f"checkpoint: {folder / ASSISTANT} holds no JSON object; export it again")
    if about.get("form") != FORM:
        raise CheckpointError(
            f"checkpoint: {folder / ASSISTANT} has form {about.get('form')!r}, but this version reads {FORM}; "
            "use the version of lasagna that wrote it, or a newer one"
        )
    return about


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint: {file} cannot be read ({error}); export it again") from error


ROOT = "base_model.model."
"""Peft's prefix of the adapted model's names."""

_OURS = re.compile(r"\.(lora_[A-Za-z_]+)\.default(?=\.|$)")
_THEIRS = re.compile(r"\.(lora_[A-Za-z_]+)(?=\.|$)")


def adapted_model(assistant: nn.Module) -> tuple[str, Any] | None:
    """Find the model that carries adapters; if several do, the language model.

    Returns:
        Prefix of its weights' names, including the dot, and its peft config; None without adapters.
    """
    found = list[tuple[str, Any]]()
    for name, module in assistant.named_modules():
        configs = getattr(module, "peft_config", None)
        if isinstance(configs, Mapping) and "default" in configs:
            found.append((f"{name}.", configs["default"]))
    return min(found, key=lambda one: not one[0].startswith("language_model."), default=None)


def to_peft(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the adapters among an assistant's weights, and rename them to peft's names.

    Args:
        weights: Name to weight.
        prefix: Prefix of the adapted model's names.
    """
    own = {name: value for name, value in weights.items() if name.startswith(prefix) and _OURS.search(name)}
    return {ROOT + _OURS.sub(r".\1", name.removeprefix(prefix)): value for name, value in own.items()}


def from_peft(adapters: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Rename adapters to the assistant's names; the inverse of ``to_peft``."""
    return {prefix + _THEIRS.sub(r".\1.default", name.removeprefix(ROOT)): value for name, value in adapters.items()}
