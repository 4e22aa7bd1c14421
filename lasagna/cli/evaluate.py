"""``lasagna evaluate``: a checkpoint answers all sources of a data set, and a page tells how well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lasagna.errors import ConfigError, LasagnaError, check_counts

if TYPE_CHECKING:
    from lasagna.core.dialogue import Decoding
    from lasagna.modules.assistant import Assistant
    from lasagna.tasks.evaluation.answering import Job
    from lasagna.tasks.evaluation.data_choice import DataChoice
    from lasagna.tasks.evaluation.runs import Control

_DECODINGS: dict[str, tuple[Decoding, ...] | None] = {
    "task": None,
    "ordered": ("ordered",),
    "free": ("free",),
    "both": ("ordered", "free"),
}
_CONTROLS: tuple[Control, ...] = ("blind", "same-set", "co-occurring")


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
        processes: How many processes share the records; those that torchrun starts share them without it.
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
    from lasagna.datamodules.streaming.distributed import rank_and_world_size
    from lasagna.tasks.evaluation.answering import Job

    if predictions is not None:
        job, header = _again(predictions, data, split)
    else:
        job = Job(
            ckpt=Path(ckpt or ""),
            data=_choose(ckpt, data, split),
            out=out or Path("evaluation"),
            seed=seed,
            decodings=_DECODINGS[decoding],
            controls=_CONTROLS if controls is None else tuple(controls),
            limit=limit,
            batch_size=batch_size,
            threshold=threshold,
            device=device,
            teacher_forced=teacher_forced,
            frozen_check=frozen_check,
        )
        header = _answer(job, processes)
    if rank_and_world_size()[0] == 0:
        _score(job, header, out or job.out)


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


def _choose(ckpt: Any, data: str | None, split: str) -> DataChoice:  # noqa: ANN401
    """Return the data that is asked for, or that of the training."""
    from lasagna.modules.checkpoints.load import read_checkpoint
    from lasagna.modules.checkpoints.weights import CONFIG
    from lasagna.tasks.evaluation.data_choice import choose_data

    return choose_data(data, split, read_checkpoint(ckpt).get(CONFIG))


def _answer(job: Job, processes: int) -> dict[str, Any]:
    """Answer what has no answer yet, or this process's part of it; return the header."""
    from lasagna.datamodules.shards.reader import ShardSplit
    from lasagna.datamodules.streaming.distributed import rank_and_world_size
    from lasagna.tasks.evaluation.processes import answer_first, answer_further

    part, parts = rank_and_world_size()
    if parts == 1:
        return _answer_here(job, processes)
    if processes > 1:
        raise ConfigError(
            f"processes: got {processes}, and {parts} processes were started already, as RANK and WORLD_SIZE in the "
            "environment say; leave --processes out, or start it without torchrun"
        )
    return answer_first(job, parts) if part == 0 else answer_further(job, ShardSplit(part, parts))


def _answer_here(job: Job, processes: int) -> dict[str, Any]:
    """Answer what has no answer yet, alone or in processes of its own; return the header."""
    from lasagna.core.locks import locked
    from lasagna.tasks.evaluation.answering import answer_all, header_of
    from lasagna.tasks.evaluation.predictions import begin, check_free
    from lasagna.tasks.evaluation.processes import answer_together

    passes, _ = job.passes()
    assistant: Assistant = job.assistant()
    header = header_of(job, passes, assistant)
    job.out.mkdir(parents=True, exist_ok=True)
    with locked(job.out):
        check_free(job.out)
        begin(job.out, header)
        if processes == 1:
            answer_all(job, assistant)
        else:
            del assistant
            answer_together(job, processes)
    return header


def _score(job: Job, header: dict[str, Any], out: Path) -> None:
    from lasagna.tasks.evaluation.report import write_report
    from lasagna.tasks.evaluation.scoring import score_passes

    passes, _ = job.passes()
    write_report(score_passes(passes, job.out), header, out, job.out)


def _again(predictions: Path, data: str | None, split: str) -> tuple[Job, dict[str, Any]]:
    """Return the evaluation that a folder holds."""
    from lasagna.datamodules.shards.remote import refuse_commands
    from lasagna.tasks.evaluation.answering import Job, check_data
    from lasagna.tasks.evaluation.data_choice import DataChoice, choose_data
    from lasagna.tasks.evaluation.predictions import read_header

    header = read_header(predictions)
    if data is None:
        refuse_commands(header["data"], f"the folder {str(predictions)!r}", "--data")
        chosen = DataChoice(header["data"], header["split"])
    else:
        chosen = choose_data(data, split, None)
    job = Job(
        ckpt=Path(),
        data=chosen,
        out=predictions,
        seed=header["seed"],
        decodings=None if header["decodings"] is None else tuple(header["decodings"]),
        controls=tuple(header["controls"]),
        limit=header["limit"],
        batch_size=None,
        threshold=None,
        device="cpu",
        teacher_forced=bool(header.get("teacher_forced")),
    )
    check_data(header, job.passes()[0], predictions)
    return job, header
