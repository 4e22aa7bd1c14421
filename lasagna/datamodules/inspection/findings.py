"""Findings of an inspection: their kinds, what each means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

LONG = 3000
"""Number of characters from which a text is reported: 1,024 tokens, which also hold the image, take fewer."""

MEANINGS = {
    "broken shards": "shards that are missing or differ from what was written; copy or convert them again",
    "broken records": "records that cannot be read; convert again, or skip them with `--data.broken skip`",
    "wrong sizes": "records that state another size than their image has; convert them again",
    "turned images": (
        "images whose EXIF tag turns them, though masks belong to the pixels as stored; if masks were drawn on the "
        "image as viewers show it, convert again (`--exif seen`), else remove the tag"
    ),
    "empty masks": "masks and objects without a single pixel, which no query asks for; draw them again, or remove them",
    "masks outside the image": "masks that extend beyond the image and are cropped; check that they belong to it",
    "present and absent": "names that are both annotated and listed as absent on the same image; remove one of the two",
    "tokens in texts": (
        "texts that contain a token of a prompt format or language model, such as <image>; such a record ends a "
        "training, or is skipped with `--data.broken skip`; reword them"
    ),
    "long texts": (
        f"questions with their answers, phrases and names of more than {LONG} characters, which few language models "
        "take; such a record ends a training, or is skipped with `--data.broken skip`; shorten them"
    ),
    "doubled images": "the same image file under two keys of one split; merge the records, or remove one",
    "doubled keys": "several records of one key in a folder, of which readers may take either; rename or remove one",
    "unused names": "names of the manifest that occur on no image; they can only be absent",
    "names that cannot be asked for": (
        "names with a separator or token of a prompt format, such as a comma; rename them and convert again"
    ),
    "clashing names": (
        "names that differ only by case, hyphens or an ending, so that answers cannot tell them apart; rename one, or "
        "merge them"
    ),
    "aliases that are names": "aliases of a category that are names of another category; remove the alias",
    "images in several splits": (
        "the same image file in a training and an evaluation split, so that scores reward memorisation; remove it from "
        "one of them"
    ),
    "photographs in several splits": (
        "the same COCO photograph, by number, in a training and an evaluation split; remove it from one of them"
    ),
    "equal masks": "names of one image that have the same pixels; synonyms, or two names for one thing: check them",
    "equal objects": "objects of one name that have the same pixels and count as two; draw one again, or remove it",
    "nothing to ask for": "no image has a mask, a phrase or a question; boxes are none: draw masks, or drop the split",
    "shared images": "images that two training splits have in common, or two evaluation splits",
}
"""Kinds of findings: what they mean, and what to do about them."""

NOTES = ("unused names", "equal masks", "nothing to ask for", "shared images")
"""Kinds that are good to know but not errors: every part of a data set has some."""


@dataclass(frozen=True)
class Finding:
    """A problem in some shards, or a note about them.

    Args:
        kind: One of ``MEANINGS``.
        where: What it concerns.
        count: Number of cases it stands for, e.g. of images that two folders share.
    """

    kind: str
    where: str
    count: int = 1
