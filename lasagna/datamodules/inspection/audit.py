"""Findings about names, about what a conversion cropped, and about images that several folders share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

from lasagna.core.prompt_format import normalise
from lasagna.core.prompt_formats import name_error
from lasagna.core.record import Manifest
from lasagna.datamodules.inspection.findings import Finding
from lasagna.datamodules.inspection.store import MOST, Store
from lasagna.datamodules.inspection.survey import Survey
from lasagna.datamodules.shards.folder import ShardFolder
from lasagna.datamodules.shards.tally import BEYOND, WriteStats

EVALUATION = re.compile(r"(mini|hard)?(val|test|dev)", re.IGNORECASE)
"""Start of the names of evaluation splits; all others are for training."""


def audit_names(manifest: Manifest, survey: Survey) -> list[Finding]:
    """Return the findings about the names of a data set.

    Args:
        manifest: Its manifest.
        survey: Counts of its records.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in manifest.categories:
        alike[_stem(name)].append(name)
    findings = [Finding("clashing names", ", ".join(names)) for names in alike.values() if len(names) > 1]
    own = set(map(normalise, manifest.categories))
    findings += [
        Finding("aliases that are names", f"{alias!r} of {name!r}")
        for name, others in manifest.aliases.items()
        for alias in others
        if normalise(alias) in own - {normalise(name)}
    ]
    findings += [Finding("names that cannot be asked for", name) for name in manifest.categories if name_error(name)]
    return findings + [Finding("unused names", name) for name in manifest.categories if not survey.images[name]]


def audit_tally(tally: WriteStats) -> list[Finding]:
    """Return findings about masks that the conversion cropped, which the shards no longer show, and about no masks.

    Args:
        tally: The counts of the conversion.
    """
    count = tally.left_out.get(BEYOND, 0)
    where = f"{count} in the conversion (e.g. {'; '.join(tally.examples.get(BEYOND, ()))})"
    bare = [Finding("nothing to ask for", f"{tally.taken} images")] if tally.taken and tally.is_bare else []
    return bare + ([Finding("masks outside the image", where, count)] if count else [])


def audit_overlap(store: Store, folders: Mapping[ShardFolder, int]) -> list[Finding]:
    """Return a finding for each pair of folders that share images: the same file, or the same COCO photograph.

    An image in a training and an evaluation split is a leak; a folder's name tells which of the two it is. RefCOCO has
    photographs of COCO's train2014 under other names, which also occur in train2017 and val2017; the number in the file
    name is the same.

    Args:
        store: What was found.
        folders: Number of each folder in the store.
    """
    findings = []
    for (first, one), (second, other) in combinations(folders.items(), 2):
        equal, photographs = (store.shared(column, one, other) for column in ("digest", "photograph"))
        if _is_evaluation(first) == _is_evaluation(second):
            found = {"shared images": (sorted(equal[0] + photographs[0]), equal[1] + photographs[1])}
        else:
            found = {"images in several splits": equal, "photographs in several splits": photographs}
        for kind, (keys, count) in found.items():
            if count:
                shown = ", ".join(keys[:MOST]) + (", ..." if count > MOST else "")
                findings.append(Finding(kind, f"{count} of {first} and {second}: {shown}", count))
    return findings


def _is_evaluation(folder: ShardFolder) -> bool:
    return EVALUATION.match(re.split(r"[/\\]", str(folder).rstrip("/\\"))[-1]) is not None


def _stem(name: str) -> str:
    """Return a form that equivalent names share, such as "Traffic-Lights" and "traffic light"."""
    words = re.sub(r"[\W_]+", " ", normalise(name)).split()
    return " ".join(word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in words)
