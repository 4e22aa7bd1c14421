"""MUSE and MMR: questions that several things answer, on photographs of COCO.

Source: Ren et al. (PixelLM, CVPR 2024), ``MaverickRen/PixelLM``, ``utils/multi_reason_seg_val_dataset.py``; Jang et al.
(ICLR 2025), ``jdg900/MMR``, README and ``utils/dataset.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import stated_size
from lasagna.datamodules.converters.common.entries import check_entries, check_inner, read_json
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.phrases import key_of
from lasagna.datamodules.converters.common.questions import AskedQuestion, QuestionItem, ReadQuestions, by_image

PARTS = ("train2017", "val2017", "train2014", "val2014")
"""Folders of COCO's images."""

WHERE = ("", "images", "images/mscoco/images", "refer_seg/images/mscoco/images")
"""Where they may be."""

TOKEN = "{seg}"
"""Stands in MMR's answers in words for each mask."""


_GAP = re.compile(r" (?=[.,;:!?])")


class MultiTarget(Converter):
    """Questions with a mask for each of their targets, as a list of images in JSON; a subclass names the data set.

    Args:
        source: The folder of the annotation files.
        images: The folder that holds COCO's ``train2017``, ``val2017`` or ``train2014``, if that is another folder.
    """

    name = ""

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    @property
    def manifest(self) -> Manifest:
        """What holds for all records."""
        return Manifest(
            name=self.name.lower(),
            unannotated="unknown",
            origin=f"{self.name}, questions of several targets on photographs of COCO",
            licence="annotations as their authors state; images under the terms of Flickr",
        )

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or there are no images.
        """
        folders = (self.source, self.source / self.name)
        found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
        start = f"{self.name.lower()}_"
        parts = {path.stem[len(start) :]: path for path in found if path.stem.lower().startswith(start)}
        if not parts:
            raise LayoutError(
                f"source: {self.source} holds no {self.name}_train.json or {self.name}_val.json; expected these, and "
                f"{PARTS[0]} in the folder or in that of `--images`"
            )
        return LazySplits({part: partial(self._split, path) for part, path in parts.items()})

    def _split(self, path: Path) -> Split:
        root = self._root()
        items = by_image(_items(path, root))
        return Split(
            self.manifest,
            items,
            ReadQuestions(self.manifest, path.name),
            [item.image for item in items],
            annotations=(path,),
        )

    def _root(self) -> Path:
        base = [self.images] if self.images else [self.source, self.source.parent]
        places = [folder / where for folder in base for where in WHERE]
        for place in places:
            if any((place / part).is_dir() for part in PARTS):
                return place
        raise LayoutError(f"source: none of {', '.join(map(str, base))} holds {' or '.join(PARTS)}; give `--images`")


class MUSE(MultiTarget):
    """MUSE, whose targets are objects of LVIS (see ``MultiTarget``)."""

    name = "MUSE"


class MMR(MultiTarget):
    """MMR, whose targets are objects of PACO-LVIS and their parts (see ``MultiTarget``)."""

    name = "MMR"


def _items(path: Path, root: Path) -> Iterator[QuestionItem]:
    content = read_json(path)
    check_entries(content, {"questions": list, "answers": list}, str(path))
    for rank, entry in enumerate(content):
        where = f"{path}[{rank}]"
        place = check_inner(_place(entry, where), where)
        questions = tuple(_questions(entry, where))
        yield QuestionItem(key_of(PurePosixPath(place).name), root / place, questions, stated_size(entry))


def _place(entry: Mapping[str, Any], where: str) -> str:
    """Return the folder and the name of an image; names alone are those of train2014, as in the official code."""
    name, address = entry.get("file_name"), entry.get("coco_url")
    if isinstance(name, str) and name:
        return name if "/" in name else f"train2014/{name}"
    if isinstance(address, str) and address:
        return "/".join(PurePosixPath(address).parts[-2:])
    raise LayoutError(f"{where}: it has neither `file_name` nor `coco_url`; download the file again")


def _questions(entry: Mapping[str, Any], where: str) -> Iterator[AskedQuestion]:
    questions, answers = entry["questions"], entry["answers"]
    said = entry.get("text_answers")
    words = said if isinstance(said, list) and len(said) == len(questions) else [""] * len(questions)
    if len(questions) != len(answers) or not all(isinstance(text, str) for text in questions):
        raise LayoutError(
            f"{where}: {len(questions)} questions and {len(answers)} answers; each must be a text with one"
        )
    for text, targets, word in zip(questions, answers, words, strict=True):
        check_entries(targets, {"segmentation": object}, f"{where}: answers")
        answer = _GAP.sub("", " ".join(word.replace(TOKEN, " ").split())) if isinstance(word, str) else ""
        yield AskedQuestion(text, tuple(target["segmentation"] for target in targets), answer)
