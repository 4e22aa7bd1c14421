"""``lasagna evaluate``: a checkpoint answers all sources of a data set, and a page tells how well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lasagna.count_checks import check_counts
from lasagna.errors import ConfigError, LasagnaError

if TYPE_CHECKING:
    from lasagna.evaluating.answering import Job
    from lasagna.modules.assistant import Assistant

_DECODINGS = {"task": None, "ordered": ("ordered",), "free": ("free",), "both": ("ordered", "free")}


def evaluate(
    ckpt: Path | None = None,
    data: str | None = None,
    predictions: Path | None = None,
    out: Path | None = None,
    split: str = "test",
    decoding: Literal["task", "ordered", "free", "both"] = "task",
    teacher_forced: bool = False,
    controls: list[Literal["blind", "same-set", "co-occurring"]] | None = None,
    processes: int = 1,
    limit: int | None = None,
    batch_size: int | None = None,
    threshold: float | None = None,
    seed: int = 0,
    device: str = "auto",
    frozen_check: bool = True,
) -> None:
    """Answer all sources of a data set, score the answers by every protocol, and write a report.

    Answers are generated, stored while it goes on, and scored from what is stored. An evaluation that was stopped
    goes on when the same command is given again; ``--predictions`` scores again without the model.

    Args:
        ckpt: A checkpoint, or a folder that ``lasagna export`` or ``lasagna import`` wrote.
        data: A data config, a folder of shards, one whose folders are the splits, or the address of a folder of
            shards; by default what the checkpoint was trained on.
        predictions: The folder of an evaluation that is to be scored again, in place of a checkpoint.
        out: Folder for answers, scores and report; by default "evaluation", or the folder of the predictions.
        split: Which split of the data.
        decoding: How complex queries and phrases are answered: as their tasks say, in the known order, freely, or both.
        teacher_forced: Whether phrases and descriptions are also scored as published numbers of RefCOCO and ReasonSeg
            are made: with the answer that they are there given to the model, under a protocol of its own.
        controls: What else is asked: the same with noise for pictures ("blind"), and balanced lists whose absent names
            come from the same data set ("same-set") or often stand beside those present ("co-occurring"). By default
            all; [] for none.
        processes: How many processes share the records.
        limit: Records of each source at most; by default all.
        batch_size: Images that are answered together; by default as the data says.
        threshold: Score from which ordered decoding says "present", in [0, 1]; by default the checkpoint's, or
            that which ``lasagna calibrate`` found for a data set.
        seed: Seed of what is asked.
        device: Where to compute: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.

    Raises:
        LasagnaError: If the checkpoint, the data or the folder cannot be used; says what to do.
    """
    _check(ckpt, predictions, processes, limit, batch_size, threshold)
    from lasagna.evaluating.report import write_report
    from lasagna.evaluating.scoring import score_passes

    chosen: list[Any] = ["blind", "same-set", "co-occurring"] if controls is None else controls
    if predictions is not None:
        job, header, folder = _again(predictions, data, split)
    else:
        folder = out or Path("evaluation")
        ways = _DECODINGS[decoding]
        job = _job(ckpt, data, folder, split, ways, chosen, limit, batch_size, threshold, seed, device, teacher_forced)
        header = _answer(replace(job, frozen_check=frozen_check), processes)
    passes, _ = job.passes()
    outcomes = score_passes(passes, folder)
    write_report(outcomes, header, out or folder, folder)


def _check(
    ckpt: Path | None,
    predictions: Path | None,
    processes: int,
    limit: int | None,
    batch_size: int | None,
    threshold: float | None,
) -> None:
    if (ckpt is None) == (predictions is None):
        raise ConfigError("ckpt: give either --ckpt, to answer, or --predictions, to score stored answers again")
    check_counts(processes=processes, limit=limit, batch_size=batch_size)
    if threshold is not None and not 0 <= threshold <= 1:
        raise LasagnaError(f"threshold: expected a number in [0, 1], got {threshold}")


def _job(
    ckpt: Any,  # noqa: ANN401
    data: str | None,
    folder: Path,
    split: str,
    decodings: Any,  # noqa: ANN401
    controls: list[Any],
    limit: int | None,
    batch_size: int | None,
    threshold: float | None,
    seed: int,
    device: str,
    teacher_forced: bool,
) -> Job:
    from lasagna.evaluating.answering import Job
    from lasagna.evaluating.data_choice import choose_data
    from lasagna.loading import read_checkpoint
    from lasagna.trained import CONFIG

    chosen = choose_data(data, split, read_checkpoint(ckpt).get(CONFIG))
    return Job(
        ckpt, chosen, folder, seed, decodings, tuple(controls), limit, batch_size, threshold, device, teacher_forced
    )


def _answer(job: Job, processes: int) -> dict[str, Any]:
    """Answer what has no answer yet, alone or in several processes; return the header."""
    from lasagna.evaluating.answering import answer_all
    from lasagna.evaluating.header import header_of
    from lasagna.evaluating.predictions import begin
    from lasagna.evaluating.workers import answer_together
    from lasagna.sweeps.process import locked

    passes, _ = job.passes()
    assistant: Assistant = job.assistant()
    header = header_of(job, passes, assistant)
    job.out.mkdir(parents=True, exist_ok=True)
    with locked(job.out):
        begin(job.out, header)
        if processes == 1:
            answer_all(job, assistant)
        else:
            del assistant
            answer_together(job, processes)
    return header


def _again(predictions: Path, data: str | None, split: str) -> tuple[Job, dict[str, Any], Path]:
    """Return the evaluation that a folder holds."""
    from lasagna.datamodules.shard_addresses import refuse_commands
    from lasagna.evaluating.answering import Job
    from lasagna.evaluating.data_choice import DataChoice, choose_data
    from lasagna.evaluating.header import check_data
    from lasagna.evaluating.predictions import read_header

    header = read_header(predictions)
    if data is None:
        refuse_commands(header["data"], f"the folder {str(predictions)!r}", "--data")
        chosen = DataChoice(header["data"], header["split"])
    else:
        chosen = choose_data(data, split, None)
    decodings = None if header["decodings"] is None else tuple(header["decodings"])
    controls = tuple(header["controls"])
    forced = bool(header.get("teacher_forced"))
    job = Job(
        Path(), chosen, predictions, header["seed"], decodings, controls, header["limit"], None, None, "cpu", forced
    )
    check_data(header, job.passes()[0], predictions)
    return job, header, predictions
