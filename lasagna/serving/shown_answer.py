"""An answer on the page: decisions at any threshold from scores that are kept, as a picture, a legend and files.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_formats import LABELS, voc_palette
from lasagna.core.answer_json import answer_json
from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QueryKind

_OPACITY = 150


@dataclass(frozen=True)
class ShownAnswer:
    """What a page shows of a query.

    Args:
        kind: Kind of the query.
        entries: The entries with the decisions of the assistant, as of ``entry_json``.
        all_masks: The entries of the same query, asked so that every name is called present.
        size: Height and width of the image in pixels.
    """

    kind: QueryKind
    entries: Sequence[Mapping[str, Any]]
    all_masks: Sequence[Mapping[str, Any]]
    size: tuple[int, int]

    def decide(self, threshold: float) -> Answer:
        """Return the answer that has the names of at least a score; nothing is asked again.

        Masks are decoded at each call, since those of many names take much more memory than their code.

        Args:
            threshold: The score, in [0, 1].
        """
        pairs = zip(self.entries, self.all_masks, strict=True)
        return Answer("", tuple(self._entry(own, other, threshold) for own, other in pairs))

    def _entry(self, own: Mapping[str, Any], other: Mapping[str, Any], threshold: float) -> AnsweredEntry:
        # a name without a score keeps its decision
        score = float("nan") if own["score"] is None else float(own["score"])
        source = own if own["score"] is None or own["mask"] is not None else other
        if score < threshold or source["mask"] is None:
            return AnsweredEntry(own["name"], False, score)
        objects = source.get("objects") or []
        return AnsweredEntry(
            own["name"],
            True,
            score,
            RLEMask.from_json(source["mask"], self.size).decode(),
            float(source["confidence"] or 0),
            masks=tuple(RLEMask.from_json(one["mask"], self.size).decode() for one in objects),
            scores=tuple(float(one["score"]) for one in objects),
        )

    def overlay(self, answer: Answer) -> bytes:
        """Return the masks as a PNG file ``[H, W]`` that is transparent elsewhere, to be laid over the image."""
        colours = voc_palette()[1 + np.arange(len(answer.entries) + 1) % LABELS]
        paint = np.concatenate([colours, np.full((len(colours), 1), _OPACITY, np.uint8)], axis=1)
        paint[-1] = 0
        # the rank of pixels without a mask is -1, the last row
        return _png(Image.fromarray(paint[answer.overlap_map(self.size).ranks()], "RGBA"))

    def legend(self, answer: Answer) -> str:
        """Return a list in HTML: colours and scores of the names, absent ones struck through."""
        rows = []
        for entry, (red, green, blue) in zip(answer.entries, self._colours(answer), strict=True):
            name = _text(entry.name) if entry.present else f"<s>{_text(entry.name)}</s>"
            colour = f"rgb({red},{green},{blue})" if entry.present else "transparent"
            note = " (empty mask)" if entry.empty else "" if entry.present else " (absent)"
            score = "" if np.isnan(entry.score) else f"{entry.score:.3f}"
            rows.append(f'<li><i style="background:{colour}"></i>{name}{note}<b>{score}</b></li>')
        return f'<ul class="legend">{"".join(rows)}</ul>'

    @staticmethod
    def _colours(answer: Answer) -> list[list[int]]:
        colours: list[list[int]] = voc_palette()[1 + np.arange(len(answer.entries)) % LABELS].tolist()
        return colours

    def downloads(self, answer: Answer, threshold: float) -> str:
        """Return links in HTML that hold the answer as files: this package's JSON, a label image, and COCO's form."""
        names = tuple(entry.name for entry in answer.entries)
        plain = {
            "width": self.size[1],
            "height": self.size[0],
            "threshold": threshold,
            "answers": [answer_json(Query(0, self.kind, names), answer)],
        }
        links = [_link("answer.json", "application/json", json.dumps(plain).encode(), "JSON")]
        if len(names) <= LABELS:
            links.append(_link("labels.png", "image/png", _png(answer.to_label_image(size=self.size)), "PNG"))
        coco = json.dumps(self.coco(answer)).encode()
        links.append(_link("coco.json", "application/json", coco, "COCO"))
        return f'<p class="files">Download {" ".join(links)}</p>'

    def coco(self, answer: Answer) -> dict[str, Any]:
        """Return the answer as the content of a COCO file of one image; categories are the names asked for."""
        numbers = {entry.name: number for number, entry in enumerate(answer.entries, 1)}
        annotations = []
        for number, found in enumerate(answer.to_coco(1, numbers), 1):
            mask = RLEMask.from_json(found["segmentation"], self.size)
            more = {"id": number, "iscrowd": 0, "area": int(mask.decode().sum()), "bbox": list(mask.box())}
            annotations.append(found | more)
        return {
            "images": [{"id": 1, "width": self.size[1], "height": self.size[0], "file_name": ""}],
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
            "annotations": annotations,
        }


def _png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """Return a file as an address that holds it.

    Args:
        content: The file.
        kind: Its media type.
    """
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


def _link(name: str, kind: str, content: bytes, label: str) -> str:
    return f'<a download="{name}" href="{data_address(content, kind)}">{label}</a>'


def _text(name: str) -> str:
    """Return a name as HTML, without what Gradio's templates would replace."""
    return escape(name).replace("{", "&#123;").replace("$", "&#36;")
