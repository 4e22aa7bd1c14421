"""What an audit finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MEANINGS = {
    "broken shards": "shards that are missing, or are not what was written; copy or convert them again",
    "broken records": "records that cannot be read; convert again, or skip them by `--data.broken skip`",
    "wrong sizes": "records whose image has another size than they say; convert them again",
    "empty masks": "annotations without a pixel, which nothing asks for; draw them again, or take them out",
    "masks outside the image": "masks that reach beyond the border, where they are cut off; look whether they fit it",
    "present and absent": "names that are annotated, and noted as absent, on the same image; take one of the two out",
    "doubled images": "the same image file under two keys of one split; make one record of both, or take one out",
    "unused names": "names of the manifest that are on no image; they can only ever be absent",
    "clashing names": (
        "names that differ by case, hyphens or an ending alone, so that answers cannot tell them apart; rename one, or "
        "make one of them"
    ),
    "aliases that are names": "other names of a category that are a category's own name; take the alias out",
    "images in several splits": (
        "the same image file where one trains and where one scores, so that a score tells what was learned by heart; "
        "take it out of one of them"
    ),
    "photographs in several splits": (
        "the same photograph of COCO, by number, where one trains and where one scores; take it out of one of them"
    ),
    "shared images": "images that two training splits have in common, or two evaluation splits",
}
"""Kinds of findings, what they mean, and the way out."""

NOTES = ("unused names", "shared images")
"""Kinds that one should know of, and that are no fault: every part of a data set has some."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that one should know.

    Args:
        kind: One of ``MEANINGS``.
        where: What it is about.
        count: How many of its kind it stands for, e.g. images that two folders share.
    """

    kind: str
    where: str
    count: int = 1


def by_kind(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Return kind to places, in the order of ``MEANINGS``."""
    found: dict[str, list[str]] = {kind: [] for kind in MEANINGS}
    for finding in findings:
        found[finding.kind].append(finding.where)
    return {kind: places for kind, places in found.items() if places}


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many there are of each kind, in the order of ``MEANINGS``."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.kind] += finding.count
    return {kind: counts[kind] for kind in MEANINGS if counts[kind]}
