"""The assistant: the only module that knows vision encoder, language model and mask head together.

Notation: b: images; r: rows (dialogues or queries); t: tokens; n: masks; d: hidden size; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

from lasagna.core.answer import Answer
from lasagna.core.batch import Batch, Query
from lasagna.core.config import Configurable
from lasagna.core.dialogue import Decoding
from lasagna.core.geometry import Geometry
from lasagna.core.image_places import LAST
from lasagna.core.processors import Processors
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.core.query_kind import CATEGORY_LIST, QueryKind, kind_of
from lasagna.core.thresholds import with_thresholds
from lasagna.core.tiles import Tiles
from lasagna.core.visual_prompt import VisualPrompt
from lasagna.errors import ConfigError, check_counts
from lasagna.modules import contract
from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.building import build_parts
from lasagna.modules.decoding.answers import answer_maker
from lasagna.modules.decoding.cache import ChatHistory, row_positions
from lasagna.modules.decoding.chat import Chat
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.long_lists import join_answers, split_query
from lasagna.modules.decoding.tiles import answer_tiles
from lasagna.modules.decoding.visual_prompts import Asked, check_visual, with_visual
from lasagna.modules.encoded_images import EncodedImages
from lasagna.modules.losses import AssistantOutput
from lasagna.modules.map_comparison import MapComparison
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.presence_head import PresenceHead, predict_presence
from lasagna.modules.shown_images import Images, image_count, image_size, image_vectors, join_images, prepare_images
from lasagna.modules.state import evaluation_mode, in_precision_of, precision_of
from lasagna.modules.vision_encoders.feature_cache import FeatureCache
from lasagna.modules.vision_encoders.shared_tower import SharedTower


class Assistant(Configurable, LightningModule):
    """Looks at an image, reads a query and answers in words and masks (LaSagnA, arXiv 2404.08506).

    The mask prompt is the last hidden state, after the final norm, at the position that predicts the present token.
    Answers are always given in evaluation mode.

    Args:
        vision_encoder: Turns images into features.
        language_model: Reads the image and the query, and answers.
        mask_head: Predicts a mask for each present entry.
        prompt_format: How queries and answers are written: the name of a format, or a format of your own; "chat" asks
            in the language model's own chat template.
        presence_threshold: Presence score from which ordered decoding says "present".
        mask_threshold: Probability from which a pixel belongs to a mask.
        object_threshold: Score from which one of several masks of a name is an object, or has another token.
        object_overlap: Share of the smaller of two masks of a name that lies in the other, from which the one with the
            lower score is left out as a repetition; above 1 for none.
        presence_temperature: Divisor of the presence logits before they become scores; found by ``lasagna calibrate``.
        empty_masks: What a name is that the language model calls present and whose mask has no pixel: "present", with
            an empty mask, or "absent"; its score and the text of the answer stay the language model's.
        max_new_tokens: Most tokens of a free answer; None for the number that ``Decoder.free`` states.
        longest_list: Most names that are asked at once, such as those of the longest lists in training; longer lists
            are asked in parts, except in a conversation that is remembered. None for as many as the language model
            takes.
        comparison: Puts into an image's maps how it differs from those shown with it; None to leave them as they are.
        presence_head: Decides on all names where the language model reads them, for the decoding "one_pass"; or None.

    Attributes:
        learned_kinds: The kinds of query that its trainings had, by name; empty before the first.
        calibrated_decoding: The decoding whose scores its temperature was fitted to; None if it is not calibrated.

    Raises:
        ConfigError: If ``empty_masks`` is neither, or ``max_new_tokens`` or ``longest_list`` is smaller than 1.
    """

    prompt_projection: nn.Sequential

    def __init__(
        self,
        vision_encoder: VisionEncoder,
        language_model: LanguageModel,
        mask_head: MaskHead,
        prompt_format: Literal["chat", "lisa", "paper", "released", "tiny"] | PromptFormat = "paper",
        presence_threshold: float = 0.5,
        mask_threshold: float = 0.5,
        presence_temperature: float = 1.0,
        empty_masks: Literal["present", "absent"] = "present",
        max_new_tokens: int | None = None,
        object_threshold: float = 0.5,
        object_overlap: float = 0.6,
        comparison: MapComparison | None = None,
        presence_head: PresenceHead | None = None,
        longest_list: int | None = None,
    ) -> None:
        super().__init__()
        check_counts(max_new_tokens=max_new_tokens, longest_list=longest_list)
        if empty_masks not in ("present", "absent"):
            raise ConfigError(f"empty_masks: expected 'present' or 'absent', got {empty_masks!r}")
        self.vision_encoder = vision_encoder
        self.language_model = language_model
        self.mask_head = mask_head
        self.format = PROMPT_FORMATS[prompt_format] if isinstance(prompt_format, str) else prompt_format
        self.presence_threshold = presence_threshold
        self.mask_threshold = mask_threshold
        self.presence_temperature = presence_temperature
        self.empty_masks = empty_masks
        self.max_new_tokens = max_new_tokens
        self.longest_list = longest_list
        self.object_threshold = object_threshold
        self.object_overlap = object_overlap
        self.comparison = comparison
        self.presence_head = presence_head
        self.feature_cache: FeatureCache | None = None
        self.learned_kinds: dict[str, QueryKind] = {}
        self.calibrated_decoding: str | None = None
        self._shared = isinstance(vision_encoder, SharedTower)
        self._built = self._checked = False

    def configure_model(self) -> None:
        """Build the parts and load their weights; does nothing the second time.

        Raises:
            ConfigError: If the parts do not fit one another, or not into the memory.
            CheckpointError: If weights are missing or do not fit.
        """
        if not self._built:
            with contract.enough_memory():
                build_parts(self)
            self._built = True

    @property
    def processors(self) -> Processors:
        """What turns images and dialogues into this assistant's input; known once the model is configured."""
        return Processors(
            image=self.vision_encoder.image_processor,
            text=self.language_model.text_processor,
            prompt_format=self.format,
            tower=None if self._shared else self.language_model.tower_processor,
        )

    @property
    def decoder(self) -> Decoder:
        """What decodes answers with the language model; known once the model is configured."""
        cuts = (self.presence_threshold, self.presence_temperature, self.max_new_tokens, self.object_threshold)
        return Decoder(self.language_model, self.format, *cuts, self.presence_head, self.longest_list)

    def encode(self, pixels: Tensor, tower_pixels: Tensor | None = None, shown: Tensor | None = None) -> EncodedImages:
        """Encode images, once for everything that is asked about them.

        Args:
            pixels: Input of the vision encoder, float ``[b, 3, H, W]``.
            tower_pixels: Input of the language model's own visual tower, if it has one that is not shared.
            shown: Positions of the images that are shown together, as of ``Batch``; None if each is shown alone.

        Returns:
            The encoded images.

        Raises:
            ConfigError: If a part's output does not match what it states; checked for the first images only.
        """
        pixels = pixels.to(precision_of(self.vision_encoder))
        cache = self.feature_cache
        features = self.vision_encoder(pixels) if cache is None else cache(self.vision_encoder, pixels)
        if not self._checked:
            contract.check_maps(self.vision_encoder, features, pixels)
        features = features if self.comparison is None or shown is None else self.comparison(features, shown)
        vectors = image_vectors(self.language_model, features, tower_pixels, self._shared)
        maker = self.language_model if self._shared else self.vision_encoder
        features = in_precision_of(self.mask_head, features, maker)
        if not self._checked:
            contract.check_vectors(self.language_model, self.format, vectors)
            self._checked = True
        return join_images(features, vectors, shown)

    def forward(self, batch: Batch) -> AssistantOutput:
        """Compute what the losses need: logits at supervised positions, and one mask for each present entry."""
        encoded = self.encode(batch.pixels, batch.tower_pixels, batch.shown)
        mask, supervised = batch.attention_mask, batch.supervised
        embeddings = self.language_model.embed(batch.input_ids, encoded.image_vectors[batch.image_index])
        hidden: Tensor = self.language_model(embeddings, mask, row_positions(mask))
        states = hidden[batch.mask_rows, batch.mask_positions - 1]
        masks = self._predict_masks(encoded, states, batch.image_index[batch.mask_rows])
        head, text = self.presence_head, self.language_model.text_processor
        return AssistantOutput(
            mask_logits=masks.union,
            masks=masks,
            token_logits=self.language_model.logits(hidden[:, :-1][supervised]),
            token_labels=batch.labels[:, 1:][supervised],
            decision_ids=contract.decision_ids(self.language_model, self.format),
            presence=None if head is None else predict_presence(head, hidden, batch, text, self.format),
        )

    def answer(
        self,
        image: Images,
        names: Sequence[str],
        kind: str = CATEGORY_LIST,
        decoding: Decoding = "ordered",
        *,
        probabilities: bool = False,
        visual: VisualPrompt | None = None,
        masks_on: int = LAST,
        tiles: Tiles | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> Answer:
        """Answer one query about one image, or about several that are shown together.

        Args:
            image: The image, uint8 ``[H, W, 3]``, or several in order.
            names: The categories to look for; a single phrase or question for other kinds.
            kind: A kind of query, or the name of one of ``KINDS`` or ``learned_kinds``, such as "categories".
            decoding: "ordered", "free", "one_pass" or "teacher_forced", as in ``answer_batch``.
            probabilities: Whether present entries get the probability of each pixel, as saliency scores need it.
            visual: Points, boxes or an earlier mask that say where the one name is, for mask heads that take them.
            masks_on: Position of the image that masks belong to.
            tiles: How a large picture is divided into tiles that are answered one by one, and whose masks are joined.
            thresholds: Name to the score from which it is present; ``presence_threshold`` holds for all others.

        Returns:
            The answer; with ``tiles``, a ``TiledAnswer``.

        Raises:
            RecordError: If the image is not an array of the expected form.
            QueryError: If the query cannot be asked or is longer than the language model takes.
        """
        query = Query(0, kind_of(kind, self.learned_kinds, self.format.prompts), contract.names_of(names), visual)
        query = with_thresholds([query], thresholds, decoding)[0]
        return self.answers(image, [query], decoding, probabilities=probabilities, masks_on=masks_on, tiles=tiles)[0]

    def answers(
        self,
        image: Images,
        queries: Sequence[Query],
        decoding: Decoding = "ordered",
        *,
        probabilities: bool = False,
        masks_on: int = LAST,
        tiles: Tiles | None = None,
    ) -> list[Answer]:
        """Answer queries about one image or several, encoded once for all of them.

        Args:
            image: The image, uint8 ``[H, W, 3]``, or several in order.
            queries: What is asked.
            decoding: "ordered", "free", "one_pass" or "teacher_forced", as in ``answer_batch``.
            probabilities: Whether present entries get the probability of each pixel.
            masks_on: Position of the image that masks belong to.
            tiles: How a large picture is divided, as in ``answer``.

        Returns:
            One answer for each query.

        Raises:
            RecordError: If the image is not an array of the expected form.
            QueryError: If a query cannot be asked or is longer than the language model takes.
        """
        if tiles is not None:
            return answer_tiles(self, image, queries, tiles, decoding, probabilities=probabilities)
        self.configure_model()
        contract.check_queries(self, queries, decoding)
        queries = [replace(query, images=image_count(image)) for query in queries]
        check_visual(self.mask_head, queries, [image_size(image, masks_on)])
        encoded, geometry = self.encode_image(image, masks_on)
        return self.answer_batch(encoded, [geometry], queries, decoding, probabilities=probabilities)

    def chat(self, image: Images, remember: bool = False, masks_on: int = LAST) -> Chat:
        """Begin a conversation about one image, or several shown together, encoded once for all turns.

        Args:
            image: The image, uint8 ``[H, W, 3]``, or several in order.
            remember: Whether the language model reads the previous turns before it answers the next one; for weights
                that were trained on conversations of several turns, such as those of LLaVA v1, LISA and LaSagnA.
            masks_on: Position of the image that masks belong to.

        Returns:
            The conversation.

        Raises:
            RecordError: If the image is not an array of the expected form.
            QueryError: If ``remember`` is set and the prompt format has no further turns.
        """
        return Chat(self, image, remember, masks_on)

    def encode_image(self, image: Images, masks_on: int = LAST) -> tuple[EncodedImages, Geometry]:
        """Prepare and encode one image, or several shown together, once for everything that is asked about them.

        Args:
            image: The image, uint8 ``[H, W, 3]``, or several in order.
            masks_on: Position of the image that masks belong to.

        Returns:
            The encoded image, and how it was fitted.

        Raises:
            RecordError: If the image is not an array of the expected form.
        """
        self.configure_model()
        prepared, geometry = prepare_images(self.processors, image, masks_on, self.device)
        with torch.no_grad(), self.answering():
            return self.encode(*prepared), geometry

    @torch.no_grad()
    def answer_batch(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        decoding: Decoding = "ordered",
        *,
        probabilities: bool = False,
        history: ChatHistory | None = None,
    ) -> list[Answer]:
        """Answer checked queries about encoded images; lists that are too long are asked in parts.

        Args:
            encoded: The images.
            geometries: How each image was fitted.
            queries: What is asked, checked by ``check_queries`` or when the samples were prepared; questions are always
                decoded freely.
            decoding: "ordered" decides on each name in the order asked, "free" lets the model write, "one_pass" takes
                the decisions of the presence head, "teacher_forced" gives the answer that a phrase is present.
            probabilities: Whether present entries get the probability of each pixel.
            history: Previous turns of the conversation that the one query continues, which is not split; or None.

        Returns:
            One answer for each query.

        Raises:
            QueryError: If a query is longer than the language model takes, or points at what is not there.
        """
        check_visual(self.mask_head, queries, [geometry.original for geometry in geometries])
        decoder = self.decoder
        parts = [split_query(query, decoder.fits) if history is None else [query] for query in queries]
        asked = [part for split in parts for part in split]
        if not asked:
            return []
        with self.answering():
            decoded = decoder.decode(encoded.image_vectors, asked, decoding, history)
            states = torch.cat([one.mask_states for one in decoded])
            counts = [len(one.mask_states) for one in decoded]
            repeated = [part for part, count in zip(asked, counts, strict=True) for _ in range(count)]
            images = torch.tensor([part.image for part in repeated], dtype=torch.long, device=states.device)
            masks = self._predict_masks(encoded, states, images, [(part, geometries[part.image]) for part in repeated])
        make, found = answer_maker(self, probabilities), zip(asked, decoded, masks.split(counts), strict=True)
        answers = (make(part, one, logits, geometries[part.image]) for part, one, logits in found)
        return [join_answers([next(answers) for _ in split]) for split in parts]

    def answering(self) -> AbstractContextManager[None]:
        """Be in evaluation mode, as answers need it after training too; afterwards each module has its mode again."""
        return evaluation_mode(self)

    def _predict_masks(
        self, encoded: EncodedImages, states: Tensor, image_index: Tensor, asked: Sequence[Asked] = ()
    ) -> MaskPrediction:
        """Predict the masks for each hidden state ``[n, d]`` about its image, long ``[n]``."""
        contract.check_states(self.language_model, states)
        prompts = self.prompt_projection(states.to(precision_of(self.prompt_projection)))  # precisions may differ
        (prompts,) = in_precision_of(self.mask_head, [prompts], self.prompt_projection)
        masks = contract.predict_masks(self.mask_head, encoded.features, prompts, image_index)
        return with_visual(masks, self.mask_head, encoded.features, prompts, asked)
