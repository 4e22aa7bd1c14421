"""The command line of training: ``run`` (the main job), ``fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf.errors import OmegaConfBaseException

from lasagna import datamodules, modules, tasks
from lasagna.cli.arguments import Lists, nulls_kept
from lasagna.cli.config_checks import check_nulls, parts_start_anew
from lasagna.cli.jobs import (
    EVALUATIONS,
    LAST,
    SIGNALLED,
    JobTrainer,
    check_trained,
    checkpoint_config,
    configs,
    find_checkpoint,
    interrupted,
    stopped,
)
from lasagna.cli.parse_errors import ConfigParser
from lasagna.datamodules import ShardDataModule
from lasagna.errors import LasagnaError
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.tasks import RunSummary
from lasagna.tasks.callbacks.progress import PartsTable, RunProgress
from lasagna.tasks.training.module import AssistantTraining

_WARNINGS = (
    "LightningCLI's args parameter",  # main() takes a command line on purpose
    "Found .* module.* in eval mode",  # frozen parts are, on purpose
    "Checkpoint directory .* exists and is not empty",  # a run is resumed and tested in its own folder
    ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
    ".*does not have many workers",  # the number of workers is the config's choice
)
"""Beginnings of warnings, as regular expressions, each with the reason why it says nothing to the user."""

_LINES = (
    "💡",  # an advertisement of a service
    "TPU available",  # there are no configs for them
    "stopped: `max_steps=",  # the progress bar shows the last step
    "Restored all states from",  # said before as `Restoring states from`
)
"""Parts of log lines, each with the reason why it says nothing to the user."""


def silence_known_warnings() -> None:
    """Leave the remarks out that say nothing to the user; all others stay."""
    for reason in _WARNINGS:
        warnings.filterwarnings("ignore", message=reason)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(line in message for line in _LINES)


DEFAULTS = Path(__file__).parents[2] / "configs" / "default.yaml"
"""The config that all others change, where the package runs from its repository."""

FAULTS = (LasagnaError, MisconfigurationException, OmegaConfBaseException)
"""Errors that are the input's fault, and are shown without a traceback."""

ABOUT = (
    "Train, test and show an assistant. Without arguments it runs the main job: it writes the data, trains the default "
    "assistant, tests it, and leaves scores, curves and pictures in the run's folder."
)

_JOBS = ("run", "fit", *EVALUATIONS)


class TrainingCLI(LightningCLI):
    """Lightning's command line with the main job, short errors and a config saved for each job."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the jobs and what is not asked for on the command line."""
        jobs = LightningCLI.subcommands()
        skipped = {"weights_only"}
        for job in ("test", "validate"):
            jobs[job].add("verbose")
        return {"run": {"model", "datamodule"} | skipped} | {job: names | skipped for job, names in jobs.items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is neither model nor data nor trainer."""
        parser.add_argument("--threads", type=int | None, default=None, help="Threads of torch on the CPU.")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what is asked for; a part that is swapped in takes nothing over from the old one."""
        with parts_start_anew():
            super().parse_arguments(parser, args)
        check_nulls(self.config if self.config.get("subcommand") is None else self.config[self.config.subcommand])

    def before_instantiate_classes(self) -> None:
        """Set the threads, and name the saved config after the job."""
        if self.subcommand is None:
            return
        job = self.config[self.subcommand]
        if job.threads is not None:
            torch.set_num_threads(job.threads)
        # a config of `run` is one of `fit`
        name = "fit" if self.subcommand == "run" else self.subcommand
        self.save_config_kwargs = {"config_filename": f"config_{name}.yaml", "overwrite": True}

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; what their constructors say is shown as they said it."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause = _root(error)
            raise (cause if isinstance(cause, LasagnaError) else LasagnaError(str(cause))) from error

    def after_instantiate_classes(self) -> None:
        """Let the checkpoints carry the resolved config."""
        if self.subcommand is None:
            return
        dump = self.parser.dump(self.config, skip_link_targets=False, skip_unset=False, format="json")
        if isinstance(self.model, AssistantTraining):
            self.model.config = json.loads(dump)[self.subcommand]

    def before_fit(self) -> None:
        """Build the assistant before data are written, so that what is wrong with it is said at once."""
        if not isinstance(self.model, AssistantTraining):
            return
        if self.model.warm_start is not None:
            read_checkpoint(self.model.warm_start)
        # on several devices the strategy decides where, and in which process, weights are made
        if isinstance(self.trainer.strategy, SingleDeviceStrategy):
            with self.trainer.init_module(), self.trainer.precision_plugin.module_init_context():
                self.model.configure_model()

    def before_run(self) -> None:
        """Do as before ``fit``."""
        self.before_fit()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        given = config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        has_bar = any(isinstance(callback, ProgressBar) for callback in given)
        ours: list[Callback] = []
        if config.get("enable_progress_bar") is not False and not has_bar:
            ours.append(RunProgress())
        if config.get("enable_model_summary") is not False:
            ours.append(PartsTable())
        trainer: Trainer = super()._instantiate_trainer(config | {"enable_model_summary": False}, [*callbacks, *ours])
        return trainer

    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's hyperparameters override what was typed; here what was typed counts, and a
        # training that would go on with another optimiser is refused
        path = self.config[self.config.subcommand].get("ckpt_path") if self.config.get("subcommand") else None
        if path and path != LAST:
            read_checkpoint(path)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SIGTERMException as stop:
            raise SystemExit(stopped(subcommand, self.trainer, SIGTERM)) from stop
        except (SystemExit, Exception) as stop:
            # Lightning ends with its own exit; what was being written complains of half a file
            if not interrupted(stop):
                raise
            raise SystemExit(stopped(subcommand, self.trainer, SIGINT)) from stop

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand) | {"weights_only": True}
        kwargs["ckpt_path"] = find_checkpoint(kwargs.get("ckpt_path"), subcommand, self.trainer)
        if kwargs["ckpt_path"] is None and getattr(self.model, "warm_start", None) is None:
            check_trained(subcommand, self.trainer)
        summarised = any(isinstance(callback, RunSummary) for callback in vars(self.trainer)["callbacks"])
        return kwargs | ({"verbose": False} if subcommand in ("test", "validate") and summarised else {})


def main(argv: list[str] | None = None) -> TrainingCLI:
    """Run a job.

    Args:
        argv: The command line without the program's name; None for that of the process. Without a job's name it is
            the main job, ``run``.

    Returns:
        The command line with its ``trainer``, ``model`` and ``datamodule`` after the job.

    Raises:
        SystemExit: If the input is at fault, or the job was stopped by Ctrl-C or SIGTERM; the reason has been printed.
    """
    argv = with_job(sys.argv[1:] if argv is None else argv)
    try:
        return TrainingCLI(**command_line(argv))
    except FAULTS as error:
        print(f"error: {brief(error)}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        raise SystemExit(SIGNALLED + SIGINT) from stop


def with_job(argv: list[str]) -> list[str]:
    """Return a command line with its job: the main one where none is named."""
    wants_help = any(word in ("-h", "--help", "--version") for word in argv[:1])
    return argv if wants_help or (argv and not argv[0].startswith("-")) else ["run", *argv]


def brief(error: BaseException) -> str:
    """Return the message of a fault, without the traceback or the inner keys that libraries put into it."""
    text = str(error)
    if isinstance(error, OmegaConfBaseException):
        return text.splitlines()[0]
    return text.rsplit(f"{type(error).__name__}: ", 1)[-1].strip() if "Original Traceback" in text else text


def base_config(argv: list[str]) -> tuple[list[str], list[str]]:
    """Say what a command line changes: the default config, or that of the checkpoint to evaluate.

    Args:
        argv: The command line, with its job.

    Returns:
        Default config files, and the command line with the checkpoint's own config in it.
    """
    kept = checkpoint_config(argv)
    return (_defaults(), argv) if kept is None else ([], [argv[0], "--config", json.dumps(kept), *argv[1:]])


def command_line(argv: list[str], *, run: bool = True) -> dict[str, Any]:
    """Return the arguments of ``TrainingCLI`` for a command line.

    Args:
        argv: The command line; with its job, unless nothing is to be run.
        run: Whether a job is run, or model, data and trainer are only made.
    """
    _settle()
    named = configs(argv)
    files, argv = base_config(argv) if run else (_defaults(), argv)
    ConfigParser.files = tuple(path for path in map(Path, [*files, *named]) if path.is_file())
    job = {"parser_mode": "omegaconf+", "default_config_files": files}
    return {
        "parser_kwargs": {"parser_mode": "omegaconf+", "description": ABOUT} | {name: dict(job) for name in _JOBS}
        if run
        else job,
        "model_class": AssistantTraining,
        "datamodule_class": ShardDataModule,
        "subclass_mode_model": True,
        "subclass_mode_data": True,
        "trainer_class": JobTrainer,
        "parser_class": ConfigParser,
        "save_config_callback": SaveConfigCallback,
        "seed_everything_default": 0,
        "auto_configure_optimizers": False,
        "load_from_checkpoint_support": False,
        "args": Lists(files).emptied(nulls_kept(argv)),
    }


def _defaults() -> list[str]:
    return [str(DEFAULTS)] if DEFAULTS.is_file() else []


def _root(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _root(error.__cause__)


def _settle() -> None:
    # a bare class name is enough in a config for classes that are imported
    for package in (modules, datamodules, tasks):
        for name in package.__all__:
            getattr(package, name)
    # interpolation across files and overrides: each file would be resolved alone otherwise
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    # users' own classes as `file.Class`, also from the installed command
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    silence_known_warnings()
