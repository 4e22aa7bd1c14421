"""The names of scores, all in one place: what is measured, by which rule, and on what part of the answers.

A key reads ``quantity/protocol`` and, where only a part is scored, ``quantity/protocol/part``: ``miou/lasagna-v1``,
``giou/grefcoco``, ``presence_f1/lasagna-v1/free``, ``vqa_accuracy/lasagna-v1/number``. A quantity is written with
underscores, a protocol and a part with hyphens. Of the parts, ``free`` comes first and says that the answers were
decoded freely; without it complex queries were decoded in the known order. Answers that were given to the model, and
not decoded, have a protocol of their own. A rule that changes gets a new version, so
that numbers with the same key can always be compared.

Keys are plain columns in CSV and JSON and plain names for loggers. Where one stands in a checkpoint's file name, set
``auto_insert_metric_name=False``, as Lightning asks for all names with a slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

PROTOCOLS: dict[str, str] = {
    "lasagna-v1": "This package's own rules, which the docstring of each metric states in full.",
    "grefcoco": "Generalised referring segmentation: phrases may fit nothing (Liu et al., GRES, arXiv 2306.00968).",
    "mmseg": "Mean IoU over labelled pixels alone, as the toolbox MMSegmentation counts it.",
    "reference": "Mean IoU as LaSagnA's released script counts it: what is nobody's is the first category.",
    "lisa": "Referring and reasoning segmentation with one mask a query (Lai et al., LISA, arXiv 2308.00692).",
    "teacher-forced": "As lisa, over masks of answers that were given to the model, not written by it (LISA's script).",
}
"""Every protocol id with what it stands for."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured.

    Args:
        text: What it is, in a few words.
        higher_is_better: Its direction.
        upper: The most it can be; the least is 0.
    """

    text: str
    higher_is_better: bool = True
    upper: float = 1.0


QUANTITIES: dict[str, Quantity] = {
    "ciou": Quantity("cumulative IoU: summed intersection by summed union"),
    "complete_in_order": Quantity("share of answers that name everything asked, in order and without a fault"),
    "false_positive_rate": Quantity("share of absent names that were called present", higher_is_better=False),
    "faults": Quantity("number of faults in answers", higher_is_better=False, upper=float("inf")),
    "giou": Quantity("mean IoU over phrases"),
    "mean_accuracy": Quantity("mean over categories of the share of their pixels that were recognised"),
    "miou": Quantity("mean IoU over categories"),
    "n_acc": Quantity("share of phrases that fit nothing answered with nothing"),
    "pixel_accuracy": Quantity("share of pixels of a category that were recognised"),
    "presence_f1": Quantity("harmonic mean of presence precision and recall"),
    "presence_precision": Quantity("share of names called present that are"),
    "presence_recall": Quantity("share of present names that were called present"),
    "t_acc": Quantity("share of phrases that fit something answered with something"),
    "vqa_accuracy": Quantity("share of questions answered right"),
}
"""Every quantity with its direction and range."""


def score_key(quantity: str, protocol: str, *parts: str) -> str:
    """Return the key of a score.

    Args:
        quantity: What is measured, one of ``QUANTITIES``.
        protocol: By which rule, one of ``PROTOCOLS`` or an id of the user's own.
        parts: What part of the answers is scored, if not all.

    Raises:
        ValueError: If the quantity is unknown or a piece is empty or holds a slash or a dot.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: {quantity!r} is not one of {sorted(QUANTITIES)}; add it there with its direction")
    for piece in (protocol, *parts):
        if not piece or "/" in piece or "." in piece:
            raise ValueError(f"protocol or part: {piece!r} must be one word or more, without '/' or '.'")
    return "/".join((quantity, protocol, *parts))


def quantity_of(key: str) -> Quantity:
    """Return what a key measures, also if a stage or source stands before it (``val/scenes/miou/lasagna-v1``).

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
    """How many names a list has, or from how many to how many.

    Args:
        first: Names of the list, or of the shortest list of a group.
        label: As shown: "4", "1-4" or "9-up".
    """

    first: int
    label: str

    @property
    def exact(self) -> bool:
        """Whether it is one length rather than a group of them."""
        return self.label.isdigit()


@dataclass(frozen=True)
class ScoreName:
    """The parts of a score's name.

    Args:
        stage: Such as test; "" if there is none.
        source: Name of the source; "" if there is none.
        quantity: What was measured, with its protocol.
        free: Whether answers were decoded freely.
        group: What else tells it apart, such as a kind of answer.
    """

    stage: str
    source: str
    quantity: str
    free: bool = False
    group: str = ""

    @classmethod
    def parse(cls, name: str) -> ScoreName:
        """Take a name apart."""
        parts = name.split("/")
        if len(parts) < 3:
            return cls("/".join(parts[:-1]), "", parts[-1])
        stage, source, *rest = parts
        group = [part for part in rest[2:] if part != _FREE]
        return cls(stage, source, "/".join(rest[:2]), _FREE in rest[2:], "/".join(group))

    @property
    def is_fault(self) -> bool:
        """Whether it counts how answers broke the format."""
        return self.quantity.split("/")[0] == "faults"

    @property
    def is_length_group(self) -> bool:
        """Whether it is about the lists of some lengths within a source."""
        return any(_LENGTH.fullmatch(part) for part in self.group.split("/"))

    def by_length(self) -> tuple[ScoreName, Length] | None:
        """Return the name without the length of the list, and the length; None if it is not about one.

        A length is the name of a source (``names-04``) or a group within it (``names-1-4``, ``names-9-up``).
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
