"""Reading the ``config.json`` of a LLaVA v1 checkpoint, and finding its visual tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import LlamaConfig

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_json, read_state

_NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_FIRST = "model.layers.0."
_LLAMA = (
    *_NEEDED,
    "attention_bias",
    "hidden_act",
    "initializer_range",
    "max_position_embeddings",
    "mlp_bias",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's ``config.json``.

    Args:
        folder: The checkpoint's folder.

    Raises:
        CheckpointError: If the folder or file is missing, belongs to another kind of model, or lacks a size that cannot
            be inferred from the tensors.
    """
    if not folder.is_dir():
        raise CheckpointError(f"folder: there is no folder {str(folder)!r}; give that of a LLaVA v1 or LaSagnA release")
    settings = read_json(folder / "config.json")
    if _missing(settings):
        settings |= {name: size for name, size in sizes_of(read_state(folder)).items() if settings.get(name) is None}
    missing = _missing(settings)
    if missing:
        raise CheckpointError(
            f"folder: {folder / 'config.json'} has no {', '.join(missing)}, which the tensors do not "
            "reveal either; take the config.json of LLaVA v1, which has all sizes"
        )
    projector, feature = settings.get("mm_projector_type", "linear"), settings.get("mm_vision_select_feature", "patch")
    if projector != "linear" or feature != "patch":
        raise CheckpointError(
            f"folder: {str(folder)!r} has mm_projector_type {projector!r} and mm_vision_select_feature {feature!r}; "
            "LLaVA v1 has 'linear' and 'patch'; later versions are not supported"
        )
    return settings


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Infer the sizes of a Llama from its tensors; the number of heads from the length of the rotary frequencies.

    Args:
        state: Tensors by the names of a release.

    Returns:
        Name of a size to its value, for those that can be inferred.
    """
    words, up = state.get("model.embed_tokens.weight"), state.get(f"{_FIRST}mlp.up_proj.weight")
    keys, rotary = state.get(f"{_FIRST}self_attn.k_proj.weight"), state.get(f"{_FIRST}self_attn.rotary_emb.inv_freq")
    layers = {name.split(".")[2] for name in state if name.startswith("model.layers.")}
    sizes = {"num_hidden_layers": len(layers)} if layers else {}
    sizes |= {} if words is None else {"hidden_size": words.shape[1]}
    sizes |= {} if up is None else {"intermediate_size": len(up)}
    if words is not None and keys is not None and rotary is not None:
        head = 2 * len(rotary)
        sizes |= {"num_attention_heads": words.shape[1] // head, "num_key_value_heads": len(keys) // head}
    return sizes


def _missing(settings: Mapping[str, Any]) -> list[str]:
    return [name for name in _NEEDED if not isinstance(settings.get(name), int)]


def llama_config(settings: Mapping[str, Any], vocabulary: int) -> LlamaConfig:
    """Return the config of the Llama.

    Args:
        settings: The checkpoint's settings.
        vocabulary: Rows of the word embedding.
    """
    given = {name: settings[name] for name in _LLAMA if settings.get(name) is not None}
    return LlamaConfig(vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2, **given)


def find_tower(folder: Path, vision_tower: str | None, settings: Mapping[str, Any]) -> Path:
    """Find the folder of the visual tower, which is not part of a release.

    Args:
        folder: The checkpoint's folder.
        vision_tower: The tower's folder, or None for the one that the checkpoint's settings name.
        settings: The checkpoint's settings.

    Returns:
        The first that exists of: in the checkpoint's folder, beside it, in the working directory.

    Raises:
        CheckpointError: If none has a ``config.json``.
    """
    name = vision_tower or settings.get("mm_vision_tower") or settings.get("vision_tower")
    tried = [folder / name, folder.resolve().parent / name, Path(name)] if name else []
    for place in tried:
        if (place / "config.json").is_file():
            return place
    shown = ", ".join(str(place) for place in dict.fromkeys(tried))
    raise CheckpointError(
        f"vision_tower: there is no CLIP folder for {name!r} (looked for config.json in: {shown or 'nowhere'}); "
        "download the tower that the checkpoint's config.json names, and give its folder as vision_tower"
    )
