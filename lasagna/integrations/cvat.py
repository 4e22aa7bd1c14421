"""CVAT: an auto-annotation function that looks for names that are typed, for ``cvat-cli`` and CVAT's agents.

``cvat-cli task auto-annotate TASK --function-module lasagna.integrations.cvat -p names=str:"sky, dog"`` calls
``create`` with what stands behind ``-p``.

Source: ``cvat_sdk.auto_annotation`` of the package ``cvat-sdk``, and its page in CVAT's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvat_sdk import auto_annotation as cvataa
from cvat_sdk.masks import encode_mask

from lasagna.core.batch import Query
from lasagna.core.images import to_rgb
from lasagna.core.outlines import polygons_of
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.core.thresholds import check_threshold, completed, read_thresholds, with_thresholds
from lasagna.errors import QueryError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.load import load
from lasagna.modules.contract import check_queries, names_of
from lasagna.modules.learned_kinds import list_kind

if TYPE_CHECKING:
    from PIL.Image import Image

    from lasagna.core.answer import AnsweredEntry
    from lasagna.core.masks import BoolMask

ABSENT = "absent: "
"""What the label of a tag begins with, which says that a name is absent."""


def create(
    names: str,
    ckpt: str | None = None,
    objects: bool = False,
    absent: bool = False,
    device: str = "auto",
    calibrated_for: str | None = None,
    threshold: float | None = None,
    thresholds: str | Mapping[str, float] | None = None,
) -> AssistantFunction:
    """Return the function that CVAT calls for each image.

    Args:
        names: Names to look for, separated by commas, as the labels of the project are called.
        ckpt: A checkpoint of training, or a folder that ``lasagna export`` wrote; None for the small assistant of the
            package, which knows drawn scenes only.
        objects: Whether each object of a name is told apart, by assistants that learned that.
        absent: Whether absent names become tags; their labels, of type "tag", are called "absent: NAME".
        device: Device to compute on; "auto" for an accelerator if there is one.
        calibrated_for: Data set whose calibrated threshold is used; by default that of all data sets together.
        threshold: Score in [0, 1] from which a name is called present, where the caller gives none.
        thresholds: Names with a threshold of their own, e.g. "{dog: 0.7}", or the path of a JSON file with them.

    Raises:
        QueryError: If there is no name, one is there twice, or a threshold is for another name.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold or the device cannot be used.
    """
    from lasagna.core.device import find_device

    asked = [name.strip() for name in names.split(",") if name.strip()]
    check_threshold(threshold)
    # before the assistant is loaded
    own = read_thresholds(thresholds)
    with_thresholds([Query(0, CATEGORY_LIST, tuple(asked))] if asked else [], own)
    assistant = load(None if ckpt is None else Path(ckpt), calibrated=calibrated_for).to(find_device(device))
    if threshold is not None:
        assistant.presence_threshold = threshold
    return AssistantFunction(assistant, asked, objects, absent, own)


class AssistantFunction:
    """An assistant that is asked for the same names of each image, as CVAT's detection functions are called.

    Masks become shapes of type "mask", or polygons where the caller wants these. The threshold of the caller, if there
    is one, is the score from which a name without a threshold of its own is called present.

    Args:
        assistant: The assistant.
        names: The names.
        objects: Whether each object of a name is told apart.
        absent: Whether absent names become tags.
        thresholds: Names with a threshold of their own.

    Raises:
        QueryError: If there is no name, one is there twice, a threshold is for another name, or the assistant cannot be
            asked so.
    """

    def __init__(
        self,
        assistant: Assistant,
        names: list[str],
        objects: bool = False,
        absent: bool = False,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        if not names:
            raise QueryError("names: there is none; give those of the project's labels, separated by commas")
        self.assistant = assistant
        self.absent = absent
        [self.query] = with_thresholds([Query(0, list_kind(assistant, objects), names_of(names))], thresholds)
        check_queries(assistant, [self.query], "ordered")
        labels = [cvataa.label_spec(name, number, type="mask") for number, name in enumerate(names)]
        tags = [cvataa.label_spec(f"{ABSENT}{name}", len(names) + n, type="tag") for n, name in enumerate(names)]
        self.spec = cvataa.DetectionFunctionSpec(labels=[*labels, *(tags if absent else [])])

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image) -> list[Any]:
        """Return the shapes, and the tags, of one image.

        Args:
            context: What the caller wants: a threshold, and polygons or masks.
            image: The image.
        """
        query = completed(self.query, context.conf_threshold)
        (answer,) = self.assistant.answers(to_rgb(image), [query])
        numbers = {name: number for number, name in enumerate(self.query.names)}
        return [one for entry in answer.entries for one in self._annotations(entry, numbers[entry.name], context)]

    def _annotations(self, entry: AnsweredEntry, label: int, context: cvataa.DetectionFunctionContext) -> Iterator[Any]:
        if not entry.present:
            if self.absent:
                yield cvataa.tag(len(self.query.names) + label)
            return
        for group, mask in enumerate(entry.masks, 1):
            if context.conv_mask_to_poly:
                parts = list(_polygons(mask))
                # a group keeps the parts of one object together
                yield from (cvataa.polygon(label, part, group=group if len(parts) > 1 else 0) for part in parts)
            elif mask.any():
                yield cvataa.mask(label, encode_mask(mask))


def _polygons(mask: BoolMask) -> Iterator[list[float]]:
    """Yield the polygons of a mask without the repetition of their first point."""
    for polygon in polygons_of(mask):
        yield polygon[:-2] if polygon[:2] == polygon[-2:] else polygon
