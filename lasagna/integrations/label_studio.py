"""Label Studio: its labelling setup, and answers as regions that it shows.

Sources: the pages of labelstud.io about the tags ``BrushLabels``, ``PolygonLabels``, ``RectangleLabels`` and
``Choices``, about importing predictions, and about its backend for YOLO, whose attribute for thresholds this one has
too; for the packing of brushes, ``thi-ng/umbrella``, package ``rle-pack``.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

import numpy as np

from lasagna.core.batch import Query
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.outlines import polygons_of
from lasagna.core.query_kind import QueryKind
from lasagna.core.thresholds import with_thresholds
from lasagna.errors import QueryError

REGIONS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels", "RectangleLabels": "rectanglelabels"}
"""Tags of regions that are drawn, and what their results are called."""

CUT = "model_score_threshold"
"""Attribute of such a tag, and of a label in it: the score from which names, or this one, are called present."""


@dataclass(frozen=True)
class LabellingSetup:
    """What of a labelling setup an assistant answers to.

    Args:
        image: Name of the image's tag.
        field: Field of a task that says where the image is.
        regions: Tag of the regions, one of ``REGIONS``.
        name: Name of that tag.
        labels: The names to look for.
        choices: Name of a tag ``Choices`` about the same image whose choices are names, which gets the absent ones; or
            None.
        offered: Names that this tag offers; Label Studio takes no other.
        threshold: Score from which a name is called present; None for that of the server.
        thresholds: Names with a threshold of their own.
    """

    image: str
    field: str
    regions: str
    name: str
    labels: tuple[str, ...]
    choices: str | None = None
    offered: frozenset[str] = frozenset()
    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None

    @classmethod
    def read(cls, text: str) -> LabellingSetup:
        """Read the labelling setup of a project.

        Raises:
            QueryError: If it is no XML, has no image with labels for regions, or a threshold is no number in [0, 1].
        """
        # entities can make a short text endless
        if "<!" in text.replace("<!--", ""):
            raise QueryError("label_config: it declares a document type or entities; leave these out")
        try:
            tags = list(ElementTree.fromstring(text).iter())
        except ElementTree.ParseError as error:
            raise QueryError(f"label_config: it is not XML ({error}); copy the project's labelling setup") from error
        images = {tag.get("name"): tag.get("value", "") for tag in tags if tag.tag == "Image"}
        found = [tag for kind in REGIONS for tag in tags if tag.tag == kind and tag.get("toName") in images]
        if not found:
            raise QueryError(f"label_config: it has no Image with one of {', '.join(REGIONS)}; add one of these tags")
        tag = found[0]
        labels = tuple(dict.fromkeys(label.get("value", "") for label in tag.iter("Label")))
        if not labels or "" in labels:
            raise QueryError(f"label_config: {tag.tag} has no labels, or one without a value; name what to look for")
        cuts = {label.get("value", ""): _threshold(label) for label in tag.iter("Label")}
        own = {name: cut for name, cut in cuts.items() if cut is not None}
        image = str(tag.get("toName"))
        fields = [other for other in tags if other.tag == "Choices" and other.get("toName") == image]
        lists = [(other.get("name"), {choice.get("value", "") for choice in other.iter("Choice")}) for other in fields]
        choices, offered = next(
            ((name, found & {*labels}) for name, found in lists if found & {*labels}), (None, set())
        )
        place = str(images[image]).removeprefix("$")
        name, threshold = str(tag.get("name")), _threshold(tag)
        return cls(image, place, tag.tag, name, labels, choices, frozenset(offered), threshold, own)

    def query(self, kind: QueryKind) -> Query:
        """Return the query for the names.

        Args:
            kind: Its kind.
        """
        [query] = with_thresholds([Query(0, kind, self.labels)], self.thresholds)
        return query

    def results(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the regions of an answer, and its absent names.

        Args:
            answer: The answer as plain data (``lasagna.core.answer_json``).
        """
        found = [
            {**region, "score": part["score"]}
            for entry in answer["entries"]
            if entry["present"]
            for part in entry.get("objects") or [entry]
            if part["mask"] is not None
            for region in self._regions(entry["name"], part["mask"])
        ]
        absent = [
            entry["name"] for entry in answer["entries"] if not entry["present"] and entry["name"] in self.offered
        ]
        if self.choices is not None and absent:
            found.append(
                {"from_name": self.choices, "to_name": self.image, "type": "choices", "value": {"choices": absent}}
            )
        return [{"id": f"lasagna{rank}", **region} for rank, region in enumerate(found)]

    def _regions(self, name: str, code: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        height, width = code["size"]
        mask = RLEMask.from_json(code, (height, width)).decode()
        if not mask.any():
            return
        kind = REGIONS[self.regions]
        common = {
            "from_name": self.name,
            "to_name": self.image,
            "type": kind,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
        }
        for shape in _shapes(self.regions, mask):
            yield {**common, "value": {**shape, kind: [name]}}


def _threshold(tag: ElementTree.Element) -> float | None:
    """Return the threshold of a tag or label, or None if it has none."""
    text, called = tag.get(CUT), f"{tag.tag} {(tag.get('value') or tag.get('name'))!r}"
    try:
        found = None if text is None else float(text)
    except ValueError:
        found = -1.0
    if found is not None and not 0 <= found <= 1:
        raise QueryError(f"label_config: {called} has the {CUT} {str(text)[:80]!r}; write a number from 0 to 1")
    return found


def _shapes(regions: str, mask: BoolMask) -> Iterator[dict[str, Any]]:
    """Yield a mask in the form of a tag; places are percentages of the image's sides."""
    height, width = mask.shape
    if regions == "BrushLabels":
        yield {"format": "rle", "rle": pack_brush(mask)}
    elif regions == "PolygonLabels":
        for polygon in polygons_of(mask):
            yield {"points": (np.reshape(polygon, (-1, 2)) / (width, height) * 100).tolist(), "closed": True}
    else:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top = columns[0] / width, rows[0] / height
        right, bottom = (columns[-1] + 1) / width, (rows[-1] + 1) / height
        sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        yield {**{side: float(100 * value) for side, value in sides.items()}, "rotation": 0}


_CHANNELS = 4
_SIZES = (3, 7, 12, 16)
"""Bits of the four sizes that the length of a run can have."""


def pack_brush(mask: BoolMask) -> list[int]:
    """Return a mask in the packing of Label Studio's brushes.

    It is that of the image's red, green, blue and alpha, all 255 inside. 32 bits say how many values there are, 5 how
    many bits a value has less one, and four times 4 how many bits the length of a run can have less one. Then comes for
    each run: a bit that is 1, the number of its size in two bits, its length less one, and its value.

    Args:
        mask: Bool ``[H, W]``.

    Returns:
        Bytes.
    """
    bits = [f"{mask.size * _CHANNELS:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for inside, pixels in groupby(mask.ravel().tolist()):
        left = _CHANNELS * sum(1 for _ in pixels)
        while left:
            length = min(left, 1 << _SIZES[-1])
            number = next(number for number, size in enumerate(_SIZES) if length <= 1 << size)
            bits.append(f"1{number:02b}{length - 1:0{_SIZES[number]}b}{255 * inside:08b}")
            left -= length
    joined = "".join(bits)
    joined += "0" * (-len(joined) % 8)
    return list(int(joined, 2).to_bytes(len(joined) // 8, "big"))
