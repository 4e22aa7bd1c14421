"""The assistant: the only place that knows vision encoder, language model and mask head together.

Notation: b: images; r: rows (dialogues or queries); t: tokens; n: masks; d: hidden size; i: image tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn

from lasagna.core.batch import IGNORE_LABEL, Batch, Query
from lasagna.core.config import Configurable
from lasagna.core.dialogue import Answer, AnsweredEntry, Kind
from lasagna.core.geometry import Geometry, restore_logits
from lasagna.core.overlaps import OverlapMap
from lasagna.core.processors import Processors
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.errors import QueryError
from lasagna.modules.base import EncodedImages, LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.contract import check_image, check_maps, check_queries, check_states, check_vectors, draw
from lasagna.modules.decoding.cache import row_positions
from lasagna.modules.decoding.chat import Chat
from lasagna.modules.decoding.decoder import DecodedAnswer, Decoder, Decoding, decode_queries
from lasagna.modules.decoding.long_lists import join_answers, split_query
from lasagna.modules.losses import AssistantOutput
from lasagna.modules.vision_encoders.feature_cache import FeatureCache
from lasagna.modules.vision_encoders.shared_tower import NO_MAPS, SharedTower

_PIXELS_HELD = 1 << 20


def mask_states(decoded: DecodedAnswer) -> Tensor:
    """Return the hidden states that prompt masks, one for each present entry in the order written, float ``[n, d]``."""
    places = [entry.decision for entry in decoded.entries if entry.present]
    return decoded.hidden[torch.tensor(places, dtype=torch.long, device=decoded.hidden.device)]


def make_answer(
    decoded: DecodedAnswer, logits: Tensor, geometry: Geometry, *, threshold: float, settle_overlaps: bool
) -> Answer:
    """Join what was decoded with its masks.

    Args:
        decoded: What was decoded.
        logits: Mask logits prompted by ``mask_states``, float ``[n, h', w']``.
        geometry: How the image was fitted.
        threshold: Probability from which a pixel belongs to a mask.
        settle_overlaps: Whether the answer says which mask lies on top at each pixel: the most probable one, compared
            in half precision, of equals the first.
    """
    if not decoded.entries:
        return Answer(decoded.text, (), decoded.faults)
    scores, top = decoded.scores.tolist(), OverlapMap(geometry.original) if settle_overlaps else None
    maps, entries = _probabilities(logits, geometry), []
    for rank, entry in enumerate(decoded.entries):
        score = scores[entry.decision]
        if not entry.present:
            entries.append(AnsweredEntry(entry.name, False, score))
            continue
        probability = next(maps)
        mask = probability.numpy() >= threshold
        confidence = float(probability.numpy()[mask].mean()) if mask.any() else 0.0
        entries.append(AnsweredEntry(entry.name, True, score, mask, confidence))
        if top is not None:
            top.add(rank, mask, probability.half().numpy())
    return Answer(decoded.text, tuple(entries), decoded.faults, top)


def _probabilities(logits: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Yield the probability of each pixel, float32 ``[H, W]``, mask by mask; only a few are held at a time."""
    largest = max(map(math.prod, (geometry.padded, geometry.original)))
    for some in logits.split(max(1, _PIXELS_HELD // largest)):
        yield from restore_logits(some, geometry).float().sigmoid().cpu()


def build_parts(
    encoder: VisionEncoder, language_model: LanguageModel, mask_head: MaskHead, tokens: Sequence[str]
) -> None:
    """Build the parts of an assistant and load their weights.

    Args:
        encoder: The vision encoder, whose maps the others are built for; a shared tower is the language model's.
        language_model: The language model.
        mask_head: The mask head.
        tokens: Present, absent and image token, then the prompt format's markers.

    Raises:
        ConfigError: If the parts do not fit one another.
        CheckpointError: If weights are missing or do not fit.
    """
    if isinstance(encoder, SharedTower):
        encoder.check(language_model)
        language_model.build(NO_MAPS, tokens)
        encoder.join(language_model)
    else:
        encoder.build()
        language_model.build(encoder.spec, tokens)
    mask_head.build(encoder.spec)


class Assistant(Configurable, LightningModule):
    """Looks at an image, reads a query and answers in words and masks (LaSagnA, arXiv 2404.08506).

    The mask prompt is the last hidden state, after the final norm, at the position that predicts the present token.

    Args:
        vision_encoder: Turns images into features.
        language_model: Reads the image and the query, and answers.
        mask_head: Draws a mask for each present entry.
        prompt_format: How queries and answers are written: the name of a format, or a format of your own.
        presence_threshold: Presence score from which ordered decoding says "present".
        mask_threshold: Probability from which a pixel belongs to a mask.
        presence_temperature: By what the logits of presence are divided before they become scores; ``lasagna
            calibrate`` finds it.
    """

    def __init__(
        self,
        vision_encoder: VisionEncoder,
        language_model: LanguageModel,
        mask_head: MaskHead,
        prompt_format: Literal["lisa", "paper", "released", "tiny"] | PromptFormat = "paper",
        presence_threshold: float = 0.5,
        mask_threshold: float = 0.5,
        presence_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.vision_encoder = vision_encoder
        self.language_model = language_model
        self.mask_head = mask_head
        self.format = PROMPT_FORMATS[prompt_format] if isinstance(prompt_format, str) else prompt_format
        self.presence_threshold = presence_threshold
        self.mask_threshold = mask_threshold
        self.presence_temperature = presence_temperature
        self.feature_cache: FeatureCache | None = None
        self._built = False
        self._agreed = False

    def configure_model(self) -> None:
        """Build the parts and load their weights; does nothing the second time."""
        if self._built:
            return
        build_parts(self.vision_encoder, self.language_model, self.mask_head, self.format.special_tokens)
        reserved = (*self.format.reserved_tokens, *self.language_model.text_processor.reserved_tokens)
        self.format = replace(self.format, reserved_tokens=reserved)
        hidden, prompt = self.language_model.hidden_size, self.mask_head.prompt_dim
        self.prompt_projection = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, prompt))
        self._built = True

    @property
    def processors(self) -> Processors:
        """What turns images and dialogues into this assistant's input; known once the model is configured."""
        return Processors(
            image=self.vision_encoder.image_processor,
            text=self.language_model.text_processor,
            prompt_format=self.format,
            tower=None if self._tower_is_shared else self.language_model.tower_processor,
        )

    def encode(self, pixels: Tensor, tower_pixels: Tensor | None = None) -> EncodedImages:
        """Encode images for all that is asked about them.

        Args:
            pixels: Input of the vision encoder, float ``[b, 3, H, W]``.
            tower_pixels: Input of the language model's own visual tower, if it has one that is not shared.

        Raises:
            ConfigError: If a part gives something else than it states; the first images show it.
        """
        cache = self.feature_cache
        pixels = pixels.to(_precision(self.vision_encoder))
        features = self.vision_encoder(pixels) if cache is None else cache(self.vision_encoder, pixels)
        if not self._agreed:
            check_maps(self.vision_encoder, features, pixels)
        encoded = self._read(features, tower_pixels)
        if not self._agreed:
            check_vectors(self.language_model, self.format, encoded.image_vectors)
            self._agreed = True
        return encoded

    def forward(self, batch: Batch) -> AssistantOutput:
        """Compute what the losses need: logits where supervised, and one mask for each present entry."""
        encoded = self.encode(batch.pixels, batch.tower_pixels)
        hidden = self._hidden(batch, encoded.image_vectors)
        labels = batch.labels[:, 1:]
        supervised = labels != IGNORE_LABEL
        prompts = self._prompts(hidden[batch.mask_rows, batch.mask_positions - 1])
        return AssistantOutput(
            token_logits=self.language_model.logits(hidden[:, :-1][supervised]),
            token_labels=labels[supervised],
            mask_logits=draw(self.mask_head, encoded.features, prompts, batch.image_index[batch.mask_rows]),
        )

    @torch.no_grad()
    def answer_batch(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        decoding: Decoding = "ordered",
        settle_overlaps: bool = False,
    ) -> list[Answer]:
        """Answer queries about encoded images.

        Args:
            encoded: The images.
            geometries: How each image was fitted.
            queries: What is asked; questions are always decoded freely.
            decoding: "ordered" decides on every name in the order asked, "free" lets the model write,
                "teacher_forced" gives it the answer that a phrase is there.
            settle_overlaps: Whether the answers say which mask lies on top at each pixel.

        Raises:
            QueryError: If a query cannot be asked or is longer than the language model takes.
        """
        parts = [split_query(query, self.decoder.fits) for query in queries]
        asked = [part for split in parts for part in split]
        answers = iter(self._answer_parts(encoded, geometries, asked, decoding, settle_overlaps))
        return [join_answers([next(answers) for _ in split]) for split in parts]

    @property
    def decoder(self) -> Decoder:
        """What decodes answers with the language model; known once the model is configured."""
        return Decoder(self.language_model, self.format, self.presence_threshold, self.presence_temperature)

    def chat(self, image: NDArray[np.uint8], remember: bool = False) -> Chat:
        """Begin a talk about one image, which is encoded once for all its rounds.

        Args:
            image: The image, uint8 ``[H, W, 3]``.
            remember: Whether the language model reads the earlier rounds before it answers the next one; for weights
                that were trained on talks of several rounds, such as those of LLaVA v1, LISA and LaSagnA.

        Raises:
            RecordError: If the image is none, or of another form.
            QueryError: If the prompt format has no further rounds to remember.
        """
        return Chat(self, image, remember)

    def encode_image(self, image: NDArray[np.uint8]) -> tuple[EncodedImages, Geometry]:
        """Prepare and encode one image for all that is asked about it.

        Args:
            image: The image, uint8 ``[H, W, 3]``.

        Returns:
            The encoded image, and how it was fitted.

        Raises:
            RecordError: If the image is none, or of another form.
        """
        check_image(image)
        self.configure_model()
        processors = self.processors
        tower = None if processors.tower is None else processors.tower.pixels(image)[None].to(self.device)
        with torch.no_grad():
            encoded = self.encode(processors.image.pixels(image)[None].to(self.device), tower)
        return encoded, processors.image.geometry((image.shape[0], image.shape[1]))

    def answers(
        self, image: NDArray[np.uint8], queries: Sequence[Query], decoding: Decoding = "ordered"
    ) -> list[Answer]:
        """Answer queries about one image, which is encoded once for all of them.

        Args:
            image: The image, uint8 ``[H, W, 3]``.
            queries: What is asked.
            decoding: "ordered" decides on every name in the order asked, "free" lets the model write,
                "teacher_forced" gives it the answer that a phrase is there.

        Raises:
            RecordError: If the image is none, or of another form.
            QueryError: If a query cannot be asked or is longer than the language model takes.
        """
        check_image(image)
        self.configure_model()
        check_queries(self.format, queries, decoding)
        encoded, geometry = self.encode_image(image)
        return self.answer_batch(encoded, [geometry], queries, decoding)

    def answer(
        self, image: NDArray[np.uint8], names: Sequence[str], kind: Kind = "categories", decoding: Decoding = "ordered"
    ) -> Answer:
        """Answer one query about one image.

        Args:
            image: The image, uint8 ``[H, W, 3]``.
            names: The categories of a complex query; the one phrase or question of another kind.
            kind: "categories", "referring", "reasoning", "reasoning_with_explanation" (decode it freely) or "question".
            decoding: "ordered", "free" or "teacher_forced", as in ``answers``.

        Raises:
            RecordError: If the image is none, or of another form.
            QueryError: If the query cannot be asked or is longer than the language model takes.
        """
        if isinstance(names, str):
            raise QueryError(f"names: expected a list of names such as {[names]}, got the text {names!r}")
        return self.answers(image, [Query(0, kind, tuple(names))], decoding)[0]

    @property
    def _tower_is_shared(self) -> bool:
        return isinstance(self.vision_encoder, SharedTower)

    def _answer_parts(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        decoding: Decoding,
        settle_overlaps: bool,
    ) -> list[Answer]:
        """Answer queries that fit into the language model."""
        if not queries:
            return []
        answered = decode_queries(self.decoder, encoded.image_vectors, queries, decoding)
        return self.draw(encoded, geometries, queries, answered, settle_overlaps)

    @torch.no_grad()
    def draw(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        answered: Sequence[DecodedAnswer],
        settle_overlaps: bool = False,
    ) -> list[Answer]:
        """Draw the masks of decoded answers.

        Args:
            encoded: The images.
            geometries: How each image was fitted.
            queries: What was asked.
            answered: What was decoded for each query.
            settle_overlaps: Whether the answers say which mask lies on top at each pixel.
        """
        masks = self._masks(encoded, queries, answered)
        return [
            make_answer(
                answered[rank],
                masks[rank],
                geometries[query.image],
                threshold=self.mask_threshold,
                settle_overlaps=settle_overlaps,
            )
            for rank, query in enumerate(queries)
        ]

    def _read(self, features: list[Tensor], tower_pixels: Tensor | None) -> EncodedImages:
        if self._tower_is_shared:
            vectors = self.language_model.embed_map(features[0])
            # a language model may hold its tower in another precision than the mask head's
            return EncodedImages([maps.to(_precision(self.mask_head)) for maps in features], vectors)
        visual = features if tower_pixels is None else [tower_pixels.to(_precision(self.language_model))]
        return EncodedImages(features, self.language_model.embed_image(visual))

    def _hidden(self, batch: Batch, image_vectors: Tensor) -> Tensor:
        places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
        mask = (places < batch.lengths[:, None]).long()
        embeddings = self.language_model.embed(batch.input_ids, image_vectors[batch.image_index])
        hidden: Tensor = self.language_model(embeddings, mask, row_positions(mask))
        return hidden

    def _prompts(self, states: Tensor) -> Tensor:
        check_states(self.language_model, states)
        # a language model may hold its weights in another precision than the rest
        prompts: Tensor = self.prompt_projection(states.to(_precision(self.prompt_projection)))
        return prompts

    def _masks(
        self, encoded: EncodedImages, queries: Sequence[Query], answered: Sequence[DecodedAnswer]
    ) -> list[Tensor]:
        """Draw the masks of all present entries together; return the logits of each row's."""
        states = [mask_states(decoded) for decoded in answered]
        counts = [len(state) for state in states]
        images = torch.tensor([query.image for query in queries]).repeat_interleave(torch.tensor(counts))
        prompts = self._prompts(torch.cat(states))
        logits = draw(self.mask_head, encoded.features, prompts, images.to(prompts.device))
        return list(logits.split(counts))


def _precision(part: nn.Module) -> torch.dtype:
    """Return the precision of a part's weights; those of a quantized one are no floats."""
    return next((value.dtype for value in part.parameters() if value.is_floating_point()), torch.float32)
