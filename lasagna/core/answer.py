"""Answers of the assistant, and what can be made of them.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.answer_parser import normalise
from lasagna.core.masks import BoolMask
from lasagna.core.overlaps import OverlapMap
from lasagna.errors import QueryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image
    from supervision import Detections


@dataclass(frozen=True, repr=False)
class AnsweredEntry:
    """One entry of the assistant's answer.

    Args:
        name: The category or phrase, spelled as in the query.
        present: Whether the assistant says that it is in the image.
        score: Probability of ``<SEG>`` against ``<NEG>``, in [0, 1].
        mask: Bool ``[H, W]`` of the image's own size, or None if absent. With several masks, their union, which is the
            default.
        confidence: Mean probability of the pixels inside the mask, in [0, 1]; 0 if absent or empty.
        probability: Probability of each pixel of a present name, float16 ``[H, W]``; None unless it was asked for
            (``Assistant.answer(..., probabilities=True)``).
        masks: One mask per object, each bool ``[H, W]`` with a pixel. By default the one mask, or none if it is empty.
        scores: Probability that each of ``masks`` is an object of the name, in [0, 1]; by default ``score``.
        span: Begin and end of the name in the answer's ``words``, where masks stand among words.

    Raises:
        QueryError: If there is not one score for each of several masks.
    """

    name: str
    present: bool
    score: float
    mask: BoolMask | None = None
    confidence: float = 0.0
    probability: NDArray[np.float16] | None = None
    masks: tuple[BoolMask, ...] = ()
    scores: tuple[float, ...] = ()
    span: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Set the union of several masks, or the masks of an entry that has one."""
        if self.mask is None and self.masks:
            object.__setattr__(self, "mask", np.logical_or.reduce(self.masks))
        elif self.mask is not None and not self.masks and self.mask.any():
            object.__setattr__(self, "masks", (self.mask,))
        if len(self.masks) == 1 and not self.scores:
            object.__setattr__(self, "scores", (self.score,))
        if len(self.scores) != len(self.masks):
            raise QueryError(
                f"scores: {self.name!r} has {len(self.scores)} for {len(self.masks)} masks; give one for each mask"
            )

    @property
    def apart(self) -> bool:
        """Whether the masks have scores of their own, as those of several objects do."""
        return self.scores not in ((), (self.score,))

    @property
    def empty(self) -> bool:
        """Whether the name is called present, but its mask has no pixel."""
        return self.present and self.mask is not None and not self.mask.any()

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Bounding box of the mask: left, top, width, height in pixels; None for absent names and empty masks."""
        if self.mask is None or not self.mask.any():
            return None
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        left, top, right, bottom = map(int, (columns[0], rows[0], columns[-1], rows[-1]))
        return left, top, right - left + 1, bottom - top + 1

    def __repr__(self) -> str:
        """Return name, decision, score and, for present names, confidence and box in one line."""
        if not self.present:
            return f"{self.name!r}: absent, score {self.score:.3f}"
        place = "without a mask" if self.mask is None else "empty mask" if self.empty else f"box {self.box}"
        place = f"{len(self.masks)} masks in {place}" if len(self.masks) > 1 else place
        return f"{self.name!r}: present, score {self.score:.3f}, confidence {self.confidence:.3f}, {place}"


@dataclass(frozen=True, repr=False)
class Answer:
    """The assistant's answer to one query.

    Args:
        text: The answer as it was written.
        entries: Its entries in the order written.
        faults: What is wrong with it (see ``answer_parser.Fault``); always empty for ordered decoding.
        top: Which entry's mask lies on top at each pixel, ranks being positions in ``entries``: the one with the
            highest logit, of equal ones the one asked for first. None for answers that do not say; those of the
            assistant to lists of categories do.
        words: The text without marks and tokens, where masks stand among words.
    """

    text: str
    entries: tuple[AnsweredEntry, ...] = ()
    faults: tuple[str, ...] = ()
    top: OverlapMap | None = None
    words: str = ""

    def __repr__(self) -> str:
        """Return the text, and one line for each entry."""
        lines = [f"Answer({self.text!r})", *map(repr, self.entries)]
        lines += [f"faults: {', '.join(self.faults)}"] if self.faults else []
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        """Return a table with a picture of each mask, which notebooks display."""
        from lasagna.core.answer_display import answer_html

        return answer_html(self)

    def plot(self, image: NDArray[np.uint8], axes: Axes | None = None) -> Axes:
        """Draw the masks over their image with matplotlib, with a legend of the present names and a list of the absent.

        Args:
            image: The image that was asked about, uint8 ``[H, W, 3]``.
            axes: Where to draw; by default the axes of a new figure.

        Returns:
            The axes; ``axes.figure.savefig("answer.png")`` writes the picture.

        Raises:
            QueryError: If a mask has another size than the image.
        """
        from lasagna.core.answer_display import plot_answer

        return plot_answer(self, image, axes)

    def to_coco(self, image_id: int, categories: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return the masks as results that ``pycocotools.coco.COCO.loadRes`` reads.

        Args:
            image_id: COCO's id of the image.
            categories: Name to COCO's category id, for every present name.

        Returns:
            "image_id", "category_id", "segmentation" (compressed RLE) and "score" of each mask of the present names, in
            the order answered; names with an empty mask are left out. "bbox" and "area" are left out too, so that
            ``loadRes`` takes them from the mask.

        Raises:
            QueryError: If a present name has no category id.
        """
        from lasagna.core.answer_json import coco_results

        return coco_results(self, image_id, categories)

    def to_labelme(self, image: str, size: tuple[int, int]) -> dict[str, Any]:
        """Return the answer as the content of a LabelMe file.

        Each part of a mask is a polygon; those of one object have the same group. The flags of the image say of each
        name whether it is there, so that absent names stay known.

        Args:
            image: Path of the image file, as seen from the folder of the LabelMe file.
            size: Height and width of the image in pixels.
        """
        from lasagna.core.answer_formats import labelme_json

        return labelme_json(self, image, size)

    def to_yolo(self, names: Sequence[str]) -> list[str]:
        """Return one line of YOLO's form for each object: the number of its name, and a polygon in fractions.

        An object of several parts is one polygon, whose outline walks to each further part and back.

        Args:
            names: All names of the data set, in the order of their numbers.

        Raises:
            QueryError: If a present name is not among them.
        """
        from lasagna.core.answer_formats import yolo_lines

        return yolo_lines(self, names)

    def to_label_image(self, names: Sequence[str] | None = None, size: tuple[int, int] | None = None) -> Image.Image:
        """Return the labels of the pixels as an image with PASCAL VOC's palette; ``save("labels.png")`` writes it.

        Args:
            names: The names whose positions, from 1 on, are the labels; by default those of the entries, in order. 0
                means none of them.
            size: Height and width of the image in pixels; needed only where no entry has a mask.

        Raises:
            QueryError: If a present name is not among the names, there are more than 255, or the size is not known.
        """
        from lasagna.core.answer_formats import label_image

        return label_image(self, names, size)

    def to_supervision(self, names: Sequence[str] | None = None) -> Detections:
        """Return the objects of the present names as ``supervision.Detections``, each with mask, box, score and name.

        Args:
            names: The names whose positions are the numbers of classes; by default those of the entries, in order.

        Raises:
            QueryError: If supervision is not installed, or a present name is not among the names.
        """
        from lasagna.core.answer_formats import supervision_detections

        return supervision_detections(self, names)

    def label_map(
        self, names: Sequence[str] | None = None, size: tuple[int, int] | None = None, none: int = -1
    ) -> NDArray[np.int32]:
        """Return one label per pixel.

        Where masks overlap, the mask on top counts (see ``overlap_map``). Pixels where that is the mask of a name
        outside ``names`` have the label ``none``.

        Args:
            names: The names whose positions are the labels, as in the query; by default those of the entries, in order.
            size: Height and width of the image in pixels; needed only where no entry has a mask.
            none: Label of the pixels without a mask. The default becomes 255 when the map is converted to uint8.

        Returns:
            Labels, int32 ``[H, W]``.

        Raises:
            QueryError: If the size is not known, or if the names are one text.
        """
        labels = self.labels_of_entries(names, none)
        return self.overlap_map(size).labels(np.array([*labels, none], dtype=np.int32))

    def labels_of_entries(self, names: Sequence[str] | None, none: int) -> list[int]:
        """Return the label of each entry, as in ``label_map``.

        Args:
            names: The names whose positions are the labels; None for those of the entries.
            none: Label of an entry of another name.

        Raises:
            QueryError: If the names are one text, whose letters would be names.
        """
        if isinstance(names, str):
            raise QueryError(f"names: expected a list of names, got the text {names!r}; give [{names!r}]")
        asked = names if names is not None else [entry.name for entry in self.entries]
        labels = {normalise(name): label for label, name in enumerate(asked)}
        return [labels.get(normalise(entry.name), none) for entry in self.entries]

    def overlap_map(self, size: tuple[int, int] | None = None) -> OverlapMap:
        """Return which entry's mask lies on top at each pixel, ranks being positions in ``entries``.

        That is ``top`` where the answer has it, as those of the assistant do. For other answers, the mask with the
        highest probability at the pixel lies on top. For masks without probabilities, their confidence counts, or their
        score if the confidence is 0. The first of equals wins.

        Args:
            size: Height and width of the image in pixels; needed only where no entry has a mask.

        Raises:
            QueryError: If the size is not known.
        """
        if self.top is not None:
            return self.top
        claims = [(rank, entry) for rank, entry in enumerate(self.entries) if entry.present]
        masks = [(rank, entry, entry.mask) for rank, entry in claims if entry.mask is not None]
        if size is None and not masks:
            raise QueryError("size: unknown, since no entry has a mask; give the image's (height, width)")
        top = OverlapMap(size or masks[0][2].shape)
        for rank, entry, mask in masks:
            evidence = float(entry.confidence or entry.score) if entry.probability is None else entry.probability
            top.add(rank, mask, evidence)
        return top
