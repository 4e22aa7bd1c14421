"""Released models and training states as assistants: the config that names their files, and the folder to load."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from lasagna.core.config import Config
from lasagna.core.storage import write_json
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import save_tensors
from lasagna.modules.checkpoints.folder import (
    FORM,
    HEADS,
    WEIGHTS,
    check_empty,
    write_about,
    write_adapters,
    write_config,
)
from lasagna.modules.checkpoints.released import KeptOrMerged
from lasagna.modules.checkpoints.released.adapters import PROJECTION, VISUAL
from lasagna.modules.checkpoints.released.folder import write_release
from lasagna.modules.checkpoints.released.release import Release, read_release
from lasagna.modules.checkpoints.released.reload import format_of
from lasagna.modules.checkpoints.released.tensor_report import TensorReport
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, PREFIX

MODEL = {"merged": "merged", "kept": "base"}
"""Name of the model folder that is written for a training state."""

ADAPTED = "language_model.llama."
"""Prefix of the assistant's names of the model that has the adapters."""

REPORT = "report.json"


def write_assistant_folder(
    place: Path,
    target: Path,
    vision_tower: str | None,
    base: str | None,
    sam: str | None,
    lora_alpha: float,
    adapters: KeptOrMerged,
) -> TensorReport:
    """Write an assistant folder that refers to the files of a released model or a training state.

    Args:
        place: The source.
        target: A new or empty folder.
        vision_tower: Folder of the CLIP tower; None for the one in the model's config.
        base: Folder of the LLaVA v1 model that a training state started from; None for a release.
        sam: Original checkpoint of SAM, for a source without one.
        lora_alpha: Alpha of a training state's adapters.
        adapters: What becomes of these.

    Returns:
        What became of every tensor.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit; then nothing is written.
    """
    check_empty(target)
    folder = _model_folder(place, base)
    release = read_release(place, folder, vision_tower, sam, lora_alpha, adapters)
    if folder != place:
        folder = _write_model(target / MODEL[adapters], release, folder)
    target.mkdir(parents=True, exist_ok=True)
    _write_assistant(target, release, _assistant_config(release, folder, sam))
    return release.tensor_report


def release_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a folder in the released layout, in the form that ``read_checkpoint`` returns for a file.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit.
    """
    release = read_release(folder, folder)
    # the language model itself warns of all others
    unused = [name for name in release.tensor_report.unknown if name.startswith((VISUAL, PROJECTION))]
    if unused:
        warnings.warn(f"source: {str(folder)!r} holds tensors that nothing reads: {', '.join(unused)}", stacklevel=2)
    weights = {PREFIX + name: value for name, value in release.projection.items()}
    return {"state_dict": weights, ASSISTANT_CONFIG: _assistant_config(release, folder, None)}


def _model_folder(place: Path, base: str | None) -> Path:
    if (place / "config.json").is_file():
        if base is not None:
            raise CheckpointError(
                f"base: {str(place)!r} has its own config and tokeniser, so {base!r} would not be used; leave it out"
            )
        return place
    if not place.exists():
        raise CheckpointError(f"source: there is no file or folder {str(place)!r}; check the path")
    if base is None:
        kind = "folder" if place.is_dir() else "single file"
        raise CheckpointError(
            f"base: {str(place)!r} is a {kind} without config and tokeniser; give the folder of the LLaVA v1 "
            "model that training started from as base"
        )
    return Path(base)


def _write_model(folder: Path, release: Release, base: Path) -> Path:
    tower = str(release.tower.resolve())
    settings = {**release.settings, "mm_vision_tower": tower, "vision_tower": tower}
    state = {name: release.state[name] for name in release.tensor_report.used if name in release.state}
    write_release(folder, state, settings, release.tokenizer, base)
    return folder


def _assistant_config(release: Release, folder: Path, sam: str | None) -> Config:
    weights = {"weights_file": str(folder.resolve() if sam is None else Path(sam).resolve())}
    language_model: dict[str, Any] = {"folder": str(folder.resolve()), "vision_tower": str(release.tower.resolve())}
    if release.kept.pairs:
        # the dropout is left to the config of further training
        adapter = release.kept.settings
        language_model["adapter"] = {"rank": adapter.rank, "alpha": adapter.alpha, "targets": list(adapter.targets)}
    parts = {
        # the sizes in the file count, even if a config below this one sets others
        "vision_encoder": {
            "class_path": "lasagna.modules.SamVisionEncoder",
            "init_args": {**weights, "size": None},
        },
        "language_model": {"class_path": "lasagna.modules.LlavaV1", "init_args": language_model},
        "mask_head": {"class_path": "lasagna.modules.SamMaskHead", "init_args": weights},
    }
    return {
        "class_path": "lasagna.modules.Assistant",
        "init_args": {**parts, "prompt_format": format_of(release.tokenizer)},
    }


def _write_assistant(target: Path, release: Release, config: Config) -> None:
    save_tensors(release.projection, target / HEADS)
    names = sorted([*release.projection, *release.kept.weights])
    about: dict[str, Any] = {"form": FORM, WEIGHTS: names, ASSISTANT_CONFIG: config}
    if release.kept.pairs:
        about |= write_adapters(target, release.kept.weights, ADAPTED, release.kept.settings.config)
    write_about(target, about)
    write_json(target / REPORT, vars(release.tensor_report), indent=2)
    write_config(target, config)
