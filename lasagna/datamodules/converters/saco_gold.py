"""SA-Co/Gold: noun phrases that may fit nothing, with every object as three annotators drew it.

Source: SAM 3 (arXiv 2511.16719); ``facebookresearch/sam3``, ``scripts/eval/gold``, and the data set's card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import CocoFile, read_coco, stated_size
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.phrases import Expression, PhraseItem, ReadPhrases, key_of

FILE = re.compile(r"gold_(?P<subset>.+)_merged_(?P<annotator>[a-z])(?:_release)?_test")
EXHAUSTIVE = "is_instance_exhaustive"
"""Field of an image: whether every object that the phrase fits was drawn."""

EXPECTED = """
  gold_<subset>_merged_{a,b,c}_release_test.json, in the folder or in `gt-annotations`
  the images of MetaCLIP or SA-1B by their names in these files, in the folder or in that of `--images`"""


class SACoGold(Converter):
    """SA-Co/Gold; each of its subsets ("metaclip", "sa1b", "crowded", ...) is a split, and each image is one record.

    An image has several noun phrases. A phrase has the objects of the first annotator (file "a"), and beside them those
    of all others, who need not agree; scores take the annotator who agrees best with an answer. Phrases of which an
    annotator did not draw every object are left out, as in the official evaluation.

    Args:
        source: The folder of the annotation files.
        images: The folder of the images, if that is another folder.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the subsets whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or two are about other phrases.
        """
        files: dict[str, list[Path]] = {}
        for path in (*sorted(self.source.glob("*.json")), *sorted((self.source / "gt-annotations").glob("*.json"))):
            if found := FILE.fullmatch(path.stem):
                files.setdefault(found["subset"], []).append(path)
        if not files:
            raise LayoutError(f"source: {self.source} holds no annotation files of SA-Co/Gold; expected{EXPECTED}")
        return LazySplits({subset: partial(self._split, subset, paths) for subset, paths in files.items()})

    def _split(self, subset: str, paths: Sequence[Path]) -> Split:
        contents = [read_coco(path, image={"file_name": str, "text_input": str}) for path in paths]
        _check_same(contents)
        pairs = [number for number in contents[0].images if _is_exhaustive(contents, number)]
        by_name: dict[str, list[int | str]] = {}
        for number in pairs:
            by_name.setdefault(contents[0].images[number]["file_name"], []).append(number)
        root = self.images or self.source
        items = [_item(name, numbers, contents, root) for name, numbers in by_name.items()]
        notes = []
        if left := len(contents[0].images) - len(pairs):
            notes.append(f"{left} phrases of which not every object was drawn were left out")
        if len(paths) == 1:
            notes.append(f"only the annotator of {paths[0].name} is there; published scores take the best of three")
        manifest = Manifest(
            name=f"sa-co-gold-{subset}",
            unannotated="unknown",
            origin="SA-Co/Gold (facebookresearch/sam3)",
            licence="annotations under Meta's SAM licence; images under the terms of MetaCLIP's sources and SA-1B",
        )
        read = ReadPhrases(manifest, paths[0].name)
        return Split(manifest, items, read, [item.image for item in items], notes, annotations=tuple(paths))


def _check_same(contents: Sequence[CocoFile]) -> None:
    first = contents[0]
    for other in contents[1:]:
        said = {number: image["text_input"] for number, image in other.images.items()}
        if said != {number: image["text_input"] for number, image in first.images.items()}:
            raise LayoutError(f"{other.path}: it has other phrases than {first.path.name}; take all from one release")


def _is_exhaustive(contents: Sequence[CocoFile], number: int | str) -> bool:
    return all(content.images[number].get(EXHAUSTIVE, True) for content in contents)


def _item(name: str, numbers: Sequence[int | str], contents: Sequence[CocoFile], root: Path) -> PhraseItem:
    segmentations: dict[int | str, Any] = {}
    phrases = []
    for number in numbers:
        drawn = []
        for rank, content in enumerate(contents):
            # ids are those of a file, of which there is one for each annotator
            objects = {f"{rank}-{one['id']}": one for one in content.annotations.get(number, ())}
            segmentations |= {key: one.get("segmentation") for key, one in objects.items()}
            drawn.append(tuple(objects))
        text = contents[0].images[number]["text_input"]
        phrases.append(Expression("", number, text, drawn[0], annotators=tuple(drawn[1:])))
    return PhraseItem(
        key_of(name), root / name, tuple(phrases), segmentations, stated_size(contents[0].images[numbers[0]])
    )
