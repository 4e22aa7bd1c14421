"""The ``lasagna import`` command: a released model, or a training state, as an assistant that is ready to be used."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from lasagna.core.config import Config
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.folder import (
    ASSISTANT,
    FORM,
    HEADS,
    WEIGHTS,
    check_empty,
    write_adapters,
    write_config,
    write_tensors,
)
from lasagna.modules.checkpoints.released.adapters import PROJECTION, VISUAL
from lasagna.modules.checkpoints.released.folder import write_release
from lasagna.modules.checkpoints.released.release import KeptOrMerged, Release, read_release
from lasagna.modules.checkpoints.released.reload import format_of
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, PREFIX

MODEL = {"merged": "merged", "kept": "base"}
"""Folder of the model that is written for a training state."""

ADAPTED = "language_model.llama."
"""What an assistant's names of the model that carries the adapters begin with."""

REPORT = "report.json"


def import_assistant(
    source: str,
    output: str,
    vision_tower: str | None = None,
    base: str | None = None,
    sam: str | None = None,
    lora_alpha: float = 16.0,
    adapters: KeptOrMerged = "merged",
) -> None:
    """Make an assistant of a released LaSagnA or LISA model, of a LLaVA v1 model, or of a training state.

    The output folder names the source's files and copies none of them, unless adapters have to be merged. It holds a
    report on every tensor. Load it by ``lasagna.load(folder)``, ask it by ``lasagna predict --ckpt folder``, train it
    by ``python train.py --config folder/config.yaml``.

    Args:
        source: Folder of a release (one file or parts, .bin or safetensors) or of LLaVA v1; or a training state, a file
            or a folder without config.
        output: A new or empty folder.
        vision_tower: Folder of the CLIP tower; by default the one that the model's config names.
        base: Folder of the LLaVA v1 model that a training state began from: its config and tokeniser.
        sam: Original checkpoint of SAM, for a source that holds none.
        lora_alpha: Alpha of a training state's adapters; the original's is 16.
        adapters: Whether a training state's adapters are "merged" into the layers they sit on, so that training on
            begins with new ones, or "kept", so that it goes on with them.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit; nothing is written then.
    """
    place, target = Path(source), Path(output)
    check_empty(target)
    folder = _model_folder(place, base)
    release = read_release(place, folder, vision_tower, sam, lora_alpha, adapters)
    if folder != place:
        folder = _write_model(target / MODEL[adapters], release, folder)
    target.mkdir(parents=True, exist_ok=True)
    _write(target, release, _assistant_config(release, folder, sam))
    print("\n".join(release.tensor_report.lines()))
    print(f"wrote {target}: lasagna predict --ckpt {target} --image FILE --query ...")


def release_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a folder in the released layout, in the form that ``read_checkpoint`` returns of a file.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit.
    """
    release = read_release(folder, folder)
    # the language model warns of all others itself
    surplus = [name for name in release.tensor_report.unknown if name.startswith((VISUAL, PROJECTION))]
    if surplus:
        warnings.warn(f"source: {str(folder)!r} holds tensors that nothing reads: {', '.join(surplus)}", stacklevel=2)
    weights = {PREFIX + name: value for name, value in release.projection.items()}
    return {"state_dict": weights, ASSISTANT_CONFIG: _assistant_config(release, folder, None)}


def _model_folder(place: Path, base: str | None) -> Path:
    if (place / "config.json").is_file():
        if base is not None:
            raise CheckpointError(
                f"base: {str(place)!r} has a config and a tokeniser of its own, so that {base!r} would not be read; "
                "leave it out"
            )
        return place
    if not place.exists():
        raise CheckpointError(f"source: there is no file or folder {str(place)!r}; check the path")
    if base is None:
        kind = "folder" if place.is_dir() else "single file"
        raise CheckpointError(
            f"base: {str(place)!r} is a {kind} without config and tokeniser; give the folder of the LLaVA v1 "
            "model that training began from as base"
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
        # the dropout is left to the config that trains on
        own = release.kept.settings
        language_model["adapter"] = {"rank": own.rank, "alpha": own.alpha, "targets": list(own.targets)}
    parts = {
        # the file's sizes count, whatever a config says that this one is put on top of
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


def _write(target: Path, release: Release, recipe: Config) -> None:
    write_tensors(target / HEADS, release.projection)
    names = sorted([*release.projection, *release.kept.weights])
    about: dict[str, Any] = {"form": FORM, WEIGHTS: names, ASSISTANT_CONFIG: recipe}
    if release.kept.pairs:
        about |= write_adapters(target, release.kept.weights, ADAPTED, release.kept.settings.config)
    _write_json(target / ASSISTANT, about)
    _write_json(target / REPORT, vars(release.tensor_report))
    write_config(target, recipe)


def _write_json(file: Path, content: Any) -> None:  # noqa: ANN401
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
