"""What is wrong with names, and what several folders have in common that they should not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules.reading import BEYOND, Tally
from lasagna.datamodules.shard_folder import ShardFolder
from lasagna.inspecting.findings import Finding
from lasagna.inspecting.survey import Survey

MOST = 20
"""How many images that two folders share are named."""

EVALUATION = re.compile(r"(mini|hard)?(val|test|dev)", re.IGNORECASE)
"""How the names of splits begin that scores are made on; all others are trained on."""


def audit_names(manifest: Manifest, survey: Survey) -> list[Finding]:
    """Return what is wrong with the names of a data set.

    Args:
        manifest: Its manifest.
        survey: What its records hold.
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
    return findings + [Finding("unused names", name) for name in manifest.categories if not survey.images[name]]


def audit_tally(tally: Tally) -> list[Finding]:
    """Return what the conversion cut off of masks, which the shards themselves no longer show.

    Args:
        tally: What was counted when the shards were written.
    """
    count = tally.left_out.get(BEYOND, 0)
    where = f"{count} in the conversion (e.g. {'; '.join(tally.examples.get(BEYOND, ()))})"
    return [Finding("masks outside the image", where, count)] if count else []


def audit_overlap(surveys: Mapping[ShardFolder, Survey]) -> list[Finding]:
    """Return the images that several folders share: the same file, or the same photograph of COCO.

    What a training and an evaluation split share is a leak; which a folder is, its name says. RefCOCO has photographs
    of COCO's train2014 under other names, which are in train2017 and val2017 as well; the number in the file's name is
    the same.

    Args:
        surveys: What the records of each folder hold.
    """
    findings = []
    for (first, one), (second, other) in combinations(surveys.items(), 2):
        images = {one.contents[content] for content in set(one.contents) & set(other.contents)}
        photographs = {one.photographs[number] for number in set(one.photographs) & set(other.photographs)} - images
        if _evaluates(first) == _evaluates(second):
            found = {"shared images": images | photographs}
        else:
            found = {"images in several splits": images, "photographs in several splits": photographs}
        for kind, keys in found.items():
            shown = ", ".join(sorted(keys)[:MOST]) + (", ..." if len(keys) > MOST else "")
            findings += [Finding(kind, f"{len(keys)} of {first} and {second}: {shown}", len(keys))] if keys else []
    return findings


def _evaluates(folder: ShardFolder) -> bool:
    return EVALUATION.match(re.split(r"[/\\]", str(folder).rstrip("/\\"))[-1]) is not None


def _stem(name: str) -> str:
    """Return what names that mean the same have in common: "Traffic-Lights" and "traffic light"."""
    words = re.sub(r"[\W_]+", " ", normalise(name)).split()
    return " ".join(word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in words)
