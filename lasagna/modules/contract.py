"""What parts state, held against what they give: shapes alone, so that nothing is waited for.

Notation: b: images; i: image tokens; d: hidden size; n: prompts; t: tokens; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder


def check_maps(encoder: VisionEncoder, maps: Sequence[Tensor], pixels: Tensor) -> None:
    """Check a vision encoder's maps, each float ``[b, c, h, w]``, against its ``spec``.

    Args:
        encoder: The encoder.
        maps: What it gave.
        pixels: For which images, float ``[b, 3, H, W]``.

    Raises:
        ConfigError: If there are more or fewer of them, or they have other sizes.
    """
    name, spec = f"vision_encoder: {type(encoder).__name__}", encoder.spec
    if isinstance(maps, Tensor):
        raise ConfigError(f"{name}: its forward gives one tensor; return a list of maps, also if there is one alone")
    height, width = spec.image_size
    stated = [
        (channels, height // stride, width // stride)
        for channels, stride in zip(spec.channels, spec.strides, strict=True)
    ]
    given = [tuple(features.shape[1:]) for features in maps]
    if given != stated:
        raise ConfigError(
            f"{name} states maps of {_listed(stated)}, strides {spec.strides} for images of {height} x {width} pixels, "
            f"and its forward gives {_listed(given)} for {_by(pixels.shape[2:])} pixels; let `spec` say what forward "
            "gives (channels, strides), and of the size that `image_processor` makes (image_size)"
        )


def check_vectors(model: LanguageModel, prompt_format: PromptFormat, vectors: Tensor) -> None:
    """Check a language model's image vectors against its prompts and its hidden size.

    Args:
        model: The language model.
        prompt_format: How prompts are written.
        vectors: What it gave for images, float ``[b, i, d]``, or wider where more enters than its layers' input.

    Raises:
        ConfigError: If they are not as many as a prompt's image tokens, or of a width that its words cannot have.
    """
    name = f"language_model: {type(model).__name__}"
    if vectors.ndim != 3:
        raise ConfigError(f"{name}: its embed_image gives {_by(vectors.shape)}; return vectors [b, i, d]")
    prompt, image = _prompt(model, prompt_format)
    if prompt.count(image) != vectors.shape[1]:
        raise ConfigError(
            f"{name} puts {prompt.count(image)} image tokens into a prompt, and its embed_image gives "
            f"{vectors.shape[1]} vectors an image; let its `text_processor` put as many in as there are vectors"
        )
    _check_width(model, name, [prompt, [token for token in prompt if token != image]], vectors[:1].detach())


def check_states(model: LanguageModel, states: Tensor) -> None:
    """Check that a language model's hidden states ``[..., d]`` are as wide as it states.

    Raises:
        ConfigError: If not.
    """
    if states.shape[-1] != model.hidden_size:
        raise ConfigError(
            f"language_model: {type(model).__name__} states hidden_size {model.hidden_size}, and its forward gives "
            f"states {states.shape[-1]} wide; let `hidden_size` say the width of the states after the final norm"
        )


def draw(head: MaskHead, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
    """Let a mask head draw, and check that it takes what it states and gives one mask for each prompt.

    Args:
        head: The mask head.
        features: The vision encoder's maps, each float ``[b, c, h, w]``.
        prompts: Float ``[n, prompt_dim]``.
        image_index: Which image each prompt is about, long ``[n]``.

    Returns:
        Mask logits, float ``[n, h', w']``.

    Raises:
        ConfigError: If shapes do not fit.
    """
    name = f"mask_head: {type(head).__name__}"
    try:
        masks: Tensor = head(features, prompts, image_index)
    except RuntimeError as error:
        if not _is_of_shapes(error):
            raise
        raise ConfigError(
            f"{name} states prompt_dim {head.prompt_dim}, and its forward does not take {_by(prompts.shape)} prompts "
            f"and maps of {_listed([features.shape[1:] for features in features])} ({str(error).splitlines()[0]}); let "
            "`prompt_dim` say the width of its prompts, and make its layers for the maps that `build` is told of"
        ) from error
    if masks.ndim != 3 or len(masks) != len(prompts):
        raise ConfigError(
            f"{name}: its forward gives {_by(masks.shape)} for {len(prompts)} prompts; return one mask for each, "
            "[n, h, w]"
        )
    return masks


def _is_of_shapes(error: RuntimeError) -> bool:
    # torch has no error of its own for shapes
    named = any(word in str(error) for word in ("shape", "size", "channels"))
    return named and not isinstance(error, torch.OutOfMemoryError)


def _prompt(model: LanguageModel, prompt_format: PromptFormat) -> tuple[list[int], int]:
    """Return the token ids of a prompt, and the image token's."""
    text = model.text_processor
    kind = next(iter(prompt_format.prompts))
    return text.prompt_ids(prompt_format.prompt(kind, ["a"])), text.answer_ids(prompt_format.image_token)[-1]


@torch.no_grad()
def _check_width(model: LanguageModel, name: str, rows: Sequence[Sequence[int]], vectors: Tensor) -> None:
    whole, words = (torch.tensor([row], device=vectors.device) for row in rows)
    hidden, width = model.hidden_size, vectors.shape[2]
    word = model.embed(words, vectors[:, :0]).shape[2]
    if word not in (hidden, width) or (word == width and width % hidden):
        raise ConfigError(
            f"{name} states hidden_size {hidden}, and its embed gives vectors {word} wide; let `hidden_size` say the "
            "width of its words"
        )
    if width < hidden:
        raise ConfigError(
            f"{name} states hidden_size {hidden}, and its embed_image gives vectors {width} wide; project them to the "
            "width of its words"
        )
    taken = model.embed(whole, vectors).shape[2]
    if taken != width:
        raise ConfigError(
            f"{name}: its embed_image gives vectors {width} wide, of which its embed takes {taken}; give vectors as "
            "wide as its words, or let embed widen these"
        )


def _listed(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(map(_by, shapes)) or "no map"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def check_image(image: object) -> None:
    """Check an image.

    Raises:
        RecordError: If it is no array uint8 ``[H, W, 3]`` with pixels.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} {list(image.shape)}"
    else:
        found = f"{type(image).__name__}"
    raise RecordError(
        f"image: expected an array uint8 [H, W, 3], got {found}; "
        'np.asarray(Image.open(path).convert("RGB")) makes one of a picture file'
    )


def check_queries(prompt_format: PromptFormat, queries: Sequence[Query], decoding: str) -> None:
    """Check what is asked about one image, and how it is to be decoded.

    Raises:
        QueryError: If a query cannot be asked, or there is no such decoding.
    """
    if decoding not in ("ordered", "free", "teacher_forced"):
        raise QueryError(f"decoding: expected 'ordered', 'free' or 'teacher_forced', got {decoding!r}")
    for query in queries:
        prompt_format.check(query.kind, query.names)
    if decoding == "teacher_forced":
        check_forced(queries)


def check_forced(queries: Sequence[Query]) -> None:
    """Check that the answer to each query can be given: that the one phrase is there.

    Raises:
        QueryError: If one is a list or a question.
    """
    others = sorted({query.kind for query in queries} - {"referring", "reasoning"})
    if others:
        raise QueryError(
            f"decoding: 'teacher_forced' gives the answer that a phrase is there, which suits no "
            f"{' and no '.join(others)} query; use 'ordered'"
        )
