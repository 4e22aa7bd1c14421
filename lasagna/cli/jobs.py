"""The checkpoint that a job is given on the command line: where it is, whether it serves, and its own config."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from signal import Signals
from typing import Any

from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lasagna.datamodules import ShardDataModule
from lasagna.datamodules.shards.remote import refuse_commands
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.load import check_job, read_checkpoint
from lasagna.modules.checkpoints.weights import CONFIG
from lasagna.tasks.training.module import Evaluation

EVALUATIONS = ("validate", "test", "predict")
"""Jobs that take a trained assistant."""

LAST = "last"
"""Stands for the newest checkpoint of the run's folder."""


def find_checkpoint(path: str | None, job: str, trainer: Trainer) -> str | None:
    """Return the file of a job's checkpoint, after checking that the job can use it.

    Args:
        path: What was typed: a file, or "last".
        job: The job.
        trainer: Its trainer, which knows the run's folder.

    Returns:
        The file, or None where training begins, since nothing was typed or nothing is there yet.

    Raises:
        CheckpointError: If there is no such file, it cannot be read, or it lacks what the job needs.
    """
    if path == LAST:
        path = newest_checkpoint(trainer)
        if path is None:
            _say_none_yet(job, trainer)
    if path is not None:
        check_job(read_checkpoint(path), path, resumed=job not in EVALUATIONS)
    return path


def newest_checkpoint(trainer: Trainer) -> str | None:
    """Return the newest checkpoint in the run's folder, if there is one."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    files = {file for callback in callbacks for file in callback._find_last_checkpoints(trainer)}
    return max(files, key=lambda file: Path(file).stat().st_mtime, default=None)


def check_trained(job: str, trainer: Trainer) -> None:
    """Refuse to evaluate an assistant that nothing has been trained of.

    Args:
        job: The job, which was given no checkpoint.
        trainer: Its trainer, which knows the run's folder.

    Raises:
        CheckpointError: If the job evaluates.
    """
    if job in EVALUATIONS:
        newest = newest_checkpoint(trainer)
        there = f"such as {newest}" if newest else "which `python train.py` makes"
        raise CheckpointError(
            f"ckpt_path: {job} takes a trained assistant, and none was given; give --ckpt_path CHECKPOINT, {there}, or "
            "an imported model as --model.warm_start"
        )


def checkpoint_config(argv: list[str]) -> dict[str, Any] | None:
    """Return the config in the checkpoint that a command line wants to evaluate, where it names no other config.

    Args:
        argv: The command line, with its job.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        ConfigError: If its data would run a command.
    """
    path = _option(argv, "--ckpt_path")
    if argv[0] not in EVALUATIONS or configs(argv) or path is None or path == LAST:
        return None
    config = read_checkpoint(path).get(CONFIG)
    if config is None:
        return None
    refuse_commands(config.get("data"), f"the checkpoint {path!r}", "--config")
    names = ("seed_everything", "threads", "model", "data", "trainer")
    kept: dict[str, Any] = json.loads(json.dumps({name: config[name] for name in names if name in config}))
    # the weights come from the checkpoint; those that its training began with may be gone
    kept["model"].get("init_args", {}).pop("warm_start", None)
    return kept


def configs(argv: list[str]) -> list[str]:
    """Return the configs that a command line names."""
    glued = [word.partition("=")[2] for word in argv if word.startswith(("--config=", "-c="))]
    return glued + [after for word, after in pairwise(argv) if word in ("-c", "--config")]


def _say_none_yet(job: str, trainer: Trainer) -> None:
    folder = trainer.log_dir or trainer.default_root_dir
    if job in EVALUATIONS:
        raise CheckpointError(
            f"ckpt_path: {LAST!r}, and {str(folder)!r} holds no checkpoint yet; train there first, or give a file"
        )
    print(f"no checkpoint in {str(folder)!r} yet: training begins", file=sys.stderr)


def _option(argv: list[str], name: str) -> str | None:
    for place, word in enumerate(argv):
        if word == name and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


SIGNALLED = 128
"""What shells add to a signal's number for the exit status."""


def stopped(job: str, trainer: Trainer, signal: Signals) -> int:
    """Say how to go on, and return the exit status.

    Args:
        job: The job.
        trainer: Its trainer, which knows the step and the run's folder.
        signal: What stopped it.
    """
    print(f"stopped{'' if job in EVALUATIONS else _way_on(trainer)}", file=sys.stderr)
    return SIGNALLED + signal


def interrupted(error: BaseException) -> bool:
    """Say whether something was raised because of Ctrl-C."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def _way_on(trainer: Trainer) -> str:
    newest = newest_checkpoint(trainer)
    if newest is None:
        return f" at step {trainer.global_step}, before the first checkpoint"
    return f" at step {trainer.global_step}: go on by the same command with --ckpt_path last ({newest})"


class PreflightCheck(Callback):
    """Checks before training what the test after it will need, since that comes much later."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the shards of the test, and that its tasks can score."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, ShardDataModule):
            data.setup("test")
            Evaluation(data.sources["test"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try a few records of each test source, now that the data knows the assistant."""
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, ShardDataModule):
            data.dry_run("test")


class JobTrainer(Trainer):
    """Lightning's trainer with one more job."""

    def run(
        self,
        model: LightningModule,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, then test: the main job. What the test needs is checked before training.

        Args:
            model: What is trained.
            datamodule: Where samples come from.
            ckpt_path: A checkpoint to go on from: a path, or "last" for the newest one of the run's folder.
            weights_only: Whether the checkpoint may hold weights and plain data alone.
        """
        callbacks = vars(self)["callbacks"]
        callbacks.append(PreflightCheck())
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only)
        if not self.interrupted:
            self.test(model, datamodule=datamodule, verbose=False)
