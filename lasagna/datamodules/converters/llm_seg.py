"""LLM-Seg40K: questions that a mask answers, on photographs of COCO and EgoObjects.

Source: Wang, Ke (LLM-Seg, CVPR Workshops 2024); ``wangjunchi/LLMSeg``, ``utils/llm_seg_dataset.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.entries import check_entries, check_inner, read_json
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.phrases import key_of
from lasagna.datamodules.converters.common.questions import AskedQuestion, QuestionItem, ReadQuestions

SPLITS = ("train", "validation", "test")
PLACES = {"coco": ("train2017", "coco/train2017"), "ego_objects": ("ego_objects/images", "ego_objects")}
"""Where the photographs of each origin may be."""

MANIFEST = Manifest(
    name="llm-seg40k",
    unannotated="unknown",
    origin="LLM-Seg40K (wangjunchi/LLMSeg); photographs of COCO and EgoObjects",
    licence="annotations as their authors state; photographs under the terms of COCO and EgoObjects",
)
EXPECTED = """
  train.json, validation.json, test.json, in the folder or in `split`, and the masks that they name
  train2017/ (COCO) and ego_objects/images/ (EgoObjects), in the folder or in that of `--images`"""


class LLMSeg40K(Converter):
    """LLM-Seg40K; a question has one mask, a file that is not black where the answer is, and an answer in words.

    The files name masks by where their authors had them; a mask is found in the source by the end of its path.

    Args:
        source: The folder of the annotation files and of the masks.
        images: The folder that holds ``train2017`` and ``ego_objects``, if that is another folder.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or there are no images.
        """
        places = [self.source / folder / f"{part}.json" for folder in ("", "split") for part in SPLITS]
        parts = {path.stem: path for path in places if path.is_file()}
        if not parts:
            raise LayoutError(f"source: {self.source} holds no annotation files of LLM-Seg40K; expected{EXPECTED}")
        return LazySplits({part: partial(self._split, path) for part, path in parts.items()})

    def _split(self, path: Path) -> Split:
        content = read_json(path)
        if not isinstance(content, dict):
            raise LayoutError(f"{path}: expected an object with an entry for each image; download it again")
        check_entries(list(content.values()), {"from_dataset": str, "qa_pairs": list}, str(path))
        items = [self._item(name, entry, f"{path}: {name}") for name, entry in content.items()]
        files = [path for item in items for path in (item.image, *(one.targets[0] for one in item.questions))]
        return Split(MANIFEST, items, ReadQuestions(MANIFEST, path.name), files, annotations=(path,))

    def _item(self, name: str, entry: Mapping[str, Any], where: str) -> QuestionItem:
        check_entries(entry["qa_pairs"], {"question": str, "segmentation_path": str}, where)
        folder = self._folder(entry["from_dataset"], where)
        questions = tuple(
            AskedQuestion(one["question"], (self._mask(one["segmentation_path"]),), str(one.get("answer") or ""))
            for one in entry["qa_pairs"]
        )
        return QuestionItem(key_of(name), folder / check_inner(name, where), questions)

    def _folder(self, origin: str, where: str) -> Path:
        if origin not in PLACES:
            raise LayoutError(f"{where}: from_dataset: {origin!r} is none of {', '.join(PLACES)}; download it again")
        base = self.images or self.source
        for place in PLACES[origin]:
            if (base / place).is_dir():
                return base / place
        raise LayoutError(f"source: {base} holds no {' or '.join(PLACES[origin])}; expected{EXPECTED}")

    def _mask(self, stated: str) -> Path:
        """Return the file of a mask: the longest end of the path that exists in the source."""
        found = next((path for path in self._ends(stated) if path.is_file()), None)
        return found or self.source / PurePosixPath(stated.replace("\\", "/")).name

    def _ends(self, stated: str) -> Iterator[Path]:
        parts = [part for part in PurePosixPath(stated.replace("\\", "/")).parts if part not in ("/", "..")]
        for first in range(len(parts)):
            yield self.source.joinpath(*parts[first:])
