"""``lasagna evaluate``: answer all sources of a data set, score the answers and write a report."""

# without `from __future__ import annotations`, whose texts the parser resolves by running the imports for type checkers
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from lasagna.core.storage import check_output
from lasagna.core.thresholds import check_threshold
from lasagna.core.tiles import chosen_tiles
from lasagna.errors import ConfigError, check_counts
from lasagna.tasks.evaluation import Control

if TYPE_CHECKING:
    from lasagna.core.dialogue import Decoding
    from lasagna.tasks.evaluation.answering import Job
    from lasagna.tasks.evaluation.data_choice import DataChoice

_DECODINGS: "dict[str, tuple[Decoding, ...] | None]" = {
    "task": None,
    "ordered": ("ordered",),
    "free": ("free",),
    "both": ("ordered", "free"),
    "one_pass": ("one_pass",),
    "ordered_and_one_pass": ("ordered", "one_pass"),
}


def evaluate(
    ckpt: Path | None = None,
    data: str | None = None,
    predictions: Path | None = None,
    out: Path | None = None,
    split: str = "test",
    decoding: Literal["task", "ordered", "free", "both", "one_pass", "ordered_and_one_pass"] = "task",
    teacher_forced: bool = False,
    controls: list[Control] | None = None,
    processes: int = 1,
    limit: int | None = None,
    batch_size: int | None = None,
    threshold: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    frozen_check: bool = True,
    coco: bool = False,
    tiles: int | None = None,
    overlap: int | None = None,
) -> None:
    """Answer all sources of a data set, score the answers by every protocol, and write a report.

    Answers are stored as they are generated, and scored from what is stored. Repeat the command to continue an
    evaluation that was interrupted; ``--predictions`` scores again without the model.

    Args:
        ckpt: A checkpoint, or a folder that ``lasagna export`` or ``lasagna import`` wrote.
        data: A data config, a folder of shards, a folder with one such folder for each split, or the address of a
            folder of shards; by default the data of the training.
        predictions: The folder of an evaluation to score again, instead of a checkpoint.
        out: Folder for answers, scores and report; by default "evaluation", or the folder of the predictions.
        split: Which split of the data.
        decoding: How lists and phrases are decoded: as their tasks say, in the known order, freely, or both; by a
            presence head where the query is read, or so and in the known order, with the share of equal decisions.
        teacher_forced: Whether phrases and descriptions are also scored as in published results on RefCOCO and
            ReasonSeg: the model is given the answer "present", and the scores have a protocol of their own.
        controls: What else to ask: the same with noise instead of images ("blind"), balanced lists whose absent
            names are random ones of the data set ("same-set") or those that appear most often beside the present ones
            ("co-occurring"), both for tasks that ask for lists, and names about images and twins of them in which one
            thing was exchanged ("counterfactual"). By default all; [] for none.
        processes: How many processes share the records; omit it under torchrun, whose processes share them anyway.
        limit: Maximum number of records of each source; by default all.
        batch_size: Images, or tiles of one, that are answered together; by default that of the data.
        threshold: Score from which ordered decoding calls a name present, in [0, 1]; by default the one that ``lasagna
            calibrate`` found for a data set, or else the checkpoint's.
        seed: Seed of the questions; by default that of the data config or, if it states none, of the training.
        device: Where to compute: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.
        coco: Whether to write answers and truth in COCO's formats too, in "coco" below ``out``; for tasks that ask for
            objects.
        tiles: Height and width of the tiles in which large images are answered, in pixels, e.g. 512; by default each
            image is answered as a whole.
        overlap: Pixels that neighbouring tiles have in common; by default an eighth of a tile.

    Raises:
        LasagnaError: If the checkpoint, the data or the folder cannot be used; says what to do.
    """
    if (ckpt is None) == (predictions is None):
        raise ConfigError("ckpt: give either --ckpt, to answer, or --predictions, to score stored answers again")
    check_counts(processes=processes, limit=limit, batch_size=batch_size)
    check_threshold(threshold)
    divided = chosen_tiles(tiles, overlap)
    if divided is not None and predictions is not None:
        raise ConfigError("tiles: stored answers are only scored again; leave --tiles out, or answer with --ckpt")
    check_output(out or predictions or Path("evaluation"))
    from lasagna.datamodules.streaming.distributed import rank_and_world_size
    from lasagna.modules.checkpoints.hub import local_copy
    from lasagna.tasks.evaluation.answering import Job
    from lasagna.tasks.evaluation.coco_files import FOLDER, check_coco_files, write_coco_files
    from lasagna.tasks.evaluation.remarks import remarks
    from lasagna.tasks.evaluation.report import write_report
    from lasagna.tasks.evaluation.scoring import score_runs
    from lasagna.tasks.evaluation.tiled import check_tiled_runs

    if predictions is not None:
        job, header = _stored_evaluation(predictions, data, split)
    else:
        job = Job(
            ckpt=Path(local_copy(ckpt or "")),
            data=_choose_data(ckpt, data, split),
            out=out or Path("evaluation"),
            seed=seed,
            decodings=_DECODINGS[decoding],
            controls=get_args(Control) if controls is None else tuple(controls),
            limit=limit,
            batch_size=batch_size,
            threshold=threshold,
            device=device,
            teacher_forced=teacher_forced,
            frozen_check=frozen_check,
            tiles=divided,
        )
        if divided is not None:
            check_tiled_runs(job.runs()[0])
        if coco:
            check_coco_files(job.runs()[0])
        for line in (*job.data.remarks, *remarks(job.runs()[0])) if rank_and_world_size()[0] == 0 else ():
            print(line)
        header = _answer(job, processes)
    if rank_and_world_size()[0] == 0:
        runs = job.runs()[0]
        write_report(score_runs(runs, job.out), header, out or job.out, job.out)
        if coco:
            for folder in write_coco_files(runs, job.out, (out or job.out) / FOLDER):
                print(f"written to {folder}: annotations and results in COCO's formats")


def _choose_data(ckpt: Any, data: str | None, split: str) -> "DataChoice":  # noqa: ANN401
    """Return the data that was given, or that of the training."""
    from lasagna.modules.checkpoints.load import read_checkpoint
    from lasagna.modules.checkpoints.weights import CONFIG, learned_kinds
    from lasagna.tasks.evaluation.data_choice import choose_data

    checkpoint = read_checkpoint(ckpt)
    return choose_data(data, split, checkpoint.get(CONFIG), learned_kinds(checkpoint))


def _answer(job: "Job", processes: int) -> dict[str, Any]:
    """Answer what has no answer yet, or this process's part of it; return the header."""
    from lasagna.datamodules.shards.reader import ShardSplit
    from lasagna.datamodules.streaming.distributed import rank_and_world_size
    from lasagna.tasks.evaluation.processes import answer_first, answer_further

    part, parts = rank_and_world_size()
    if parts == 1:
        return _answer_here(job, processes)
    if processes > 1:
        raise ConfigError(
            f"processes: got {processes}, but {parts} processes were started already (RANK and WORLD_SIZE in the "
            "environment); leave --processes out, or start the command without torchrun"
        )
    return answer_first(job, parts) if part == 0 else answer_further(job, ShardSplit(part, parts))


def _answer_here(job: "Job", processes: int) -> dict[str, Any]:
    """Answer what has no answer yet, in this process or in new ones; return the header."""
    from lasagna.core.locks import locked
    from lasagna.modules.presence_head import check_one_pass
    from lasagna.tasks.evaluation.answering import answer_all, header_of
    from lasagna.tasks.evaluation.predictions import begin, check_free
    from lasagna.tasks.evaluation.processes import answer_together

    runs, _ = job.runs()
    assistant = job.assistant()
    for run in runs:
        if "one_pass" in run.decodings:
            check_one_pass(assistant.presence_head, assistant.format, run.task.kinds)
    header = header_of(job, runs, assistant)
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


def _stored_evaluation(predictions: Path, data: str | None, split: str) -> "tuple[Job, dict[str, Any]]":
    """Return the evaluation in a folder, and its header."""
    from lasagna.core.foreign import Foreign
    from lasagna.tasks.evaluation.answering import Job, check_data
    from lasagna.tasks.evaluation.data_choice import DataChoice, choose_data
    from lasagna.tasks.evaluation.predictions import read_header

    header = read_header(predictions)
    if data is None:
        foreign = Foreign(f"the folder {str(predictions)!r}", "name the data with --data")
        chosen = DataChoice(header["data"], header["split"], foreign)
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
    check_data(header, job.runs()[0], predictions)
    return job, header
