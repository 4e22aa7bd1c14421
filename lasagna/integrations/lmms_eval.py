"""lmms-eval: an assistant as the model "lasagna", whose answers are masks in the JSON that its tasks of SA-Co read.

``lmms-eval --model lasagna --model_args pretrained=CHECKPOINT --tasks saco_gold`` finds the model by the entry point
``lmms_eval.models`` of this package.

Source: ``lmms_eval`` 0.7.3, ``models/registry_v2.py`` (what an entry point gives), ``api/model.py`` (what a model is),
``models/simple/sam3.py`` and ``tasks/saco/utils.py`` (the JSON).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from lasagna.core.answer import Answer
from lasagna.core.batch import Query
from lasagna.core.device import find_device
from lasagna.core.prompt_formats import name_error
from lasagna.core.query_kind import CATEGORY_LIST, INSTANCES, INSTANCES_BY_TOKEN, REFERRING, QueryKind
from lasagna.core.tiled_answers import packed_masks
from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.load import load

KINDS = (INSTANCES, INSTANCES_BY_TOKEN, REFERRING, CATEGORY_LIST)
"""How a phrase can be asked; the first kind that the assistant learned is taken."""


def manifest() -> ModelManifest:
    """Return what lmms-eval has to know of the model; the entry point calls this."""
    return ModelManifest("lasagna", simple_class_path=f"{__name__}.{AssistantModel.__name__}")


class AssistantModel(lmms):  # type: ignore[misc]
    """An assistant that is asked for the phrase of each document, and answers with the masks of what it fits.

    Args:
        pretrained: A checkpoint of training, or a folder that ``lasagna export`` wrote; empty for the small assistant
            of the package, which knows drawn scenes only.
        kind: How phrases are asked: "instances" or "instances_by_token" for each object of a list of one name,
            "referring" for one mask, or "categories" for a list of one name with one mask; by default the first of
            these that the assistant learned.
        threshold: Score from which a phrase is called present, in [0, 1]; by default the assistant's own.
        batch_size: Ignored; each image is answered by itself.
        max_batch_size: Ignored too.
        device: Device to compute on; None for an accelerator if there is one.

    Raises:
        ConfigError: If the kind or the threshold is none.
        CheckpointError: If the checkpoint cannot be used.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "",
        kind: str = "",
        threshold: float | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        known = {str(one): one for one in KINDS}
        if kind and kind not in known:
            raise ConfigError(f"kind: expected one of {', '.join(known)}, got {kind!r}; or leave it out")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"threshold: expected a number in [0, 1], got {threshold}; or leave it out")
        self.assistant = load(Path(pretrained) if pretrained else None).to(find_device(device or "auto"))
        if threshold is not None:
            self.assistant.presence_threshold = threshold
        learned = self.assistant.learned_kinds
        self.kind = known[kind] if kind else next((one for one in KINDS if one in learned), REFERRING)
        self.batch_size = 1

    @property
    def device(self) -> Any:  # noqa: ANN401 - a torch.device, or a text
        """Where the assistant computes."""
        return self.assistant.device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer requests; returns the JSON of each, in their order.

        Args:
            requests: Requests of lmms-eval, each with the phrase, the function that gives the image of a document, and
                the number of the document.
        """
        return [self._answer(*request.args) for request in requests]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Raise an error, since answers are masks.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("lasagna answers with masks; choose tasks of the type generate_until, as saco_gold")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Raise an error, since each phrase is asked by itself.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("lasagna asks each phrase by itself; choose tasks of the type generate_until")

    def _answer(self, phrase: str, _: object, visual: Any, number: int, task: str, split: str) -> str:  # noqa: ANN401
        image = np.asarray(visual(self.task_dict[task][split][number])[0].convert("RGB"))
        query = Query(0, self._kind_of(phrase), (phrase,))
        (answer,) = self.assistant.answers(image, [query])
        return json.dumps(masks_json(answer))

    def _kind_of(self, phrase: str) -> QueryKind:
        """Return how a phrase is asked; what cannot be a name of a list, such as one with a comma, is referring."""
        return REFERRING if self.kind.many and name_error(phrase) else self.kind


def masks_json(answer: Answer) -> dict[str, list[Any]]:
    """Return the masks of what is present, in the form that lmms-eval's tasks of segmentation read.

    Args:
        answer: The answer.

    Returns:
        "masks" (COCO RLE), "boxes" (their corners as shares of width and height) and "scores", in one order.
    """
    found: dict[str, list[Any]] = {"masks": [], "boxes": [], "scores": []}
    for entry in answer.entries:
        for mask, score in zip(packed_masks(entry), entry.scores, strict=True) if entry.present else ():
            (height, width), (left, top, across, down) = mask.size, mask.box()
            right, bottom = left + across, top + down
            box = {"x_min": left / width, "y_min": top / height, "x_max": right / width, "y_max": bottom / height}
            found["masks"].append(mask.to_json())
            found["boxes"].append(box)
            found["scores"].append(round(score, 6))
    return found
