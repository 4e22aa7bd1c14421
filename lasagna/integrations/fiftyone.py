"""FiftyOne: an assistant as a model that labels data sets, and as a model of the zoo.

Source: ``voxel51/fiftyone``, ``fiftyone/core/models.py`` (what a model is) and ``fiftyone/zoo/models`` (remote models).

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.models import Model
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.answer import Answer
from lasagna.core.batch import Query
from lasagna.core.device import find_device
from lasagna.core.images import to_rgb
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.core.thresholds import check_threshold, completed, read_thresholds, with_thresholds
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.load import load
from lasagna.modules.contract import check_queries, names_of
from lasagna.modules.learned_kinds import list_kind


@dataclass
class AssistantConfig:
    """What FiftyOne changes while it applies a model.

    Args:
        confidence_thresh: Score in [0, 1] from which a name without a threshold of its own is called present, as
            ``apply_model(confidence_thresh=...)`` sets it; None for that of the assistant.
    """

    confidence_thresh: float | None = None


class AssistantModel(Model):  # type: ignore[misc]
    """An assistant that is asked for the same names of each image.

    ``dataset.apply_model(model, label_field="lasagna")`` fills three fields: ``lasagna_detections`` with a detection
    for each mask, ``lasagna_segmentation`` with one label for each pixel (0 for none, else the position of the name
    from 1 on), and ``lasagna_absent`` with a classification for each absent name, whose confidence is that of its
    absence.

    Args:
        assistant: The assistant.
        names: The names.
        objects: Whether each object of a name is told apart, by assistants that learned that.
        confidence_thresh: Score in [0, 1] from which a name is called present; None for that of the assistant.
        thresholds: Names with a threshold of their own.

    Raises:
        QueryError: If there is no name, one is there twice, a threshold is for another name, or the assistant cannot be
            asked so.
        LasagnaError: If the threshold is no number in [0, 1].
    """

    def __init__(
        self,
        assistant: Assistant,
        names: Sequence[str],
        objects: bool = False,
        confidence_thresh: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        check_threshold(confidence_thresh)
        self.config = AssistantConfig(confidence_thresh)
        self.assistant = assistant
        [self.query] = with_thresholds([Query(0, list_kind(assistant, objects), names_of(names))], thresholds)
        check_queries(assistant, [self.query], "ordered")

    @property
    def media_type(self) -> str:
        """What the model labels."""
        return "image"

    @property
    def mask_targets(self) -> dict[int, str]:
        """The name of each label of the segmentation, for ``dataset.mask_targets``."""
        return dict(enumerate(self.query.names, 1))

    def predict(self, arg: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the labels of an image.

        Args:
            arg: Uint8 ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``; what is transparent is seen on white.
        """
        image = to_rgb(Image.fromarray(arg))
        query = completed(self.query, self.config.confidence_thresh)
        (answer,) = self.assistant.answers(image, [query])
        labels = answer.label_map(self.query.names, image.shape[:2]) + 1
        return {
            "detections": fo.Detections(detections=_detections(answer)),
            "segmentation": fo.Segmentation(mask=labels.astype(np.uint16)),
            "absent": fo.Classifications(
                classifications=[
                    fo.Classification(label=entry.name, confidence=1 - entry.score)
                    for entry in answer.entries
                    if not entry.present
                ]
            ),
        }


def _detections(answer: Answer) -> list[Any]:
    """Return a detection for each mask, which holds the part of the mask in its box."""
    found = []
    for entry in answer.entries:
        for mask, score in zip(entry.masks, entry.scores, strict=True) if entry.present else ():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            height, width = mask.shape
            box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
            part = mask[top:bottom, left:right]
            found.append(fo.Detection(label=entry.name, bounding_box=box, mask=part, confidence=score))
    return found


def load_model(
    names: Sequence[str],
    ckpt: str | None = None,
    objects: bool = False,
    device: str = "auto",
    confidence_thresh: float | None = None,
    thresholds: Mapping[str, float] | str | None = None,
    calibrated_for: str | None = None,
) -> AssistantModel:
    """Load an assistant as a model of FiftyOne.

    Args:
        names: Names to look for.
        ckpt: A checkpoint of training, or a folder that ``lasagna export`` wrote; None for the small assistant of the
            package, which knows drawn scenes only.
        objects: Whether each object of a name is told apart, by assistants that learned that.
        device: Device to compute on; "auto" for an accelerator if there is one.
        confidence_thresh: Score in [0, 1] from which a name is called present; by default the calibrated one, or 0.5.
        thresholds: Names with a threshold of their own, e.g. ``{"dog": 0.7}``, or the path of a JSON file with them.
        calibrated_for: Data set whose calibrated threshold is used; by default that of all data sets together.

    Raises:
        QueryError: If there is no name, one is there twice, a threshold is for another name, or the assistant cannot be
            asked so.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold or the device cannot be used.
    """
    own = read_thresholds(thresholds)
    # before the assistant is loaded
    with_thresholds([Query(0, CATEGORY_LIST, names_of(names))], own)
    assistant = load(None if ckpt is None else Path(ckpt), calibrated=calibrated_for).to(find_device(device))
    return AssistantModel(assistant, names, objects, confidence_thresh, own)
