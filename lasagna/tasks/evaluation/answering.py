"""Answer the runs of an evaluation and store the answers batch by batch; several processes can share the records."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import torch
from torch import nn

from lasagna.core.device import find_device
from lasagna.core.dialogue import Decoding
from lasagna.core.storage import json_text, writing
from lasagna.core.tiles import Tiles
from lasagna.datamodules import PreparedSample, SkippedRecordWarning, collate
from lasagna.datamodules.protocols import batch_size_of
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.reader import RawSample, ShardSplit
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.calibration import Calibration, read_calibration
from lasagna.modules.checkpoints.load import load
from lasagna.modules.learned_kinds import warn_of_unlearned
from lasagna.tasks.callbacks.run_facts import versions
from lasagna.tasks.evaluation import Control
from lasagna.tasks.evaluation.data_choice import DataChoice
from lasagna.tasks.evaluation.predictions import (
    Place,
    cut_unfinished_line,
    opened,
    predictions_file,
    read_lines,
    to_json,
)
from lasagna.tasks.evaluation.run_list import make_runs
from lasagna.tasks.evaluation.run_metrics import check_scores
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.evaluation.tiled import answer_tiled, make_tiled
from lasagna.tasks.training.source_scores import answer, queries_of

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Job:
    """An evaluation as plain data, which is sent to each process.

    Args:
        ckpt: The checkpoint.
        data: The data.
        out: The folder of the evaluation.
        seed: Seed of the dialogues; None for that of the data.
        decodings: How answers are decoded; None for the decodings of each task.
        controls: Which controls to run.
        limit: Maximum number of records of a source; None for all.
        batch_size: Images that are answered together; None for the data's own number.
        threshold: Score from which ordered decoding calls a name present; None for the one that the checkpoint was
            calibrated to for a data set, or else the checkpoint's own.
        device: Where to compute.
        teacher_forced: Whether phrases are also scored with the answer given to the model.
        processes: How many processes share the records.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.
        tiles: How large pictures are divided; None to answer each as a whole.
    """

    ckpt: Path
    data: DataChoice
    out: Path
    seed: int | None
    decodings: tuple[Decoding, ...] | None
    controls: tuple[Control, ...]
    limit: int | None
    batch_size: int | None
    threshold: float | None
    device: str
    teacher_forced: bool = False
    processes: int = 1
    frozen_check: bool = True
    tiles: Tiles | None = None

    def runs(self) -> tuple[list[EvaluationRun], int]:
        """Return the runs, and how many images are answered together.

        Raises:
            ConfigError: If the answers of a run cannot be scored.
        """
        data = self.data.build()
        runs = make_runs(
            data,
            self.data.split,
            seed=self.seed,
            decodings=self.decodings,
            controls=self.controls,
            limit=self.limit,
            teacher_forced=self.teacher_forced,
        )
        for run in runs:
            check_scores(run)
        return runs, self.batch_size or batch_size_of(data)

    def assistant(self) -> Assistant:
        """Load the assistant onto the device."""
        return load(self.ckpt, frozen_check=self.frozen_check).to(find_device(self.device))

    def thresholds(self, runs: Sequence[EvaluationRun], assistant: Assistant) -> dict[str, float]:
        """Return for each run, by name, the score from which a name is called present."""
        if self.threshold is not None:
            return {run.name: self.threshold for run in runs}
        calibrated = {} if self._calibration is None else self._calibration.thresholds
        default = assistant.presence_threshold
        return {run.name: calibrated.get(run.source.manifest.name, default) for run in runs}

    @cached_property
    def _calibration(self) -> Calibration | None:
        return read_calibration(self.ckpt)


def answer_all(job: Job, assistant: Assistant | None = None, part: int = 0) -> int:
    """Answer one process's share of the records that have no answers yet; return how many records were answered.

    Args:
        job: The evaluation.
        assistant: The assistant, if it is loaded already.
        part: Which process this is.

    Raises:
        BusyError: If another process is writing the same file.
        ConfigError: If the assistant's prompt format lacks what a strategy needs.
        RecordError: If a record cannot be used and the data does not skip such records.
        QueryError: If a text of one does not fit the assistant and the data does not skip such records.
    """
    runs, batch_size = job.runs()
    assistant = assistant or job.assistant()
    for strategy in (strategy for run in runs for strategy in run.strategies):
        strategy.check_format(assistant.format)
    thresholds = job.thresholds(runs, assistant)
    if part == 0:
        warn_of_unlearned(assistant, [kind for run in runs for kind in run.task.kinds])
    else:
        assistant.calibrated_decoding = None  # the first process warns
    file, share, count = predictions_file(job.out, part), ShardSplit(part, job.processes), 0
    with opened(file) as stream:
        cut_unfinished_line(file)
        done = set(read_lines(job.out))
        for run in runs:
            assistant.presence_threshold = thresholds[run.name]
            if job.tiles is not None:
                tiles = replace(job.tiles, batch=batch_size)
                open_tiled = partial(make_tiled, run=run, assistant=assistant)
                for sample in _samples(run, share, open_tiled, done, stream):
                    _store([answer_tiled(assistant, run, sample, tiles)], stream)
                    count += 1
                continue
            samples = _samples(run, share, partial(run.prepare, processors=assistant.processors), done, stream)
            while batch := list(islice(samples, batch_size)):
                _store(answer_some(assistant, run, batch), stream)
                count += len(batch)
    return count


def _samples(
    run: EvaluationRun,
    share: ShardSplit,
    make: Callable[[RawSample], T | None],
    done: Collection[Place],
    stream: TextIO,
) -> Iterator[T]:
    """Yield the samples of the records that have no line yet; write a line for each record that is skipped."""
    for raw in run.raw(share):
        key = record_key(raw)
        if (run.name, key) in done:
            continue
        try:
            sample = make(raw)
        except (RecordError, QueryError) as error:
            run.check_skipped(error)
            # named by the source, so that its other runs do not repeat the warning
            warnings.warn(f"{run.source.label}: skipped a broken record: {error}", SkippedRecordWarning, stacklevel=2)
            _store([{"run": run.name, "key": key, "skipped": str(error)}], stream)
            continue
        if sample is not None:
            yield sample


def _store(lines: Sequence[Mapping[str, Any]], stream: TextIO) -> None:
    with writing(stream.name):
        stream.writelines(json_text(line) + "\n" for line in lines)
        stream.flush()


def answer_some(assistant: Assistant, run: EvaluationRun, samples: Sequence[PreparedSample]) -> list[dict[str, Any]]:
    """Answer some records together; return the lines to store."""
    batch = collate(samples, assistant.processors).to(assistant.device)
    with torch.no_grad():
        answers = answer(assistant, batch, run.decodings)
    lines: list[dict[str, Any]] = [
        {"run": run.name, "key": sample.key, "size": list(sample.geometry.original), "dialogues": []}
        for sample in samples
    ]
    for row, query in enumerate(queries_of(batch)):
        stored = {decoding: to_json(rows[row]) for decoding, rows in answers.items()}
        dialogue = {"kind": query.kind, "query": list(query.names), "answers": stored}
        lines[query.image]["dialogues"].append(dialogue)
    return lines


def header_of(job: Job, runs: Sequence[EvaluationRun], assistant: Assistant) -> dict[str, Any]:
    """Return the header of an evaluation, as plain data."""
    return {
        "checkpoint": str(job.ckpt),
        "weights": weights_digest(assistant),
        "data": job.data.config,
        "split": job.data.split,
        "passes": [run.describe() for run in runs],
        "decodings": None if job.decodings is None else list(job.decodings),
        "teacher_forced": job.teacher_forced,
        "controls": list(job.controls),
        "limit": job.limit,
        **({} if job.tiles is None else {"tiles": {"size": job.tiles.size, "overlap": job.tiles.overlap}}),
        "seed": runs[0].seed,
        "thresholds": {
            "presence": job.thresholds(runs, assistant),
            "temperature": assistant.presence_temperature,
            "mask": assistant.mask_threshold,
            "object": assistant.object_threshold,
            "object_overlap": assistant.object_overlap,
            "empty_masks": assistant.empty_masks,
            "max_new_tokens": assistant.max_new_tokens,
            **({} if assistant.longest_list is None else {"longest_list": assistant.longest_list}),
        },
        "device": str(assistant.device),
        "versions": versions(),
    }


def weights_digest(module: nn.Module) -> str:
    """Return a checksum of all weights."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_data(header: Mapping[str, Any], runs: Sequence[EvaluationRun], folder: Path) -> None:
    """Check that stored answers are about this data.

    Args:
        header: The header of the stored evaluation.
        runs: The runs over the data at hand.
        folder: The folder of the evaluation, for messages.

    Raises:
        ConfigError: If runs or shards differ; names the first run that does.
    """
    stored = {run["name"]: run for run in header["passes"]}
    here = {run.name: run.describe() for run in runs}
    if stored.keys() != here.keys():
        raise ConfigError(
            f"predictions: {str(folder)!r} has answers of {', '.join(stored)}; the data has {', '.join(here)}"
        )
    for name, facts in here.items():
        if changed := [fact for fact in facts if facts[fact] != stored[name].get(fact)]:
            raise ConfigError(
                f"predictions: {str(folder)!r} is about other images or questions: {', '.join(changed)} of {name!r} "
                "differ; give the data that was answered, or leave --data out"
            )
