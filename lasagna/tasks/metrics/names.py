"""The names of scores: the quantity, the rule by which it is measured, and the part of the answers that is scored.

A key reads ``quantity/protocol`` or, for a part of the answers, ``quantity/protocol/part``: ``miou/lasagna-v1``,
``giou/grefcoco``, ``presence_f1/lasagna-v1/free``, ``vqa_accuracy/lasagna-v1/number``. Quantities are written with
underscores, protocols and parts with hyphens. The part ``free`` comes first and means that the answers were decoded
freely, ``one-pass`` that a presence head decided; without either, lists of categories were decoded in the known order.
Teacher-forced answers have a protocol of their own. When a rule changes, its protocol gets a new version, so that
numbers with the same key are always comparable.

Keys are columns in CSV and JSON and names for loggers. If one is part of a checkpoint's file name, set
``auto_insert_metric_name=False``, as Lightning requires for names with a slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

PROTOCOLS: dict[str, str] = {
    "lasagna-v1": "This package's own rules, which the docstring of each metric states in full.",
    "grefcoco": "Generalised referring segmentation: phrases may fit nothing (Liu et al., GRES, arXiv 2306.00968).",
    "sesame": "Phrases with true and false premises (Wu et al., See, Say, and Segment, arXiv 2312.08366).",
    "ref-zom": "Phrases that fit no, one or many things (Hu et al., Beyond One-to-One, ICCV 2023).",
    "r-ris": "True and wrong phrases about each object (Wu et al., Robust Referring Segmentation, arXiv 2209.09554).",
    "muse": "Questions that several things answer, each with a mask of its own (Ren et al., PixelLM, CVPR 2024).",
    "coco": "Instance segmentation as COCO counts it, by its own code (Lin et al., ECCV 2014; pycocotools).",
    "coco-panoptic": "Panoptic segmentation as COCO counts it (Kirillov et al., CVPR 2019; panopticapi).",
    "sa-co": "Objects of a name where the name may fit nothing, as SA-Co counts them (SAM 3, arXiv 2511.16719).",
    "hallusegbench": "Pairs of images in which one thing was exchanged (Li et al., HalluSegBench, arXiv 2506.21546).",
    "hallusegbench-drawn": "HalluSegBench's rule on drawn scenes and twins of them with one other thing.",
    "hallusegbench-pasted": "HalluSegBench's rule on images and twins with an object of another image pasted over one.",
    "glamm": "Captions with masks for their phrases as GLaMM's script counts them (Rasheed et al., arXiv 2311.03356).",
    "mmseg": "Mean IoU over labelled pixels only, as the toolbox MMSegmentation counts it.",
    "reference": "Mean IoU as LaSagnA's released script counts it: unassigned pixels belong to the first category.",
    "lisa": "Referring and reasoning segmentation with one mask a query (Lai et al., LISA, arXiv 2308.00692).",
    "teacher-forced": "As lisa, for masks of answers that are given to the model, not generated (LISA's script).",
}
"""Every protocol id with what it stands for."""

PUBLISHED: dict[str, str] = {
    "grefcoco": "ReLA, GSVA, CoHD, UniRES++",
    "sesame": "SESAME, READ",
    "ref-zom": "DMMI, CoHD",
    "r-ris": "RefSegformer, CoHD",
    "muse": "PixelLM",
    "coco": "Mask R-CNN, Mask2Former",
    "coco-panoptic": "Panoptic FPN, Mask2Former",
    "sa-co": "SAM 3, and beside it OWLv2, DINO-X, Gemini 2.5",
    "hallusegbench": "RobustSeg, GLaMM",
    "glamm": "GLaMM, OMG-LLaVA",
    "mmseg": "SegFormer and others trained with MMSegmentation",
    "reference": "LaSagnA",
    "lisa": "LISA, LLM-Seg, READ (the mask token is given to some of them)",
    "teacher-forced": "LISA, LaSagnA, PixelLM, and M2SA on MMR",
}
"""Protocol id to published systems that are scored by it, as their papers say or the repositories of their authors."""


@dataclass(frozen=True)
class Quantity:
    """What a score measures.

    Args:
        text: Description in a few words.
        higher_is_better: Direction; None if nobody says which is better.
        upper: Upper bound; the lower bound is 0.
    """

    text: str
    higher_is_better: bool | None = True
    upper: float = 1.0


ARROWS = {True: "↑", False: "↓", None: ""}
"""Which direction is better, to its sign."""

QUANTITIES: dict[str, Quantity] = {
    "agreement": Quantity("share of names that a presence head decides as the written answer does"),
    "ap": Quantity("mean over categories and IoU thresholds from 0.5 to 0.95 of the average precision of objects"),
    "ap50": Quantity("the same at the IoU threshold 0.5"),
    "ap75": Quantity("the same at the IoU threshold 0.75"),
    "ar": Quantity("mean over categories and IoU thresholds from 0.5 to 0.95 of the share of objects that were found"),
    "bleu": Quantity("BLEU of the words of captions, with up to four words in a row"),
    "cgf1": Quantity("100 times the product of image-level Matthews correlation and F1 of objects", upper=100.0),
    "ccms": Quantity("mean over pairs of factual by counterfactual confusion mask score", None, upper=float("inf")),
    "cider": Quantity("CIDEr-D of the words of captions: groups of words in common, the rarer the more", upper=10.0),
    "ciou": Quantity("cumulative IoU: summed intersection by summed union"),
    "cms_counterfactual": Quantity(
        "confusion mask score of what was exchanged, on the twin: pixels answered, three times those on the new thing",
        higher_is_better=False,
        upper=float("inf"),
    ),
    "cms_factual": Quantity(
        "confusion mask score of what the twin has, on the image: pixels answered, three times those on the thing",
        higher_is_better=False,
        upper=float("inf"),
    ),
    "complete_in_order": Quantity("share of answers that name the entire query, in order and without a fault"),
    "delta_iou_textual": Quantity("IoU of a thing minus that of the name of its exchange, on its image, from -1 to 1"),
    "delta_iou_visual": Quantity("IoU of a thing minus that of its name on the twin without it, from -1 to 1"),
    "false_positive_rate": Quantity("share of absent names that were called present", higher_is_better=False),
    "faults": Quantity("number of faults in answers", higher_is_better=False, upper=float("inf")),
    "giou": Quantity("mean IoU over phrases"),
    "il_mcc": Quantity("Matthews correlation of presence and presence decisions, from -1 to 1"),
    "iou_factual": Quantity("mean IoU of the things that are exchanged in the twins"),
    "image_accuracy": Quantity("share of phrases that fit nothing answered without a pixel"),
    "mask_recall": Quantity("share of true phrases that a phrase with a similar mask and similar words finds"),
    "matched_iou": Quantity("mean over images of the mean IoU of phrases matched by their masks"),
    "mean_accuracy": Quantity("mean over categories of the share of their pixels that were recognised"),
    "miou": Quantity("mean IoU over categories"),
    "miou_objects": Quantity("mean over objects of the mean IoU of the phrases that fit them"),
    "n_acc": Quantity("share of phrases that fit nothing answered with nothing"),
    "object_count_accuracy": Quantity("share of names of which the right number of objects was found"),
    "pair_accuracy": Quantity("share of pairs of image and twin of which all four decisions about presence are right"),
    "pixel_accuracy": Quantity("share of pixels of a category that were recognised"),
    "pmf1": Quantity("micro F1 of objects on images that have some, mean over IoU thresholds from 0.5 to 0.95"),
    "pq": Quantity("panoptic quality: product of segmentation and recognition quality, mean over categories"),
    "presence_auroc": Quantity("area under the ROC curve of presence scores, which needs no threshold; 0.5 by chance"),
    "presence_f1": Quantity("harmonic mean of presence precision and recall"),
    "presence_precision": Quantity("share of names called present that are present"),
    "presence_recall": Quantity("share of present names that were called present"),
    "rejection": Quantity("mean over objects of the share of wrong phrases about them answered with nothing"),
    "riou": Quantity("mean over objects of their IoU, to which pixels answered to wrong phrases are added"),
    "rq": Quantity("recognition quality: F1 of segments, mean over categories"),
    "see": Quantity("share of phrases rightly decided to fit something or nothing"),
    "sq": Quantity("segmentation quality: mean IoU of matched segments, mean over categories"),
    "t_acc": Quantity("share of phrases that fit something answered with something"),
    "vqa_accuracy": Quantity("share of questions answered right"),
}
"""Every quantity with its direction and range; those of further metrics are added by ``register_quantity``."""

PACKAGE_QUANTITIES = frozenset(QUANTITIES)
"""Names of the quantities of the package; further metrics bring others."""


def register_quantity(name: str, quantity: Quantity) -> None:
    """Add a quantity, or replace one that was added before; ``DialogueMetric`` does this for its subclasses.

    Args:
        name: Name of the quantity, a word in lower case with underscores.
        quantity: Its description and direction.

    Raises:
        ValueError: If the name cannot be part of a key, or belongs to the package with another meaning.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"quantities: {name!r} must be lower-case letters, digits and underscores")
    if name in PACKAGE_QUANTITIES and QUANTITIES[name] != quantity:
        raise ValueError(f"quantities: {name!r} is a quantity of the package ({QUANTITIES[name].text}); choose another")
    QUANTITIES[name] = quantity


def score_key(quantity: str, protocol: str, *parts: str) -> str:
    """Return the key of a score.

    Args:
        quantity: The quantity, one of ``QUANTITIES``.
        protocol: The rule, one of ``PROTOCOLS`` or an id of your own.
        parts: The part of the answers that is scored, if not all of them are.

    Raises:
        ValueError: If the quantity is unknown, or a piece is empty or contains a slash or a dot.
    """
    if quantity not in QUANTITIES:
        raise ValueError(
            f"quantity: {quantity!r} is not one of {sorted(QUANTITIES)}; describe it in `quantities` of the metric"
        )
    for piece in (protocol, *parts):
        if not piece or "/" in piece or "." in piece:
            raise ValueError(f"protocol or part: {piece!r} must not be empty or contain '/' or '.'")
    return "/".join((quantity, protocol, *parts))


WAYS: dict[str, tuple[str, ...]] = {"free": ("free",), "one_pass": ("one-pass",)}
"""Decoding to the parts of a key that say it."""

OWN_PROTOCOL = "lasagna-v1"
SOME_ASKED = "some-asked"
"""Last part of a benchmark's score if only some of the phrases or questions of a record were asked."""


def key_of_some(key: str) -> str:
    """Return the key of a score for which not everything was asked that its benchmark asks.

    Args:
        key: The key; those of the package's own protocol stay as they are.
    """
    return key if key.split("/")[1:2] == [OWN_PROTOCOL] else f"{key}/{SOME_ASKED}"


def quantity_of(key: str) -> Quantity:
    """Return what a key measures; a stage and a source may precede it (``val/scenes/miou/lasagna-v1``).

    Raises:
        KeyError: If no piece of the key is a known quantity.
    """
    for piece in key.split("/"):
        if piece in QUANTITIES:
            return QUANTITIES[piece]
    raise KeyError(f"{key!r} names none of the quantities {sorted(QUANTITIES)}")


_LENGTH = re.compile(r"names-(?P<first>\d+)(?:-(?P<last>\d+|up))?")
_FREE = "free"


@dataclass(frozen=True, order=True)
class Length:
    """Number of names in a list, or a range of it.

    Args:
        first: The number, or the lowest of the range.
        label: How it is shown: "4", "1-4" or "9-up".
    """

    first: int
    label: str

    @property
    def exact(self) -> bool:
        """Whether it is one length rather than a range."""
        return self.label.isdigit()


@dataclass(frozen=True)
class ScoreName:
    """The parts of a score's name.

    Args:
        stage: The stage, such as "test"; "" if there is none.
        source: Name of the source; "" if there is none.
        quantity: The quantity with its protocol.
        free: Whether answers were decoded freely.
        group: Further parts, such as a kind of answer.
    """

    stage: str
    source: str
    quantity: str
    free: bool = False
    group: str = ""

    @classmethod
    def parse(cls, name: str) -> ScoreName:
        """Split a name into its parts."""
        parts = name.split("/")
        if len(parts) < 3:
            return cls("/".join(parts[:-1]), "", parts[-1])
        stage, source, *rest = parts
        group = [part for part in rest[2:] if part != _FREE]
        return cls(stage, source, "/".join(rest[:2]), _FREE in rest[2:], "/".join(group))

    @property
    def is_fault(self) -> bool:
        """Whether it counts faults in the format of answers."""
        return self.quantity.split("/")[0] == "faults"

    @property
    def is_length_group(self) -> bool:
        """Whether it covers only lists of some lengths."""
        return any(_LENGTH.fullmatch(part) for part in self.group.split("/"))

    def by_length(self) -> tuple[ScoreName, Length] | None:
        """Separate the length of the list from the name; None if the name has no length.

        A length is the name of a source (``names-04``) or a group within one (``names-1-4``, ``names-9-up``).
        """
        if found := _LENGTH.fullmatch(self.source):
            return replace(self, source=""), _length(found)
        parts = self.group.split("/")
        for place, part in enumerate(parts):
            if found := _LENGTH.fullmatch(part):
                return replace(self, group="/".join(parts[:place] + parts[place + 1 :])), _length(found)
        return None


def _length(found: re.Match[str]) -> Length:
    first = int(found["first"])
    return Length(first, str(first) if found["last"] is None else f"{first}-{found['last']}")
