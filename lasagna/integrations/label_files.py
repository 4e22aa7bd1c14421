"""Files of labels for other tools: a folder of answers in the forms of COCO, LabelMe, YOLO, and label images.

Sources: cocodataset.org ("Data format"), with LVIS's list of absent categories; ``lasagna.core.answer_formats``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from lasagna.core.answer import Answer
from lasagna.core.answer_formats import LABELS
from lasagna.core.answer_parser import normalise
from lasagna.core.masks import RLEMask
from lasagna.core.outlines import polygons_of
from lasagna.core.storage import whole_file, write_json
from lasagna.errors import QueryError

FORMATS = {
    "coco": "coco.json, COCO's instances with polygons and scores, and LVIS's list of what is absent",
    "labelme": "labelme/IMAGE.json, to be opened and corrected in LabelMe",
    "yolo": "yolo/labels/IMAGE.txt and yolo/data.yaml, to be put beside a folder images/",
    "png": "png/labels/IMAGE.png with a palette, and png/class_names.txt",
}
"""Form of files of labels to what it consists of."""


def read_formats(text: str) -> tuple[str, ...]:
    """Return the forms that a text names, separated by commas.

    Raises:
        QueryError: If one is not known.
    """
    forms = tuple(form.strip() for form in text.split(",") if form.strip())
    if strange := [form for form in forms if form not in FORMATS] or ([text] if not forms else []):
        raise QueryError(f"format: {strange[0]!r} is not known; give some of {', '.join(FORMATS)}")
    return forms


class LabelFiles:
    """Writes the answers about a folder of images in the forms of other tools.

    Args:
        out: The folder to write into.
        formats: Some of ``FORMATS``.
        names: All names that are asked for; their positions are the numbers of the classes.

    Raises:
        QueryError: If a form cannot hold so many names.
    """

    def __init__(self, out: Path, formats: Sequence[str], names: Sequence[str]) -> None:
        self.out = out
        self.formats = tuple(formats)
        self.names = tuple({normalise(name): name for name in reversed(names)}.values())[::-1]
        if "png" in self.formats and len(self.names) > LABELS:
            raise QueryError(
                f"format: png holds at most {LABELS} names, and {len(self.names)} are asked for; leave it out"
            )

    def files_of(self, stem: str) -> list[Path]:
        """Return the files of one image."""
        places = {"labelme": f"{stem}.json", "yolo": f"labels/{stem}.txt", "png": f"labels/{stem}.png"}
        return [self.out / form / place for form, place in places.items() if form in self.formats]

    def write(self, image: Path, stem: str, size: tuple[int, int], answers: Sequence[Answer]) -> None:
        """Write the files of one image.

        Args:
            image: The image file.
            stem: Name of its files, without a suffix.
            size: Height and width in pixels.
            answers: All answers about it; entries of other names, as descriptions have them, are left out.
        """
        known = set(map(normalise, self.names))
        entries = [entry for answer in answers for entry in answer.entries if normalise(entry.name) in known]
        joined = Answer("", tuple(entries))
        if "labelme" in self.formats:
            place = Path(os.path.relpath(image.resolve(), (self.out / "labelme").resolve())).as_posix()
            write_json(self.out / "labelme" / f"{stem}.json", joined.to_labelme(place, size), indent=2)
        if "yolo" in self.formats:
            lines = joined.to_yolo(self.names)
            self._text(Path("yolo", "labels", f"{stem}.txt"), "".join(f"{line}\n" for line in lines))
        if "png" in self.formats:
            # the first answer knows which of its own masks lies on top
            shown = answers[0] if len(answers) == 1 else joined
            with whole_file(self.out / "png" / "labels" / f"{stem}.png") as draft:
                shown.to_label_image(self.names, size).save(draft, "PNG")

    def finish(self, answered: Iterable[Path]) -> None:
        """Write what concerns all images.

        Args:
            answered: The JSON files of the answers (``lasagna.core.answer_json``), in order.
        """
        if "coco" in self.formats:
            write_json(self.out / "coco.json", coco_data_set(answered, self.names))
        if "yolo" in self.formats:
            content = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(self.names))}
            self._text(Path("yolo", "data.yaml"), yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        if "png" in self.formats:
            self._text(Path("png", "class_names.txt"), "\n".join(["background", *self.names]) + "\n")

    def _text(self, path: Path, content: str) -> None:
        with whole_file(self.out / path) as draft:
            draft.write_text(content, encoding="utf-8")


def coco_data_set(answered: Iterable[Path], names: Sequence[str]) -> dict[str, Any]:
    """Return answers as the content of a COCO file of instances.

    Args:
        answered: The JSON files of the answers, in order; images and annotations are numbered from 1 on.
        names: The names of the categories, numbered from 1 on.

    Returns:
        "images", "annotations" and "categories". Images list the names asked for that are absent as
        "neg_category_ids", and annotations have a "score" besides.
    """
    numbers = {normalise(name): number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path in answered:
        content = json.loads(path.read_bytes())
        found = [entry for answer in content["answers"] for entry in answer["entries"]]
        entries = [entry for entry in found if normalise(entry["name"]) in numbers]
        absent = {numbers[normalise(entry["name"])] for entry in entries if not entry["present"]}
        images.append({"id": len(images) + 1, "file_name": content["image"], "neg_category_ids": sorted(absent)})
        images[-1]["height"], images[-1]["width"] = content["size"]
        for entry in entries:
            for part in entry.get("objects") or ([entry] if entry["mask"] else []):
                if annotation := _annotation(part, tuple(content["size"])):
                    place = {"id": len(annotations) + 1, "image_id": len(images)}
                    annotations.append(place | {"category_id": numbers[normalise(entry["name"])]} | annotation)
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names, 1)]
    return {"info": {"description": "answers of lasagna"}, "images": images, "annotations": annotations} | {
        "categories": categories
    }


def _annotation(part: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    mask = RLEMask.from_json(part["mask"], size).decode()
    if not mask.any():
        return None
    shape = {"segmentation": polygons_of(mask), "bbox": part["box"], "area": int(np.count_nonzero(mask))}
    return {**shape, "iscrowd": 0, "score": part["score"]}
