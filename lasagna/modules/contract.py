"""Checks of what enters and leaves the parts: outputs against what a part states, and the images and queries of users.

Outputs are checked by their shapes only, so that the device is never waited for.

Notation: b: images; i: image tokens; d: hidden size; n: prompts; t: tokens; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.prompt_formats import TINY
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.checkpoints.calibration import warn_of_decoding
from lasagna.modules.learned_kinds import warn_of_unlearned
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.presence_head import check_one_pass

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


@contextmanager
def enough_memory() -> Iterator[None]:
    """Explain why parts cannot be built, if it is for want of memory.

    Raises:
        ConfigError: If they do not fit into the memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"assistant: its parts do not fit into the memory ({reason[:200]}); choose smaller sizes or parts"
        ) from error


def check_maps(encoder: VisionEncoder, maps: Sequence[Tensor], pixels: Tensor) -> None:
    """Check a vision encoder's maps, each float ``[b, c, h, w]``, against its ``spec``.

    Args:
        encoder: The encoder.
        maps: Its output.
        pixels: Its input, float ``[b, 3, H, W]``.

    Raises:
        ConfigError: If the number or the sizes of the maps differ.
    """
    name, spec = f"vision_encoder: {type(encoder).__name__}", encoder.spec
    if isinstance(maps, Tensor):
        raise ConfigError(f"{name}: its forward returns one tensor; return a list of maps, even of a single one")
    height, width = spec.image_size
    stated = [
        (channels, int(height // stride), int(width // stride))
        for channels, stride in zip(spec.channels, spec.strides, strict=True)
    ]
    returned = [tuple(features.shape[1:]) for features in maps]
    if returned != stated:
        raise ConfigError(
            f"{name} states maps of {_sizes(stated)}, strides {spec.strides} for images of {height} x {width} pixels, "
            f"but its forward returns {_sizes(returned)} for {_size(pixels.shape[2:])} pixels; make `spec` match what "
            "forward returns (channels, strides) and the size that `image_processor` produces (image_size)"
        )


@torch.no_grad()
def check_vectors(model: LanguageModel, prompt_format: PromptFormat, vectors: Tensor) -> None:
    """Check a language model's image vectors against its prompts and its hidden size.

    Args:
        model: The language model.
        prompt_format: How prompts are written.
        vectors: Its image vectors, float ``[b, i, d]``, or wider where more enters than the input of its layers.

    Raises:
        ConfigError: If their number is not that of a prompt's image tokens, or their width does not fit its words.
    """
    name, text = f"language_model: {type(model).__name__}", model.text_processor
    if vectors.ndim != 3:
        raise ConfigError(f"{name}: its embed_image returns {_size(vectors.shape)}; return vectors [b, i, d]")
    prompt = text.prompt_ids(prompt_format.prompt(next(iter(prompt_format.prompts)), ["a"]))
    image = text.answer_ids(prompt_format.image_token)[-1]
    if prompt.count(image) != vectors.shape[1]:
        raise ConfigError(
            f"{name} puts {prompt.count(image)} image tokens into a prompt, but its embed_image returns "
            f"{vectors.shape[1]} vectors per image; make its `text_processor` put in one token for each vector"
        )
    hidden, width = model.hidden_size, vectors.shape[2]
    words = torch.tensor([[token for token in prompt if token != image]], device=vectors.device)
    word = model.embed(words, vectors[:1, :0]).shape[2]
    if word not in (hidden, width) or (word == width and width % hidden):
        raise ConfigError(
            f"{name} states hidden_size {hidden}, but its embed returns vectors {word} wide; set `hidden_size` to the "
            "width of its words"
        )
    if width < hidden:
        raise ConfigError(
            f"{name} states hidden_size {hidden}, but its embed_image returns vectors {width} wide; project them to "
            "the width of its words"
        )
    embedded = model.embed(torch.tensor([prompt], device=vectors.device), vectors[:1]).shape[2]
    if embedded != width:
        raise ConfigError(
            f"{name}: its embed_image returns vectors {width} wide, but its embed uses {embedded} of them; return "
            "vectors as wide as its words, or make embed widen the words"
        )


def check_states(model: LanguageModel, states: Tensor) -> None:
    """Check that a language model's hidden states ``[..., d]`` are as wide as it states.

    Raises:
        ConfigError: If they are not.
    """
    if states.shape[-1] != model.hidden_size:
        raise ConfigError(
            f"language_model: {type(model).__name__} states hidden_size {model.hidden_size}, but its forward returns "
            f"states {states.shape[-1]} wide; set `hidden_size` to the width of the states after the final norm"
        )


def check_presence(model: LanguageModel, prompt_format: PromptFormat) -> None:
    """Check that present and absent token have different logits, or can learn them.

    Args:
        model: The language model, with what is not trained frozen.
        prompt_format: The format that names the tokens.

    Raises:
        ConfigError: If their logits are equal for any hidden state, and no parameter of theirs is trained.
    """
    present, absent = prompt_format.special_tokens[:2]
    ids = decision_ids(model, prompt_format)
    tokens = torch.tensor([ids], device=model.device)
    words = model.embed(tokens, torch.empty(1, 0, model.hidden_size, device=model.device))
    logits = model.logits(torch.linspace(-1, 1, model.hidden_size).to(words)[None])[0, list(ids)]
    if not logits.requires_grad and bool(logits[0] == logits[1]):
        raise ConfigError(
            f"language_model: {type(model).__name__} has equal rows for {present!r} and {absent!r} in its output "
            f"layer, which is not trained, so that every score of presence would be 0.5 for ever; {_ways_apart(model)}"
        )


def _ways_apart(model: LanguageModel) -> str:
    """Return how a class of language models can tell present and absent token apart, by settings that it has."""
    settings = inspect.signature(type(model)).parameters
    trained = ["adapter.embeddings: true"] if "adapter" in settings else []
    ways = f"train the layer ({', '.join([*trained, 'model.trainable'])})"
    return f"{ways}, or let the rows start apart (new_tokens: random)" if "new_tokens" in settings else ways


def decision_ids(model: LanguageModel, prompt_format: PromptFormat) -> tuple[int, int]:
    """Return the ids of present and absent token.

    Args:
        model: The language model.
        prompt_format: The format that names the tokens.
    """
    present, absent = prompt_format.special_tokens[:2]
    answer_ids = model.text_processor.answer_ids
    return answer_ids(present)[0], answer_ids(absent)[0]


def check_wording(model: LanguageModel, prompt_format: PromptFormat) -> None:
    """Warn if a model that was trained on sentences is about to be trained on the prompts for tiny models.

    Args:
        model: The language model.
        prompt_format: How prompts are written.
    """
    if model.reads_sentences and prompt_format.prompts == TINY.prompts:
        prompt = prompt_format.prompt(CATEGORY_LIST, ["sky", "dog"])
        warnings.warn(
            f"prompt_format: {type(model).__name__} was pretrained on sentences, but the format `tiny` asks it "
            f"{prompt.replace(prompt_format.image_token, '').strip()!r}; set `prompt_format: paper`, or `released` for "
            "LaSagnA's weights (--model.assistant.prompt_format paper)",
            stacklevel=2,
        )


def predict_masks(head: MaskHead, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:
    """Run a mask head, and check that it accepts what it states and returns masks for each prompt.

    Args:
        head: The mask head.
        features: The vision encoder's maps, each float ``[b, c, h, w]``.
        prompts: Float ``[n, prompt_dim]``.
        image_index: Index of each prompt's image, long ``[n]``.

    Returns:
        The masks; one for each prompt, with the score 1, if the head returns a tensor.

    Raises:
        ConfigError: If shapes do not fit.
    """
    name = f"mask_head: {type(head).__name__}"
    try:
        masks: Tensor | MaskPrediction = head(features, prompts, image_index)
    except RuntimeError as error:
        # torch has no error class of its own for shapes
        about_shapes = any(word in str(error) for word in ("shape", "size", "channels"))
        if not about_shapes or isinstance(error, torch.OutOfMemoryError):
            raise
        raise ConfigError(
            f"{name} states prompt_dim {head.prompt_dim}, but its forward does not accept {_size(prompts.shape)} "
            f"prompts and maps of {_sizes([level.shape[1:] for level in features])} ({str(error).splitlines()[0]}); "
            "set `prompt_dim` to the width of its prompts, and make its layers for the maps that `build` is given"
        ) from error
    if isinstance(masks, MaskPrediction):
        if masks.logits.ndim != 4 or len(masks.logits) != len(prompts) or masks.scores.shape != masks.logits.shape[:2]:
            shapes = f"{_size(masks.logits.shape)} logits and {_size(masks.scores.shape)} scores"
            raise ConfigError(
                f"{name}: its forward returns {shapes} for {len(prompts)} prompts; return logits [n, k, h, w] and "
                "scores [n, k]"
            )
        return masks
    if masks.ndim != 3 or len(masks) != len(prompts):
        raise ConfigError(
            f"{name}: its forward returns {_size(masks.shape)} for {len(prompts)} prompts; return one mask for each, "
            "[n, h, w], or a MaskPrediction"
        )
    return MaskPrediction.single(masks)


def check_image(image: object) -> None:
    """Check an image.

    Raises:
        RecordError: If it is not an array uint8 ``[H, W, 3]`` with pixels.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} {list(image.shape)}"
    else:
        found = type(image).__name__
    raise RecordError(
        f"image: expected an array uint8 [H, W, 3], got {found}; "
        'np.asarray(Image.open(path).convert("RGB")) reads one from an image file'
    )


def names_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a query.

    Raises:
        QueryError: If they are one text.
    """
    if isinstance(names, str):
        raise QueryError(f"names: expected a list of names such as {[names]}, got the text {names!r}")
    return tuple(names)


def check_queries(assistant: Assistant, queries: Sequence[Query], decoding: str) -> None:
    """Check queries, and how they are to be decoded, before any image is encoded.

    Queries of a batch were checked when its samples were prepared; for these, ``check_decoding`` is enough. A warning
    names kinds that the assistant's training did not have, as far as that is known.

    Raises:
        QueryError: If a query cannot be asked or decoded in this way.
    """
    for query in queries:
        assistant.format.check(query.kind, query.names)
    check_decoding(assistant, queries, decoding)
    warn_of_unlearned(assistant, [query.kind for query in queries])


def check_decoding(assistant: Assistant, queries: Sequence[Query], decoding: str) -> None:
    """Check that queries can be decoded in a certain way; warn if the calibration fits another one.

    Raises:
        QueryError: If there is no such way, answers to lists or questions would be teacher-forced, or names would be
            decided on in one pass without a presence head, or together with the number of their tokens.
    """
    if decoding not in get_args(Decoding):
        raise QueryError(f"decoding: expected {', '.join(map(repr, get_args(Decoding)))}, got {decoding!r}")
    if decoding == "one_pass":
        check_one_pass(assistant.presence_head, assistant.format, [query.kind for query in queries])
    if not all(query.kind.is_free for query in queries):
        warn_of_decoding(assistant.calibrated_decoding, decoding)
    others = sorted({query.kind for query in queries if query.kind.words or not query.kind.is_phrase})
    if decoding == "teacher_forced" and others:
        raise QueryError(
            "decoding: 'teacher_forced' gives the answer that a phrase is present, and there is no such answer to a "
            f"query of kind {' or '.join(others)}; use 'ordered'"
        )


def _sizes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(map(_size, shapes)) or "no map"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
