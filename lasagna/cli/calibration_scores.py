"""What ``lasagna calibrate`` does: collect presence scores and their truth, and fit temperature and thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.console import Console
from rich.progress import track

from lasagna.cli.calibration_queries import CalibrationQueries
from lasagna.cli.kinds import find_kind
from lasagna.core.batch import Query
from lasagna.core.device import find_device
from lasagna.core.dialogue import Decoding
from lasagna.core.storage import check_output
from lasagna.datamodules import ShardDataModule, Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.sample import not_skipped
from lasagna.errors import CheckpointError, ConfigError, RecordError
from lasagna.modules.checkpoints.calibration import ALL, Calibration, calibration_file, checksum, write_calibration
from lasagna.modules.checkpoints.hub import local_copy
from lasagna.modules.checkpoints.load import load
from lasagna.modules.contract import check_queries
from lasagna.tasks import Task
from lasagna.tasks.evaluation.calibration import (
    Scores,
    Truth,
    calibration_error,
    draw_reliability,
    f1,
    fit_temperature,
    fit_threshold,
    is_highest,
    is_lowest,
    negative_log_likelihood,
    scaled,
)
from lasagna.tasks.training.source_scores import answer

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant

FEWEST = 20
"""Minimum number of decisions to calibrate on."""


def calibrate_scores(
    ckpt: Path,
    shards: Sequence[str],
    limit: int,
    batch_size: int,
    device: str,
    seed: int,
    frozen_check: bool,
    broken: Literal["error", "skip"],
    kind: str | None,
    task: Task | None,
    decoding: Literal["ordered", "one_pass"],
) -> None:
    """Calibrate a checkpoint; arguments and errors are those of ``lasagna calibrate``."""
    _check_own(ckpt)
    chosen = "categories" if kind is None and task is None else kind
    queries = CalibrationQueries(None if chosen is None else find_kind("kind", chosen, ckpt), task)
    check_output(calibration_file(ckpt).parent, "ckpt")
    sources = [queries.source(folder) for folder in shards]
    sets = [source.manifest.name for source in sources]
    assistant = load(ckpt, calibrated=False, frozen_check=frozen_check).to(find_device(device))
    check_queries(assistant, [Query(0, asked, ("name",)) for asked in queries.kinds], decoding)
    found: dict[str, tuple[Scores, Truth]] = {}
    for name, source in zip(sets, sources, strict=True):
        scores, present = collect(assistant, source, limit, batch_size, seed, broken, queries.strategies, decoding)
        before = found.get(name, (np.zeros(0), np.zeros(0, bool)))
        found[name] = (np.concatenate([before[0], scores]), np.concatenate([before[1], present]))
    calibration = replace(fit(found, checksum(ckpt)), decoding=decoding)
    path = write_calibration(calibration, ckpt)
    picture = path.with_suffix(".png")
    draw_reliability(found, picture, calibration.temperature)
    lines = [f"temperature {calibration.temperature:.3f}"]
    lines += [
        f"{name}: threshold {calibration.thresholds[name]:.3f}, F1 {figures['f1_before']:.3f} -> {figures['f1']:.3f}, "
        f"calibration error {figures['calibration_error_before']:.3f} -> {figures['calibration_error']:.3f}"
        for name, figures in calibration.figures.items()
    ]
    Console().print("\n".join([*lines, f"written to {path} and {picture.name}"]), highlight=False, soft_wrap=True)


def _check_own(ckpt: Path) -> None:
    """Check that a calibration can be written beside a checkpoint, which the hub's cache is not for."""
    if local_copy(ckpt) != ckpt:
        raise CheckpointError(
            f"ckpt: {str(ckpt)!r} is in the hub's local cache, where nothing is written; copy it with `lasagna export "
            f"--ckpt {ckpt} --output FOLDER`, and calibrate the folder"
        )


def collect(
    assistant: Assistant,
    source: Source,
    limit: int,
    batch_size: int,
    seed: int,
    broken: Literal["error", "skip"],
    strategies: Sequence[Strategy],
    decoding: Decoding = "ordered",
) -> tuple[Scores, Truth]:
    """Ask for all names of a data set; return the score of each decision, and whether the name is present.

    Args:
        assistant: The assistant.
        source: The data set.
        limit: Maximum number of records.
        batch_size: Images that are answered together.
        seed: Seed of the order of names.
        broken: Whether a record that cannot be used is an error, or is skipped and reported.
        strategies: Changes to the dialogues, in order.
        decoding: How the answers are decoded.

    Raises:
        RecordError: If a record cannot be used and ``broken`` is "error".
    """
    data = ShardDataModule(
        test=[source],
        evaluation_strategies=list(strategies),
        evaluation_batch_size=min(batch_size, limit),
        num_workers=0,
        seed=seed,
        broken=broken,
    )
    data.setup("test")
    data.connect(assistant.processors)
    try:
        found = _decisions(assistant, source, data, limit, decoding)
    except RecordError as error:
        raise not_skipped(error, "--broken skip") from error
    for name, count in data.tallies["test"].broken.items():
        print(f"{name}: {count} broken records were skipped")
    return found


def _decisions(
    assistant: Assistant, source: Source, data: ShardDataModule, limit: int, decoding: Decoding
) -> tuple[Scores, Truth]:
    scores: list[float] = []
    present: list[bool] = []
    size = data.evaluation_batch_size
    firsts = range(0, max(1, min(limit, source.shard_set.records)), size)
    loader = zip(firsts, data.test_dataloader()[0], strict=False)
    for first, batch in track(loader, f"asking about {source.manifest.name}", total=len(firsts)):
        batch = batch.to(assistant.device)
        for sample, given in zip(batch.samples, answer(assistant, batch, (decoding,))[decoding], strict=True):
            if first + sample.image >= limit or sample.dialogue.kind.is_free:
                continue
            names = {entry.name for entry in sample.dialogue.entries if entry.present}
            scores += [entry.score for entry in given.entries]
            present += [entry.name in names for entry in given.entries]
    return np.asarray(scores, dtype=np.float64), np.asarray(present, dtype=bool)


def fit(found: dict[str, tuple[Scores, Truth]], checkpoint: str) -> Calibration:
    """Fit one temperature over all data sets, and a threshold for each and for all together.

    If all decisions are right, no finite temperature is best; it is 1 then, with a warning. Another warning says that
    scores are no better than chance, for which the highest temperature is taken.

    Args:
        found: Scores and truth of each data set.
        checkpoint: Checksum of the checkpoint.

    Raises:
        ConfigError: If there are too few decisions, or only present or only absent names.
    """
    scores = np.concatenate([scores for scores, _ in found.values()])
    present = np.concatenate([present for _, present in found.values()])
    if len(scores) < FEWEST or present.all() or not present.any():
        raise ConfigError(
            f"shards: {len(scores)} decisions, {int(present.sum())} of them on present names, are too few to calibrate "
            f"on; give data with at least {FEWEST}, on present and on absent names"
        )
    temperature = fit_temperature(scores, present)
    if is_lowest(temperature):
        warnings.warn(
            f"shards: {len(scores)} decisions separate present from absent names without error, so that no temperature "
            "fits best; it stays 1. Calibrate on more, or harder, validation data",
            stacklevel=2,
        )
        temperature = 1.0
    elif is_highest(temperature):
        warnings.warn(
            f"shards: the presence scores of {len(scores)} decisions tell present from absent names hardly better than "
            f"chance, so that the temperature is the highest that is tried, {temperature:.0f}, and all scores are near "
            "0.5; train the assistant longer, or calibrate on data like those that it was trained on",
            stacklevel=2,
        )
    parts = {ALL: (scores, present), **found}
    thresholds = {name: fit_threshold(scaled(part, temperature), truth) for name, (part, truth) in parts.items()}
    figures = {
        name: _figures(part, scaled(part, temperature), truth, thresholds[name])
        for name, (part, truth) in parts.items()
    }
    return Calibration(temperature, thresholds, checkpoint, figures)


def _figures(before: Scores, after: Scores, present: Truth, threshold: float) -> dict[str, float]:
    return {
        "decisions": len(before),
        "present": int(present.sum()),
        "f1_before": f1(before, present, 0.5),
        "f1": f1(after, present, threshold),
        "negative_log_likelihood_before": negative_log_likelihood(before, present),
        "negative_log_likelihood": negative_log_likelihood(after, present),
        "calibration_error_before": calibration_error(before, present),
        "calibration_error": calibration_error(after, present),
    }
