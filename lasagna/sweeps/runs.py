"""The runs in a folder and their scores."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.sweeps.plan import MARKER

SCORES = "scores.json"

_SEED_FOLDER = re.compile(r"seed_\d+")


@dataclass(frozen=True)
class RunScores:
    """The scores of one run.

    Args:
        name: Its folder within the folder that was searched.
        variant: What it shares with the runs that differ from it by the seed alone.
        scores: Value of each metric; those that are not numbers are left out.
        seed: The seed, as its folder says, or None.
    """

    name: str
    variant: str
    scores: dict[str, float]
    seed: int | None = None


def collect_runs(folder: Path, stage: str) -> tuple[list[RunScores], dict[str, str]]:
    """Find the runs in a folder.

    Args:
        folder: Searched at any depth.
        stage: Which part of the scores: test, validate or fit.

    Returns:
        The runs, and for each file that could not be used the reason.
    """
    places = sorted({file.parent for name in (SCORES, MARKER) for file in folder.rglob(name)})
    runs: list[RunScores] = []
    unread: dict[str, str] = {}
    for place in places:
        name = place.relative_to(folder).as_posix()
        try:
            runs.append(RunScores(name, _variant(place, folder), _scores(place, stage), _seed(place)))
        except (OSError, ValueError) as fault:
            unread[f"{name}/{SCORES}"] = str(fault)
    return runs, unread


def _scores(place: Path, stage: str) -> dict[str, float]:
    file = place / SCORES
    status = _status(place)
    if status not in (None, "finished"):
        raise ValueError(f"the run is not finished but {status}")
    if not file.is_file():
        raise ValueError("there is none")
    content = json.loads(file.read_text(encoding="utf-8"))
    found: Any = content.get("stages", {}) if isinstance(content, dict) else None
    scores = found.get(stage, {}).get("scores") if isinstance(found, dict) else None
    if not isinstance(scores, dict):
        raise ValueError(f"it has no scores of {stage!r}")
    return {name: float(value) for name, value in scores.items() if _is_number(value)}


def _status(place: Path) -> str | None:
    file = place / MARKER
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return str(content.get("status")) if isinstance(content, dict) else "of unknown state"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _seed(place: Path) -> int | None:
    return int(place.name.removeprefix("seed_")) if _SEED_FOLDER.fullmatch(place.name) else None


def _variant(place: Path, folder: Path) -> str:
    named = place.parent if _SEED_FOLDER.fullmatch(place.name) else place
    name = named.relative_to(folder).as_posix() if named.is_relative_to(folder) else named.name
    return folder.name if name == "." else name
