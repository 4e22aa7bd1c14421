"""GranD-f: photographs with captions, of which phrases have masks, the data of GLaMM's grounded conversations.

Source: Rasheed et al., GLaMM (arXiv 2311.03356); ``mbzuai-oryx/groundingLMM``, ``docs/datasets.md``,
``dataset/gcg_datasets`` and ``eval/gcg``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.captions import (
    CaptionText,
    ReadCaptions,
    caption_items,
    find_phrase,
    place_phrases,
)
from lasagna.datamodules.converters.common.coco import stated_size
from lasagna.datamodules.converters.common.entries import check_entries, check_inner, read_json
from lasagna.datamodules.converters.common.files import LayoutError, first_folder

Subset = Literal["human", "openpsg", "refcocog", "flickr30k"]

FILES: dict[str, str] = {
    "human": "GranDf_HA_GCG",
    "openpsg": "OpenPsgGCG",
    "refcocog": "RefCOCOg_GCG",
    "flickr30k": "flickr_mergedGT_GCG",
}
"""Subset to the beginning of its files' names."""

IMAGES = {
    "human": ("GranDf_HA_images/train",),
    "openpsg": ("coco_2017/train2017", "train2017"),
    "refcocog": ("coco_2014/train2014", "train2014"),
    "flickr30k": ("flikcr_30k/train", "flickr_30k/train"),
}
"""Subset to the places of its images."""

TESTED = ("GranDf_HA_images/val_test",)
PHOTOGRAPHS = {"human": "SA-1B", "openpsg": "COCO", "refcocog": "COCO", "flickr30k": "Flickr30k"}
FEWEST = {"flickr30k": 3}
"""Fewest words of a caption, as in GLaMM's code."""

EXPECTED = """
  GranDf/annotations/train/{GranDf_HA_GCG,OpenPsgGCG,RefCOCOg_GCG,flickr_mergedGT_GCG}_{train,val}.json
  GranDf/annotations/val_test/{val,test}_gcg_coco_{caption,mask}_gt.json
  GranDf_HA_images/{train,val_test}, coco_2017/train2017, coco_2014/train2014, flikcr_30k/train, or `--images`"""

Captions = Iterator[tuple[str, CaptionText]]


class GranDf(Converter):
    """One of the four sets of GranD-f; the captions of a photograph are one record.

    "human" was annotated by people for GLaMM and has GLaMM's own val and test; the other three were made from the masks
    of OpenPSG, RefCOCOg and Flickr30k Entities. Phrases keep the place that the data gives them; those of RefCOCOg and
    of val and test are looked for in the caption. A phrase that overlaps the next ends where that begins.

    Args:
        source: The folder that holds ``GranDf`` and the folders of images, or ``GranDf`` itself.
        subset: Which of the sets.
        images: The folder of the images, if it is not in its usual place.
    """

    def __init__(self, source: Path, subset: Subset = "human", images: Path | None = None) -> None:
        self.source = source
        self.subset = subset
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose files exist.

        Raises:
            LayoutError: If there is none, or no such set; later, if one does not have the expected layout.
        """
        if self.subset not in get_args(Subset):
            raise LayoutError(f"subset: expected one of {', '.join(get_args(Subset))}, got {self.subset!r}")
        roots = (self.source / "GranDf" / "annotations", self.source / "annotations")
        folder = first_folder(roots, EXPECTED)
        found: dict[str, Callable[[], Split]] = {}
        for split in ("train", "val"):
            path = folder / "train" / f"{FILES[self.subset]}_{split}.json"
            if path.is_file():
                found[split] = partial(self._trained, path)
        for split in ("val", "test") if self.subset == "human" else ():
            path = folder / "val_test" / f"{split}_gcg_coco_caption_gt.json"
            if path.is_file():
                found[split] = partial(self._tested, path)
        if not found:
            raise LayoutError(f"source: {folder} has no file of {self.subset!r}; expected{EXPECTED}")
        return LazySplits(found)

    def _trained(self, path: Path) -> Split:
        read = {"refcocog": _of_references, "flickr30k": _of_coco}.get(self.subset, _of_groundings)
        content = read_json(path)
        stated = _sizes(content) if self.subset == "flickr30k" else {}
        return self._split(path, IMAGES[self.subset], _checked(read(content, path.name), path), stated)

    def _tested(self, path: Path) -> Split:
        masks = path.with_name(path.name.replace("caption", "mask"))
        captions = _of_both(read_json(path), read_json(masks), path.name)
        return self._split(path, TESTED, _checked(captions, path), {}, masks)

    def _split(
        self,
        path: Path,
        places: tuple[str, ...],
        captions: Captions,
        stated: Mapping[str, tuple[int, int] | None],
        *more: Path,
    ) -> Split:
        roots = (self.source, self.source / "GranDf", self.source.parent)
        usual = [root / place for place in places for root in roots]
        images = first_folder([self.images] if self.images else usual, EXPECTED)
        items = caption_items(images, captions, stated)
        if not items:
            raise LayoutError(f"{path}: it has no caption; unpack it again")
        manifest = Manifest(
            name=f"grandf-{self.subset}",
            unannotated="unknown",
            origin=f"GranD-f (Rasheed et al., GLaMM, arXiv 2311.03356); photographs of {PHOTOGRAPHS[self.subset]}",
            licence=f"annotations under the terms of GranD-f, photographs under those of {PHOTOGRAPHS[self.subset]}",
        )
        reader = ReadCaptions(manifest, path.name, FEWEST.get(self.subset, 1))
        return Split(manifest, items, reader, [item.image for item in items], annotations=(path, *more))


def _checked(captions: Captions, path: Path) -> Captions:
    """Yield captions; turn what is not there, or of another type, into an error that names the file."""
    try:
        for name, caption in captions:
            yield check_inner(name, path.name), caption
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise LayoutError(f"{path}: not a file of captions in GranD-f's form ({error!r}); unpack it again") from error


def _of_groundings(content: Any, file: str) -> Captions:  # noqa: ANN401
    """Yield the captions of a file in GLaMM's own form: a list of captions, each with the places of its phrases."""
    check_entries(content, {"file_name": str, "caption": str, "groundings": dict}, file)
    for entry in content:
        phrases = []
        for grounding in entry["groundings"].values():
            begin, end = grounding["token_positives"]
            phrases.append(((int(begin), int(end)), _masks(grounding["rle_masks"])))
        yield entry["file_name"], place_phrases(_stripped(entry["caption"]), phrases, f"{file}: {entry['file_name']}")


def _of_references(content: Any, file: str) -> Captions:  # noqa: ANN401
    """Yield the captions of RefCOCOg: phrases by their words, with polygons."""
    entries = [entry for part in content for entry in part.values()]
    check_entries(entries, {"img_file_name": str, "caption": str, "refs": list}, file)
    for entry in entries:
        text = _stripped(entry["caption"])
        phrases = [(find_phrase(text, one["sentence"]), (_polygons(one["segmentation"]),)) for one in entry["refs"]]
        yield entry["img_file_name"], place_phrases(text, phrases, f"{file}: {entry['img_file_name']}")


def _of_coco(content: Any, file: str) -> Captions:  # noqa: ANN401
    """Yield the captions of Flickr30k: images of COCO's form with a caption each, annotations with places and masks."""
    check_entries(content["images"], {"id": (int, str), "file_name": str, "caption": str}, f"{file}: images")
    check_entries(content["annotations"], {"image_id": (int, str), "tokens_positive": list}, f"{file}: annotations")
    boxes: defaultdict[Any, list[Any]] = defaultdict(list)
    for annotation in content["annotations"]:
        if not annotation.get("ignore"):
            boxes[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        phrases = []
        for annotation in boxes[image["id"]]:
            begin, end = annotation["tokens_positive"][0]
            phrases.append(((int(begin), int(end)), (annotation["sam_mask"],)))
        yield image["file_name"], place_phrases(image["caption"], phrases, f"{file}: {image['file_name']}")


def _of_both(captions: Any, masks: Any, file: str) -> Captions:  # noqa: ANN401
    """Yield the captions of val and test: COCO's form, phrases in one file and their masks in order in another."""
    check_entries(captions["annotations"], {"image_id": (int, str), "caption": str, "labels": list}, file)
    check_entries(masks["annotations"], {"image_id": (int, str)}, f"{file}: masks")
    names = {image["id"]: image.get("file_name") or f"{image['id']}.jpg" for image in captions["images"]}
    drawn: defaultdict[Any, list[Any]] = defaultdict(list)
    for annotation in masks["annotations"]:
        drawn[annotation["image_id"]].append(annotation["segmentation"])
    for entry in captions["annotations"]:
        text, found = _stripped(entry["caption"]), drawn[entry["image_id"]]
        if len(found) != len(entry["labels"]):
            raise ValueError(
                f"image {entry['image_id']} has {len(entry['labels'])} phrases and {len(found)} masks, which belong "
                "together in their order"
            )
        phrases = [(find_phrase(text, label), (mask,)) for label, mask in zip(entry["labels"], found, strict=True)]
        name = names[entry["image_id"]]
        yield name, place_phrases(text, phrases, f"{file}: {name}")


def _stripped(text: str) -> str:
    return text.strip('"').strip()


def _masks(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list):
        raise TypeError(f"rle_masks: expected a list, got {str(value)[:40]}")
    return tuple(value)


def _polygons(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, list | dict):
        raise TypeError(f"segmentation: expected polygons, got {str(value)[:40]}")
    return value


def _sizes(content: Any) -> dict[str, tuple[int, int] | None]:  # noqa: ANN401
    images = content["images"] if isinstance(content, dict) and isinstance(content.get("images"), list) else []
    return {
        image["file_name"]: stated_size(image)
        for image in images
        if isinstance(image, dict) and isinstance(image.get("file_name"), str)
    }
