"""The command line of training: ``run`` (the main job), ``fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from lasagna import modules, tasks  # noqa: F401 - imported so that a bare class name is enough in a config
from lasagna.config_parser import ConfigParser
from lasagna.datamodules import ShardDataModule
from lasagna.errors import LasagnaError
from lasagna.jobs import JobTrainer
from lasagna.loading import read_checkpoint
from lasagna.tasks import RunSummary
from lasagna.tasks.training import AssistantTraining
from lasagna.trained import CONFIG

DEFAULTS = Path(__file__).parents[1] / "configs" / "default.yaml"
"""The config that all others change, where the package runs from its repository."""

_EVALUATIONS = ("validate", "test", "predict")
_JOBS = ("run", "fit", *_EVALUATIONS)
_SPECIAL_PATHS = ("last", "best", "hpc")


class TrainingCLI(LightningCLI):
    """Lightning's command line with the main job, short errors and a config saved for each job."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the jobs and what is not asked for on the command line."""
        jobs = LightningCLI.subcommands()
        skipped = {"weights_only"}
        jobs["test"].add("verbose")
        return {"run": {"model", "datamodule"} | skipped} | {job: names | skipped for job, names in jobs.items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is neither model nor data nor trainer."""
        parser.add_argument("--threads", type=int | None, default=None, help="Threads of torch on the CPU.")

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
        except ValueError as fault:
            cause = _root(fault)
            raise (cause if isinstance(cause, LasagnaError) else LasagnaError(str(cause))) from fault

    def after_instantiate_classes(self) -> None:
        """Let the checkpoints carry the resolved config."""
        if self.subcommand is None:
            return
        dump = self.parser.dump(self.config, skip_link_targets=False, skip_unset=False, format="json")
        if isinstance(self.model, AssistantTraining):
            self.model.config = json.loads(dump)[self.subcommand]

    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's hyperparameters override what was typed; here what was typed counts
        path = self.config[self.config.subcommand].get("ckpt_path") if self.config.get("subcommand") else None
        if path and path not in _SPECIAL_PATHS:
            read_checkpoint(path)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand) | {"weights_only": True}
        summarised = any(isinstance(callback, RunSummary) for callback in vars(self.trainer)["callbacks"])
        return kwargs | ({"verbose": False} if subcommand == "test" and summarised else {})


def main(argv: list[str] | None = None) -> TrainingCLI:
    """Run a job.

    Args:
        argv: The command line without the program's name; None for that of the process. Without a job's name it is
            the main job, ``run``.

    Returns:
        The command line with its ``trainer``, ``model`` and ``datamodule`` after the job.

    Raises:
        SystemExit: If the input is at fault; the reason has been printed.
    """
    argv = with_job(sys.argv[1:] if argv is None else argv)
    try:
        return TrainingCLI(**command_line(argv))
    except LasagnaError as fault:
        print(f"error: {brief(fault)}", file=sys.stderr)
        raise SystemExit(2) from fault


def with_job(argv: list[str]) -> list[str]:
    """Return a command line with its job: the main one where none is named."""
    wants_help = any(word in ("-h", "--help", "--version") for word in argv[:1])
    return argv if wants_help or (argv and not argv[0].startswith("-")) else ["run", *argv]


def brief(fault: BaseException) -> str:
    """Return the message of a fault, without the traceback that a data worker puts into it."""
    text = str(fault)
    return text.rsplit(f"{type(fault).__name__}: ", 1)[-1].strip() if "Original Traceback" in text else text


def base_config(argv: list[str]) -> tuple[list[str], list[str]]:
    """Say what a command line changes: the default config, or that of the checkpoint to evaluate.

    Args:
        argv: The command line, with its job.

    Returns:
        Default config files, and the command line with the checkpoint's own config in it.
    """
    path = _option(argv, "--ckpt_path")
    if argv[0] not in _EVALUATIONS or _configs(argv) or path is None or path in _SPECIAL_PATHS:
        return _defaults(), argv
    config = read_checkpoint(path).get(CONFIG)
    if config is None:
        return _defaults(), argv
    kept = {key: value for key, value in config.items() if key in ("seed_everything", "threads", "model", "data")}
    kept["trainer"] = config["trainer"]
    return [], [argv[0], "--config", json.dumps(kept), *argv[1:]]


def command_line(argv: list[str], *, run: bool = True) -> dict[str, Any]:
    """Return the arguments of ``TrainingCLI`` for a command line.

    Args:
        argv: The command line; with its job, unless nothing is to be run.
        run: Whether a job is run, or model, data and trainer are only made.
    """
    _settle()
    named = _configs(argv)
    files, argv = base_config(argv) if run else (_defaults(), argv)
    ConfigParser.files = tuple(path for path in map(Path, [*files, *named]) if path.is_file())
    job = {"parser_mode": "omegaconf+", "default_config_files": files}
    return {
        "parser_kwargs": {"parser_mode": "omegaconf+"} | {name: dict(job) for name in _JOBS} if run else job,
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
        "args": argv,
    }


def _defaults() -> list[str]:
    return [str(DEFAULTS)] if DEFAULTS.is_file() else []


def _configs(argv: list[str]) -> list[str]:
    glued = [word.partition("=")[2] for word in argv if word.startswith(("--config=", "-c="))]
    return glued + [after for word, after in pairwise(argv) if word in ("-c", "--config")]


def _option(argv: list[str], name: str) -> str | None:
    for place, word in enumerate(argv):
        if word == name and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def _root(fault: BaseException) -> BaseException:
    return fault if fault.__cause__ is None else _root(fault.__cause__)


def _settle() -> None:
    # interpolation across files and overrides: each file would be resolved alone otherwise
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    # users' own classes as `file.Class`, also from the installed command
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "💡" not in record.getMessage())
    for reason in (
        "LightningCLI's args parameter",  # main() takes a command line on purpose
        "Found .* module.* in eval mode",  # frozen parts are, on purpose
        "Checkpoint directory .* exists and is not empty",  # a run is resumed and tested in its own folder
        ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
        ".*does not have many workers",  # the number of workers is the config's choice
    ):
        warnings.filterwarnings("ignore", message=reason)
