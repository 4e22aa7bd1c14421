"""``lasagna calibrate``: fit the temperature and thresholds of presence scores, and store them with the checkpoint."""

# without `from __future__ import annotations`, whose texts the parser resolves by running the imports for type checkers
from pathlib import Path
from typing import Literal

from lasagna.errors import check_counts
from lasagna.tasks import Task


def calibrate(
    ckpt: Path,
    shards: list[str],
    limit: int = 200,
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
    frozen_check: bool = True,
    broken: Literal["error", "skip"] = "error",
    kind: str | None = None,
    task: Task | None = None,
    decoding: Literal["ordered", "one_pass"] = "ordered",
) -> None:
    """Fit the temperature of presence scores and a threshold for each data set, and store them with the checkpoint.

    The assistant is asked for all names of each data set, in random order, or for all its phrases. Use validation data,
    not the data of the test. ``lasagna predict``, ``lasagna evaluate`` and ``lasagna.load`` read the result; a
    reliability diagram is drawn next to it.

    Args:
        ckpt: A checkpoint that training wrote, or a folder that ``lasagna export`` or ``lasagna import`` wrote.
        shards: Folders of shards with categories, or with phrases or questions if ``kind`` is one of these; or
            addresses of such folders, as in the sources of a config.
        limit: Maximum number of records of each folder.
        batch_size: Images that are answered together.
        device: Where to compute: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        seed: Seed of the order of names.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.
        broken: Whether a record that cannot be used is an error, or is skipped and reported.
        kind: The kind of query that the names are asked by: "categories", as by default, or "instances", "panoptic",
            "instances_by_token" or "panoptic_by_token" for assistants that learned it; "referring" for the phrases of
            the data sets, or "reasoning" for the questions that masks answer; or a kind of your own, by its name if the
            checkpoint learned it, or by the path of its ``QueryKind``.
        task: A task that asks instead, with its own kinds of query, such as that of a user's own file that the
            checkpoint was trained by, e.g. "counting.Counting".
        decoding: Whose scores are fitted: those of the written answer, or with "one_pass" those of the presence head. A
            checkpoint has one calibration, so choose the decoding that it is used with.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        ShardError: If a folder has no shards.
        RecordError: If a record cannot be used and ``broken`` is "error".
        ConfigError: If a number is below 1, or the data does not suffice: too few decisions, or only present or only
            absent names.
        QueryError: If there is no such kind, it decides on nothing, the assistant's prompt format does not have it, a
            task is given too, or the assistant has no presence head for "one_pass".
        LasagnaError: If the device cannot be used.
    """
    check_counts(limit=limit, batch_size=batch_size)
    # not earlier, since the help of the command needs no torch
    from lasagna.cli.calibration_scores import calibrate_scores

    calibrate_scores(ckpt, shards, limit, batch_size, device, seed, frozen_check, broken, kind, task, decoding)
