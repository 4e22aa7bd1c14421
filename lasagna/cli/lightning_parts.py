"""Lightning's loggers and callbacks on the command line.

A logger without a folder writes into that of the run, and each gets the run's config. Arguments that the parser cannot
write into a config by itself are written as text.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from importlib.util import find_spec
from pydoc import locate
from typing import Any
from unittest.mock import patch

import torch
import yaml  # type: ignore[import-untyped]
from jsonargparse import Namespace, _typehints
from jsonargparse.typing import register_type
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, StochasticWeightAveraging
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import SingleDeviceStrategy

from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.continued_logs import ContinuedLogs
from lasagna.tasks.callbacks.monitors import MonitorCheck
from lasagna.tasks.callbacks.progress import PartsTable, RunProgress
from lasagna.tasks.callbacks.validation import RunValidation


def register_types() -> None:
    """Let configs hold devices and enumerations, which are defaults of some of Lightning's callbacks."""
    register_type(torch.device, str, fail_already_registered=False)
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


FOLDERS = ("save_dir", "folder")
"""Arguments of loggers that name the folder they write to."""

_action: Any = _typehints.ActionTypeHint
_class_parser: Callable[..., Any] = _action.get_class_parser


@contextmanager
def optional_folders() -> Iterator[None]:
    """While parsing, let loggers that need a folder do without one; ``fill_folders`` gives them the run's."""
    with patch.object(_action, "get_class_parser", staticmethod(_without_required_folder)):
        yield


def _without_required_folder(val_class: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the parser calls it
    parser = _class_parser(val_class, *args, **kwargs)
    if isinstance(val_class, type) and issubclass(val_class, Logger):
        for action in parser._actions:
            action.required = action.required and action.dest not in FOLDERS
    return parser


def fill_folders(trainer: Namespace) -> None:
    """Let loggers without a folder of their own write into that of the run.

    Args:
        trainer: The parsed settings of the trainer.
    """
    found = trainer.get("logger")
    for spec in found if isinstance(found, list) else [found]:
        for name in _required_folders(spec):
            if spec.get(f"init_args.{name}") is None:
                spec[f"init_args.{name}"] = str(trainer.get("default_root_dir") or ".")


_PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "WandbLogger": ("wandb",),
    "MLFlowLogger": ("mlflow",),
    "CometLogger": ("comet_ml",),
}
"""Logger of Lightning to the packages of which it needs one; the first is the one to install."""


def check_loggers(trainer: Namespace) -> None:
    """Check that the packages are installed that loggers of Lightning need.

    Args:
        trainer: The parsed settings of the trainer.

    Raises:
        ConfigError: If one is missing.
    """
    found = trainer.get("logger")
    for spec in found if isinstance(found, list) else [found]:
        for kind in getattr(_class_of(spec), "__mro__", ()):
            needed = _PACKAGES.get(kind.__name__, ()) if kind.__module__.startswith("lightning.") else ()
            if needed and not any(map(find_spec, needed)):
                package = needed[0].replace("_", "-")
                raise ConfigError(
                    f"trainer.logger: {kind.__name__} needs the package {package}, which is not installed; "
                    f"`pip install {package}`, or choose another logger, e.g. CSVLogger"
                )


def _class_of(spec: Any) -> object:  # noqa: ANN401
    return locate(str(spec["class_path"])) if isinstance(spec, Namespace) else None


def _required_folders(spec: Any) -> list[str]:  # noqa: ANN401
    kind = _class_of(spec)
    parameters = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    return [name for name in FOLDERS if name in parameters and parameters[name].default is inspect.Parameter.empty]


class RunConfig(SaveConfigCallback):
    """Saves the config of a run into its folder, and gives it to each logger as hyperparameters."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the hyperparameters; Lightning calls this once, in the first process only."""
        if trainer.loggers:
            config = hyperparameters(json.loads(self.parser.dump(self.config, skip_link_targets=False, format="json")))
        for logger in trainer.loggers:
            logger.log_hyperparams(config)


def hyperparameters(config: Any) -> Any:  # noqa: ANN401
    """Return a config in which mappings are text if their keys are no names, which some loggers refuse.

    Args:
        config: The config as plain data, or a part of it.
    """
    if not isinstance(config, dict):
        return config
    if not all(name.isidentifier() for name in config):
        return json.dumps(config)
    return {name: hyperparameters(part) for name, part in config.items()}


def ordered(configured: Callback | list[Callback] | None) -> list[Callback]:
    """Return callbacks in an order in which each of them works, whatever the order of the config.

    ``RunValidation`` comes first: Lightning's ``EarlyStopping`` decides at its setup when it will look.

    Args:
        configured: The callbacks of the config.
    """
    callbacks = configured if isinstance(configured, list) else [configured] if configured else []
    return sorted(callbacks, key=lambda callback: not isinstance(callback, RunValidation))


def further_callbacks(config: Mapping[str, Any]) -> list[Callback]:
    """Return the callbacks that every run has besides those of its config.

    Args:
        config: The settings of the trainer.
    """
    has_bar = any(isinstance(callback, ProgressBar) for callback in ordered(config.get("callbacks")))
    added: list[Callback] = [ContinuedLogs(), MonitorCheck()]
    if config.get("enable_progress_bar") is not False and not has_bar:
        added.append(RunProgress())
    if config.get("enable_model_summary") is not False:
        added.append(PartsTable())
    return added


def check_weight_averaging(trainer: Trainer) -> None:
    """Check that Lightning's average of the weights, if it is among the callbacks, will average what is trained.

    Args:
        trainer: The trainer.

    Raises:
        ConfigError: If the training is not counted in epochs, or the callback would copy a model that is not built yet.
    """
    averages = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, StochasticWeightAveraging)]
    if not averages:
        return
    way_out = "or average after every step, with --model.ema_decay 0.99 instead"
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        raise ConfigError(f"trainer.callbacks.StochasticWeightAveraging: it takes one device; use one, {way_out}")
    if trainer.max_steps != -1 or trainer.max_epochs in (None, -1):
        raise ConfigError(
            f"trainer.callbacks.StochasticWeightAveraging: it averages once an epoch, and training ends after "
            f"{trainer.max_steps} steps; give --trainer.max_steps -1 --trainer.max_epochs N, {way_out}"
        )
