"""The ``lasagna import`` command: a released model, or a training state, as an assistant that is ready to be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from lasagna.assistant_folder import ASSISTANT, FORM, HEADS, check_empty
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoint_folder import read_json, read_state
from lasagna.modules.llava.settings import find_tower, read_settings
from lasagna.modules.llava.text_preparation import IMAGE_END, IMAGE_START
from lasagna.modules.llava.tokenizer import read_tokenizer
from lasagna.modules.sam.weights import read_sam
from lasagna.prompt_formats import LISA, RELEASED
from lasagna.recipe import Recipe
from lasagna.released.account import Account, account
from lasagna.released.folder import write_release
from lasagna.released.merge import merged
from lasagna.released.names import PARTS, PROJECTION, VISUAL, unwrapped
from lasagna.trained import PREFIX, RECIPE

MERGED = "merged"
REPORT = "report.json"
CONFIG = "config.yaml"


def import_assistant(
    source: str,
    output: str,
    vision_tower: str | None = None,
    base: str | None = None,
    sam: str | None = None,
    lora_alpha: float = 16.0,
) -> None:
    """Make an assistant of a released LaSagnA or LISA model, of a LLaVA v1 model, or of a training state.

    The output folder names the source's files and copies none of them, unless adapters have to be merged. It holds a
    report on every tensor. Load it by ``lasagna.load(folder)``, ask it by ``lasagna predict --ckpt folder``, train it
    by ``python train.py --config folder/config.yaml``.

    Args:
        source: Folder of a release (one file or parts, .bin or safetensors) or of LLaVA v1; or the file of a training
            state, whose adapters are merged.
        output: A new or empty folder.
        vision_tower: Folder of the CLIP tower; by default the one that the model's config names.
        base: Folder of the LLaVA v1 model that a training state began from: its config and tokeniser.
        sam: Original checkpoint of SAM, for a source that holds none.
        lora_alpha: Alpha of a training state's adapters; the original's is 16.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit; nothing is written then.
    """
    place, target = Path(source), Path(output)
    check_empty(target)
    folder = _model_folder(place, base)
    release = read_release(place, folder, vision_tower, sam, lora_alpha)
    target.mkdir(parents=True, exist_ok=True)
    if place.is_file():
        folder = _write_merged(target / MERGED, release, folder)
    _write(target, release, _recipe(release, folder, sam))
    print("\n".join(release.account.lines()))
    print(f"wrote {target}: lasagna predict --ckpt {target} --image FILE --query ...")


def release_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a folder in the released layout as what ``lasagna.loading.read_checkpoint`` returns of a file.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit.
    """
    release = read_release(folder, folder)
    weights = {PREFIX + name: value for name, value in release.projection.items()}
    return {"state_dict": weights, RECIPE: _recipe(release, folder, None)}


@dataclass(frozen=True)
class Release:
    """A model in the released layout, accounted for.

    Args:
        state: Tensors by a release's names, adapters merged.
        settings: Content of ``config.json``.
        tower: Folder of the CLIP tower.
        account: What becomes of each tensor.
    """

    state: dict[str, Tensor]
    settings: dict[str, Any]
    tower: Path
    account: Account

    @property
    def projection(self) -> dict[str, Tensor]:
        """What leads from hidden states to prompts, by the assistant's names; no part brings it."""
        return {
            name.replace(PROJECTION, PARTS[PROJECTION]): value
            for name, value in self.state.items()
            if name.startswith(PROJECTION)
        }


def read_release(
    place: Path, folder: Path, vision_tower: str | None = None, sam: str | None = None, lora_alpha: float = 16.0
) -> Release:
    """Read a model and account for every tensor.

    Args:
        place: File or folder of the tensors.
        folder: Folder of the config and the tokeniser.
        vision_tower: Folder of the CLIP tower; None for the one that the config names.
        sam: Original checkpoint of SAM, if the model holds none.
        lora_alpha: Alpha of adapters, if there are any.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit.
    """
    settings = read_settings(folder)
    state = merged(unwrapped(read_state(place, "source")), lora_alpha)
    tower = find_tower(folder, vision_tower, settings)
    found = account({**state, **_visual(state, sam)}, settings, _tower_width(tower))
    found.check(str(place))
    return Release(state, settings, tower, found)


def _model_folder(place: Path, base: str | None) -> Path:
    if place.is_dir():
        return place
    if not place.is_file():
        raise CheckpointError(f"source: there is no file or folder {str(place)!r}; check the path")
    if base is None:
        raise CheckpointError(
            f"base: {str(place)!r} is a single file without config and tokeniser; give the folder of the LLaVA v1 "
            "model that training began from as base"
        )
    return Path(base)


def _visual(state: dict[str, Tensor], sam: str | None) -> dict[str, Tensor]:
    """Return SAM's tensors from its own file, where the source has none."""
    inside = any(name.startswith(VISUAL) for name in state)
    if inside and sam is not None:
        raise CheckpointError(
            f"sam: the source holds a SAM of its own, so that {sam!r} would not be read; leave it out"
        )
    if not inside and sam is None:
        raise CheckpointError("sam: the source holds no SAM; give an original checkpoint such as sam_vit_h_4b8939.pth")
    return {} if sam is None else {VISUAL + name: value for name, value in read_sam(sam).items()}


def _tower_width(tower: Path) -> int:
    config = read_json(tower / "config.json", "vision_tower")
    return int(config.get("vision_config", config)["hidden_size"])


def _write_merged(folder: Path, release: Release, base: Path) -> Path:
    markers = (*RELEASED.markers, RELEASED.present_token, RELEASED.absent_token)
    tokenizer = read_tokenizer(base).with_tokens((*markers, IMAGE_START, IMAGE_END))
    tower = str(release.tower.resolve())
    settings = {**release.settings, "mm_vision_tower": tower, "vision_tower": tower}
    state = {name: release.state[name] for name in release.account.used if name in release.state}
    write_release(folder, state, settings, tokenizer, base)
    return folder


def _recipe(release: Release, folder: Path, sam: str | None) -> Recipe:
    weights = {"weights_file": str(folder.resolve() if sam is None else Path(sam).resolve())}
    language_model = {"folder": str(folder.resolve()), "vision_tower": str(release.tower.resolve())}
    parts = {
        # the file's sizes count, whatever a config says that this one is put on top of
        "vision_encoder": {
            "class_path": "lasagna.modules.sam.SamVisionEncoder",
            "init_args": {**weights, "size": None},
        },
        "language_model": {"class_path": "lasagna.modules.llava.LlavaV1", "init_args": language_model},
        "mask_head": {"class_path": "lasagna.modules.sam.SamMaskHead", "init_args": weights},
    }
    return {"class_path": "lasagna.modules.Assistant", "init_args": {**parts, "prompt_format": _format(folder)}}


def _format(folder: Path) -> str:
    known = read_tokenizer(folder).added
    return "lisa" if LISA.present_token in known and RELEASED.present_token not in known else "released"


def _write(target: Path, release: Release, recipe: Recipe) -> None:
    heads = {name: value.clone().contiguous() for name, value in release.projection.items()}
    save_file(heads, target / HEADS, {"format": "pt"})
    _write_json(target / ASSISTANT, {"form": FORM, RECIPE: recipe})
    _write_json(target / REPORT, vars(release.account))
    config = {"model": {"init_args": {"assistant": recipe, "warm_start": str(target.resolve())}}}
    OmegaConf.save(OmegaConf.create(config), target / CONFIG)


def _write_json(file: Path, content: Any) -> None:  # noqa: ANN401
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
