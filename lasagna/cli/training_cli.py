"""Lightning's command line with the jobs of ``train.py``: ``run``, ``fit``, ``validate``, ``test``, ``predict``."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from jsonargparse import Namespace, set_parsing_settings
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lasagna.cli.arguments import configs_first, find_packaged_configs, nulls_kept, with_moved_folders
from lasagna.cli.class_names import bare_class_names, import_exports
from lasagna.cli.config_checks import check_nulls, check_settings, parts_start_anew
from lasagna.cli.configs import DEFAULTS
from lasagna.cli.constructor_errors import constructor_error, recorded_errors
from lasagna.cli.entry import import_from_working_directory, is_input_error
from lasagna.cli.file_errors import read_config, typed_files
from lasagna.cli.jobs import (
    EVALUATIONS,
    IN_RUN,
    STORED_KINDS,
    TRAININGS,
    JobTrainer,
    check_trained,
    checkpoint_config,
    find_checkpoint,
    interrupted,
    sole_training,
    stopped,
)
from lasagna.cli.known_warnings import silence_known_warnings
from lasagna.cli.lightning_parts import (
    RunConfig,
    check_loggers,
    check_weight_averaging,
    fill_folders,
    further_callbacks,
    optional_folders,
    ordered,
    register_types,
)
from lasagna.cli.list_items import named_items
from lasagna.cli.own_code import own_error
from lasagna.cli.parse_errors import ConfigParser
from lasagna.cli.processes import STOPPED, ProcessWatch
from lasagna.cli.same_checkpoint import SameCheckpoint
from lasagna.cli.train import ABOUT, JOBS, short_message
from lasagna.core.foreign import Foreign
from lasagna.core.seeding import check_seed
from lasagna.core.storage import check_output
from lasagna.datamodules.protocols import check_sources
from lasagna.errors import LasagnaError, check_counts
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.tasks import RunSummary
from lasagna.tasks.callbacks.continued_logs import continue_logs
from lasagna.tasks.callbacks.monitors import explained
from lasagna.tasks.training.module import AssistantTraining
from lasagna.tasks.training.strategies import check_strategy, check_strategy_class, named_strategy


class TrainingCLI(LightningCLI):
    """Lightning's command line with the main job, short errors and one saved config per job."""

    stored_in: Foreign | None = None
    """The checkpoint that the config of this command comes from."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return each job with the arguments that are no options of the command line."""
        jobs = LightningCLI.subcommands()
        skipped = {"weights_only"}
        for job in ("test", "validate"):
            jobs[job].add("verbose")
        return {"run": {"model", "datamodule"} | skipped} | {job: names | skipped for job, names in jobs.items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that belong to neither model, data nor trainer."""
        parser.add_argument("--threads", type=int | None, default=None, help="Number of CPU threads for torch.")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line; a part that is swapped in inherits no arguments from the one before."""
        with parts_start_anew(), bare_class_names(), named_items(), optional_folders():
            super().parse_arguments(parser, args)
        job = self._job
        check_counts(threads=job.get("threads"))
        check_seed(job.get("seed_everything"))
        if job.get("trainer") is not None:
            check_settings("trainer", job.trainer)
            check_loggers(job.trainer)
            fill_folders(job.trainer)
            # Lightning's constructors may want another package before they can be refused
            check_strategy_class(named_strategy(job.trainer.get("strategy")))
        check_nulls(job)
        if self.stored_in is not None:
            self.stored_in.check(job.clone().as_dict(), STORED_KINDS)

    @property
    def _job(self) -> Namespace:
        """The config of the job, or that of a command line without one."""
        job: Namespace = self.config if self.config.get("subcommand") is None else self.config[self.config.subcommand]
        return job

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
        """Make model, data and trainer; show errors of their constructors without the parser's words around them."""
        with recorded_errors() as errors:
            try:
                super().instantiate_classes()
            except (ValueError, ImportError) as error:
                raise constructor_error(error, errors, self._job.as_dict()) from error

    def after_instantiate_classes(self) -> None:
        """Check strategy and folder, and give the model the resolved config, which its checkpoints will hold."""
        if self.subcommand is None:
            return
        check_strategy(self.trainer.strategy)
        check_sources(self.datamodule)
        if "://" not in (root := str(self.trainer.default_root_dir)):
            check_output(Path(root), "trainer.default_root_dir")
        whole = {"skip_link_targets": False, "skip_unset": False}
        dump = self.parser.dump(self.config, **whole, skip_validation=True, format="json")
        if isinstance(self.model, AssistantTraining):
            self.model.config = json.loads(dump)[self.subcommand]

    def before_fit(self) -> None:
        """Build the assistant before data are written, so that its errors come at once."""
        check_weight_averaging(self.trainer)
        if not isinstance(self.model, AssistantTraining):
            return
        self.model.optimiser.check_classes()
        if self.model.warm_start is not None:
            read_checkpoint(self.model.warm_start)
        # with several devices, the strategy decides where and in which process weights are made
        if isinstance(self.trainer.strategy, SingleDeviceStrategy):
            with self.trainer.init_module(), self.trainer.precision_plugin.module_init_context():
                self.model.configure_model()

    before_run = before_validate = before_test = before_predict = before_fit

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        settings = config | {"callbacks": ordered(config.get("callbacks")), "enable_model_summary": False}
        trainer: Trainer = super()._instantiate_trainer(settings, [*callbacks, *further_callbacks(config)])
        return trainer

    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's hyperparameters override the command line. Here the command line wins, and
        # resuming with another optimiser is an error.
        path = self.config[self.config.subcommand].get("ckpt_path") if self.config.get("subcommand") else None
        if path and path not in IN_RUN:
            read_checkpoint(path)

    def _run_subcommand(self, subcommand: str) -> None:
        watch = ProcessWatch(self.trainer)
        try:
            with sole_training(self.trainer) if subcommand in TRAININGS else nullcontext():
                super()._run_subcommand(subcommand)
            watch.finish()
        except SIGTERMException as stop:
            watch.fail(stop, STOPPED)
            raise SystemExit(stopped(subcommand, self.trainer, SIGTERM)) from stop
        except (SystemExit, Exception) as stop:
            # Lightning exits by itself, and whoever was writing a file complains that it is incomplete
            if interrupted(stop):
                watch.fail(stop, STOPPED)
                raise SystemExit(stopped(subcommand, self.trainer, SIGINT)) from stop
            error = explained(stop, self.trainer)
            told = is_input_error(error) or watch.may_follow(error)
            if not told and (own := own_error(error, self._job.as_dict())):
                error = LasagnaError(own)
            if not watch.fail(error, short_message(error) if is_input_error(error) else ""):
                raise SystemExit(2) from error
            raise error from (stop.__cause__ if error is stop else stop)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand) | {"weights_only": True}
        kwargs["ckpt_path"] = find_checkpoint(kwargs.get("ckpt_path"), subcommand, self.trainer)
        if self.trainer.world_size > 1:
            vars(self.trainer)["callbacks"].append(SameCheckpoint(kwargs["ckpt_path"]))
        if kwargs["ckpt_path"] is None and getattr(self.model, "warm_start", None) is None:
            check_trained(subcommand, self.trainer)
        continue_logs(self.trainer, subcommand not in EVALUATIONS, kwargs["ckpt_path"] is not None)
        summarised = any(isinstance(callback, RunSummary) for callback in vars(self.trainer)["callbacks"])
        return kwargs | ({"verbose": False} if subcommand in ("test", "validate") and summarised else {})


class _ParsedCLI(TrainingCLI):
    """A command line that is parsed only: nothing is made of it, and no job is run."""

    def _set_seed(self) -> None:
        pass

    def before_instantiate_classes(self) -> None:
        """Leave the threads alone."""

    def instantiate_classes(self) -> None:
        """Make nothing."""

    def after_instantiate_classes(self) -> None:
        """Keep nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def parse_only(argv: list[str]) -> None:
    """Parse a command line, and make and run nothing.

    Args:
        argv: The command line, with its job.

    Raises:
        SystemExit: If it is wrong; the reason has been printed.
        LasagnaError: If it is wrong.
    """
    _ParsedCLI(**command_line(argv))


def base_config(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return the config that a command line changes: the default one, or that of the checkpoint to evaluate.

    Args:
        argv: The command line, with its job.

    Returns:
        Default config files, and the command line with the checkpoint's own config in it.
    """
    found = checkpoint_config(argv)
    if found is not None:
        TrainingCLI.stored_in = found[1]
    return ([str(DEFAULTS)], argv) if found is None else ([], [argv[0], "--config", json.dumps(found[0]), *argv[1:]])


def command_line(argv: list[str], *, run: bool = True) -> dict[str, Any]:
    """Return the arguments of ``TrainingCLI`` for a command line.

    Args:
        argv: The command line; with its job, if one is to be run.
        run: Whether to run a job, or only make model, data and trainer.
    """
    import_from_working_directory()
    silence_known_warnings()
    # a reference such as ${trainer.max_steps} is resolved after all files and options are merged
    register_types()
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    if any(word in ("-h", "--help") or ".help" in word for word in argv):
        import_exports()
    argv = configs_first(find_packaged_configs(argv))
    typed = typed_files(argv)
    argv = with_moved_folders(argv)
    TrainingCLI.stored_in = None
    files, argv = base_config(argv) if run else ([str(DEFAULTS)], argv)
    ConfigParser.files = (*map(read_config, files), *typed)
    job = {"parser_mode": "omegaconf+", "default_config_files": files}
    jobs = {"parser_mode": "omegaconf+", "description": ABOUT, "prog": "lasagna train"}
    return {
        "parser_kwargs": jobs | {name: dict(job) for name in JOBS} if run else job,
        "model_class": AssistantTraining,
        "datamodule_class": LightningDataModule,
        "subclass_mode_model": True,
        "subclass_mode_data": True,
        "trainer_class": JobTrainer,
        "parser_class": ConfigParser,
        "save_config_callback": RunConfig,
        "seed_everything_default": 0,
        "auto_configure_optimizers": False,
        "load_from_checkpoint_support": False,
        "args": nulls_kept(argv),
    }
