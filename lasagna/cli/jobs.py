"""The jobs of training: finding and checking their checkpoints, the trainer that runs them, and stopping them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from signal import Signals
from typing import Any

from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from lasagna.cli.arguments import typed_options
from lasagna.cli.lightning_parts import FOLDERS
from lasagna.cli.preflight import PreflightCheck
from lasagna.cli.processes import last_checkpoint
from lasagna.core.config import Configurable
from lasagna.core.foreign import Foreign
from lasagna.core.locks import locked_folder
from lasagna.core.storage import writing
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.load import check_job, read_checkpoint
from lasagna.modules.checkpoints.weights import CONFIG
from lasagna.tasks.callbacks.checkpoint import BEST, checkpoint_folder, use_whole_files
from lasagna.tasks.callbacks.run_facts import run_folder
from lasagna.tasks.evaluation.data_choice import KINDS, without_writers

EVALUATIONS = ("validate", "test", "predict")
"""Jobs that need a trained assistant."""

TRAININGS = ("run", "fit")
"""Jobs that train."""

IN_RUN = ("last", "best")
"""As a checkpoint's path: the newest checkpoint in the run's folder, and the best one by a score of the validation."""


def find_checkpoint(path: str | None, job: str, trainer: Trainer) -> str | None:
    """Return the file of a job's checkpoint, after checking that the job can use it.

    Args:
        path: A file, "last", "best", or None if nothing was typed.
        job: The job.
        trainer: Its trainer, which knows the run's folder.

    Returns:
        The file, or None if training starts from scratch.

    Raises:
        CheckpointError: If there is no such file, it cannot be read, or it lacks what the job needs.
    """
    if path in IN_RUN:
        named, folder = path, str(run_folder(trainer))
        path = newest_checkpoint(trainer) if named == "last" else best_checkpoint(trainer)
        if path is None and (job in EVALUATIONS or named == "best"):
            kept = "" if named == "last" else " with BestCheckpoint among trainer.callbacks"
            way_out = f"train there first{kept}, or give a file"
            raise CheckpointError(f"ckpt_path: {named!r}, and {folder!r} holds no such checkpoint yet; {way_out}")
        if path is None:
            print(f"no checkpoint in {folder!r} yet: training begins", file=sys.stderr)
    if path is not None:
        check_job(read_checkpoint(path), path, resumed=job not in EVALUATIONS)
    return path


def newest_checkpoint(trainer: Trainer) -> str | None:
    """Return the newest checkpoint in the run's folder, or None if it holds none."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    files = {file for callback in callbacks for file in callback._find_last_checkpoints(trainer)}
    return max(files, key=lambda file: Path(file).stat().st_mtime, default=None)


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the best checkpoint in the run's folder, or None if it holds none."""
    file = checkpoint_folder(trainer) / BEST
    return str(file) if file.exists() else None


def check_trained(job: str, trainer: Trainer) -> None:
    """Refuse to evaluate an assistant that has not been trained.

    Args:
        job: A job that was given no checkpoint.
        trainer: Its trainer, which knows the run's folder.

    Raises:
        CheckpointError: If the job evaluates.
    """
    if job in EVALUATIONS:
        newest = newest_checkpoint(trainer)
        there = f"such as {newest}" if newest else "which `python train.py` writes"
        raise CheckpointError(
            f"ckpt_path: {job} needs a trained assistant; give --ckpt_path CHECKPOINT, {there}, or "
            "an imported model as --model.warm_start"
        )


STORED_KINDS = (*KINDS, Configurable, Callback, LightningModule, Logger)
"""Base classes of what the config in a checkpoint can name."""


def checkpoint_config(argv: list[str]) -> tuple[dict[str, Any], Foreign] | None:
    """Return the config of the checkpoint that a command line evaluates, unless it names another config.

    Its writers are left out, and what it writes follows the run's folder.

    Args:
        argv: The command line, with its job.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        ConfigError: If it would run a command, or holds a reference that might become one.
    """
    path = _option(argv, "--ckpt_path")
    if argv[0] not in EVALUATIONS or named_configs(argv) or path is None or path in IN_RUN:
        return None
    config = read_checkpoint(path).get(CONFIG)
    if config is None:
        return None
    # no evaluation computes a loss, and a class of one's own is none that a checkpoint may name
    if isinstance(config.get("model"), dict):
        config = config | {"model": config["model"] | {"init_args": _without_loss(config["model"])}}
    near, typed = (_run_folder(Path(path)),), tuple(_values(argv, path))
    foreign = Foreign(f"the checkpoint {path!r}", "pass --config with a config of yours", near, typed)
    foreign.check_stored(config)
    names = ("seed_everything", "threads", "model", "data", "trainer")
    saved: dict[str, Any] = json.loads(json.dumps({name: config[name] for name in names if name in config}))
    # the weights come from the checkpoint; the file that its training started from may be gone
    for name in ("warm_start", "warm_start_parts"):
        saved["model"].get("init_args", {}).pop(name, None)
    if isinstance(saved.get("data"), dict):
        saved["data"] = without_writers(saved["data"])
    _refer_to_flags(saved)
    return saved, foreign


def _without_loss(model: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (model.get("init_args") or {}).items() if name != "loss"}


def _refer_to_flags(config: dict[str, Any]) -> None:
    """Let the run's folder, folders below it, and the seed of the data in a stored config follow what is typed.

    The seed of the model stays, since weights that are fresh and frozen come from it.
    """
    trainer, data = config.get("trainer") or {}, config.get("data") or {}
    root, seed = trainer.get("default_root_dir"), config.get("seed_everything")
    for found in (trainer.get("logger"), trainer.get("callbacks")) if root is not None else ():
        for spec in found if isinstance(found, list) else [found]:
            arguments = (spec.get("init_args") or {}) if isinstance(spec, dict) else {}
            for name in {*FOLDERS, "dirpath"} & arguments.keys():
                folder = None if arguments[name] is None else Path(arguments[name])
                if folder is not None and folder.is_relative_to(str(root)):
                    arguments[name] = "/".join(("${trainer.default_root_dir}", *folder.relative_to(str(root)).parts))
    # a config file may stand for the data; what it states is not known here
    arguments = (data.get("init_args") or {}) if isinstance(data, dict) else {}
    if seed is not None and arguments.get("seed") == seed:
        arguments["seed"] = "${seed_everything}"


def _run_folder(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "checkpoints" else file.parent


def _values(argv: list[str], path: str) -> Iterator[str]:
    """Yield the values of all options but the checkpoint's."""
    yield from (option.value for option in typed_options(argv) if option.is_option and option.value != path)


def named_configs(argv: list[str]) -> list[str]:
    """Return the values of ``--config`` on a command line."""
    glued = [word.partition("=")[2] for word in argv if word.startswith(("--config=", "-c="))]
    return glued + [after for word, after in pairwise(argv) if word in ("-c", "--config")]


def _option(argv: list[str], name: str) -> str | None:
    for place, word in enumerate(argv):
        if word == name and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


SIGNALLED = 128
"""Shells add this to a signal's number for the exit status."""


def stopped(job: str, trainer: Trainer, signal: Signals) -> int:
    """Print how to resume a job that was stopped, in the first process, and return the exit status.

    Args:
        job: The job.
        trainer: Its trainer, which knows the step and the run's folder.
        signal: The signal that stopped it.
    """
    if trainer.global_rank:
        return SIGNALLED + signal
    way_on = ""
    if job not in EVALUATIONS:
        newest = last_checkpoint(trainer)
        resume = f": resume by the same command with --ckpt_path last ({newest})" if newest else ""
        way_on = f" at step {trainer.global_step}{resume or ', before the first checkpoint'}"
    print(f"stopped{way_on}", file=sys.stderr)
    return SIGNALLED + signal


def interrupted(error: BaseException) -> bool:
    """Say whether an error was raised because of Ctrl-C."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


@contextmanager
def sole_training(trainer: Trainer) -> Iterator[None]:
    """Refuse to train where another process trains; the first process of a training locks its folder.

    Args:
        trainer: The trainer, which knows the folder.

    Raises:
        BusyError: If another training works in the folder.
    """
    root = str(trainer.default_root_dir)
    if "://" in root or trainer.global_rank:
        yield
        return
    with writing(root):
        Path(root).mkdir(parents=True, exist_ok=True)
    busy = (
        f"trainer.default_root_dir: another training is still running in {root}; wait until it ends, stop it, or "
        "choose another folder"
    )
    with locked_folder(Path(root), busy, _KILLED):
        yield


_KILLED = 5.0
"""Seconds within which the workers of a training that was killed end, which have inherited its lock."""


class JobTrainer(Trainer):
    """Lightning's trainer with the main job, ``run``; whatever logs, the run's files are in ``default_root_dir``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        use_whole_files(self)
        for callback in self.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(checkpoint_folder(self))

    @property
    def log_dir(self) -> str:
        """The folder of the run."""
        return str(self.default_root_dir)

    def run(
        self,
        model: LightningModule,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, then test; check before training what the test needs.

        Args:
            model: What is trained.
            datamodule: The data.
            ckpt_path: A checkpoint to resume from: a path, or "last" for the newest one in the run's folder.
            weights_only: Whether the checkpoint may hold only weights and plain data.
        """
        callbacks = vars(self)["callbacks"]
        callbacks.append(PreflightCheck())
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only)
        if not self.interrupted:
            self.test(model, datamodule=datamodule, verbose=False)
