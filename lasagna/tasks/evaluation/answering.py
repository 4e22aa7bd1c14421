"""Answers to the passes of an evaluation, written down batch by batch; several processes share the records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lasagna.core.batch import Query
from lasagna.core.dialogue import Answer, Decoding
from lasagna.datamodules import collate, prepare_sample
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.errors import ConfigError, LasagnaError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.calibration import Calibration, read_calibration
from lasagna.modules.checkpoints.load import load
from lasagna.tasks.callbacks.run_facts import versions
from lasagna.tasks.evaluation.data_choice import DataChoice
from lasagna.tasks.evaluation.predictions import mend, opened, predictions_file, read_lines, to_json
from lasagna.tasks.evaluation.runs import Control, EvaluationRun, EvaluationSample, make_passes
from lasagna.tasks.training.module import answer, queries_of


@dataclass(frozen=True, kw_only=True)
class Job:
    """An evaluation as plain data, which each process reads.

    Args:
        ckpt: The checkpoint.
        data: What is asked about.
        out: The folder of the evaluation.
        seed: Seed of the dialogues.
        decodings: Ways of decoding; None for those of each task.
        controls: Which controls are made.
        limit: How many records of a source are taken at most.
        batch_size: Images that are answered together; None for the data's own.
        threshold: Score from which ordered decoding says "present"; None for the checkpoint's own, or that which it was
            calibrated to for a data set.
        device: Where to compute.
        teacher_forced: Whether phrases are also scored with the answer given.
        processes: How many processes share the records.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.
    """

    ckpt: Path
    data: DataChoice
    out: Path
    seed: int
    decodings: tuple[Decoding, ...] | None
    controls: tuple[Control, ...]
    limit: int | None
    batch_size: int | None
    threshold: float | None
    device: str
    teacher_forced: bool = False
    processes: int = 1
    frozen_check: bool = True

    def passes(self) -> tuple[list[EvaluationRun], int]:
        """Return the passes and how many images are answered together."""
        data = self.data.make()
        passes = make_passes(
            data,
            self.data.split,
            seed=self.seed,
            decodings=self.decodings,
            controls=self.controls,
            limit=self.limit,
            teacher_forced=self.teacher_forced,
        )
        return passes, self.batch_size or data.evaluation_batch_size

    def assistant(self) -> Assistant:
        """Load the assistant."""
        return load(self.ckpt, frozen_check=self.frozen_check).to(find_device(self.device))

    def thresholds(self, passes: Sequence[EvaluationRun], assistant: Assistant) -> dict[str, float]:
        """Return the score from which names are called present, by name of the pass.

        It is the one that was asked for, that of the pass's data set where the checkpoint was calibrated for it, or the
        assistant's own.
        """
        if self.threshold is not None:
            return {one.name: self.threshold for one in passes}
        calibrated = {} if self._calibration is None else self._calibration.thresholds
        own = assistant.presence_threshold
        return {one.name: calibrated.get(one.source.manifest.name, own) for one in passes}

    @cached_property
    def _calibration(self) -> Calibration | None:
        return read_calibration(self.ckpt)


def answer_all(job: Job, assistant: Assistant | None = None, part: int = 0) -> int:
    """Answer a process's part of the records that have no answers yet; return how many records it answered.

    Args:
        job: The evaluation.
        assistant: The assistant, where it is loaded already.
        part: Which process this is.

    Raises:
        BusyError: If another process is still at this part.
    """
    passes, batch_size = job.passes()
    assistant = assistant or job.assistant()
    thresholds = job.thresholds(passes, assistant)
    file, share, count = predictions_file(job.out, part), ShardSplit(part, job.processes), 0
    with opened(file) as stream:
        mend(file)
        done = set(read_lines(job.out))
        for one in passes:
            assistant.presence_threshold = thresholds[one.name]
            left = (raw for raw in one.raw(share) if (one.name, record_key(raw)) not in done)
            asked = (found for raw in left if (found := one.ask(raw)) is not None)
            for some in _batched(asked, batch_size):
                stream.writelines(json.dumps(line) + "\n" for line in answer_some(assistant, one, some))
                stream.flush()
                count += len(some)
    return count


def answer_some(assistant: Assistant, one: EvaluationRun, asked: Sequence[EvaluationSample]) -> list[dict[str, Any]]:
    """Answer some records together; return the lines to store."""
    samples = [
        prepare_sample(
            one.picture(each.record), each.dialogues, assistant.processors, key=each.record.key, in_parts=True
        )
        for each in asked
    ]
    batch = collate(samples, assistant.processors).to(assistant.device)
    with torch.no_grad():
        answers = answer(assistant, batch, one.decodings)
    lines: list[dict[str, Any]] = [
        {"pass": one.name, "key": each.record.key, "size": list(each.record.size), "dialogues": []} for each in asked
    ]
    for row, query in enumerate(queries_of(batch)):
        given = {decoding: rows[row] for decoding, rows in answers.items()}
        lines[query.image]["dialogues"].append(_dialogue(query, given))
    return lines


def own_device(device: str, place: int) -> str:
    """Return the GPU of one of several processes on a machine, where there are any.

    Args:
        device: The device that was asked for.
        place: Which of the machine's processes it is.
    """
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{place % count}" if count else device


def find_device(device: str) -> torch.device:
    """Return a device by its name; "auto" for an accelerator if there is one.

    Raises:
        LasagnaError: If it cannot be used.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise LasagnaError(f"device: {device!r} cannot be used ({str(error).splitlines()[0]}); try cpu") from error


def _dialogue(query: Query, given: dict[Decoding, Answer]) -> dict[str, Any]:
    answers = {decoding: to_json(one) for decoding, one in given.items()}
    return {"kind": query.kind, "query": list(query.names), "answers": answers}


def _batched(asked: Iterator[EvaluationSample], size: int) -> Iterator[list[EvaluationSample]]:
    while some := list(islice(asked, size)):
        yield some


def header_of(job: Job, passes: Sequence[EvaluationRun], assistant: Assistant) -> dict[str, Any]:
    """Return the header of an evaluation, as plain data."""
    return {
        "checkpoint": str(job.ckpt),
        "weights": weights_digest(assistant),
        "data": job.data.recipe,
        "split": job.data.split,
        "passes": [one.about() for one in passes],
        "decodings": None if job.decodings is None else list(job.decodings),
        "teacher_forced": job.teacher_forced,
        "controls": list(job.controls),
        "limit": job.limit,
        "seed": job.seed,
        "thresholds": {
            "presence": job.thresholds(passes, assistant),
            "temperature": assistant.presence_temperature,
            "mask": assistant.mask_threshold,
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


def check_data(header: Mapping[str, Any], passes: Sequence[EvaluationRun], folder: Path) -> None:
    """Check that the data is what was asked about.

    Raises:
        ConfigError: If passes or shards are others; names the first.
    """
    stored = {one["name"]: one for one in header["passes"]}
    here = {one.name: one.about() for one in passes}
    if stored.keys() != here.keys():
        raise ConfigError(
            f"predictions: {str(folder)!r} has answers of {', '.join(stored)}; the data has {', '.join(here)}"
        )
    for name, about in here.items():
        if changed := [part for part in about if about[part] != stored[name].get(part)]:
            raise ConfigError(
                f"predictions: {str(folder)!r} is about other images or questions: {', '.join(changed)} of {name!r} "
                "differ; give the data that was asked about, or leave --data out"
            )
