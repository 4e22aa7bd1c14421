"""Lightning's loggers and callbacks on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning import Callback
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.loggers import CSVLogger, Logger

from lasagna.cli import lightning_parts
from lasagna.cli.constructor_errors import recorded_errors
from lasagna.cli.jobs import JobTrainer
from lasagna.cli.lightning_parts import (
    RunConfig,
    check_loggers,
    check_weight_averaging,
    fill_folders,
    hyperparameters,
    optional_folders,
    ordered,
    register_types,
)
from lasagna.cli.list_items import named_items
from lasagna.cli.parse_errors import explain
from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.checkpoint import RunCheckpoint
from lasagna.tasks.callbacks.run_facts import run_folder
from lasagna.tasks.callbacks.validation import RunValidation
from tests.helpers.toy_training import train

QUIET = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}


class Refusing(CSVLogger):
    def __init__(self, save_dir: str = "x") -> None:
        raise ModuleNotFoundError("its library is not installed")


@pytest.fixture
def parser():
    made = ArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    made.add_argument("--logger", type=Logger | Iterable[Logger] | bool | None, default=None)
    made.add_argument("--callbacks", type=list[Callback] | Callback | None, default=None)
    made.add_argument("--default_root_dir", type=str)
    return made


def test_a_logger_without_a_folder_writes_into_that_of_the_run(parser):
    words = ["--default_root_dir=runs/x", "--logger=CSVLogger", "--logger+=lasagna.tasks.RunLogger"]
    with named_items(), optional_folders():
        config = parser.parse_args([*words, "--logger+=CSVLogger", '--logger+={"class_path": "MLFlowLogger"}'])
    config.logger[2].init_args.save_dir = "elsewhere"
    fill_folders(config)
    folders = [item.init_args.get("save_dir", item.init_args.get("folder")) for item in config.logger]
    assert folders == ["runs/x", "runs/x", "elsewhere", "./mlruns"]


def test_scores_and_checkpoints_are_in_the_folder_of_the_run_whatever_logs(tmp_path):
    checkpoints = [RunCheckpoint(), ModelCheckpoint(monitor="x"), ModelCheckpoint(dirpath=str(tmp_path / "own"))]
    logger = CSVLogger(str(tmp_path / "logs"))
    trainer = JobTrainer(default_root_dir=str(tmp_path / "run"), logger=logger, callbacks=[*checkpoints], **QUIET)
    folder = str(tmp_path / "run" / "checkpoints")
    assert [callback.dirpath for callback in checkpoints] == [folder, folder, str(tmp_path / "own")]
    assert trainer.log_dir == str(run_folder(trainer)) == str(tmp_path / "run")


def test_defaults_of_callbacks_can_be_written(parser):
    register_types()
    average = '{"class_path": "StochasticWeightAveraging", "init_args": {"swa_lrs": 0.1}}'
    config = parser.parse_args(["--callbacks+=Timer", f"--callbacks+={average}"])
    timer, average = yaml.safe_load(parser.dump(config, skip_validation=True))["callbacks"]
    assert timer["init_args"]["interval"] == "step"
    assert average["init_args"]["device"] == "cpu"


def test_the_error_of_a_constructor_is_found_where_one_object_or_several_are_taken(parser):
    config = parser.parse_args([f"--logger={__name__}.Refusing", f"--logger+={__name__}.Refusing"])
    with recorded_errors() as errors, pytest.raises(Exception, match="Not a valid subclass of Logger"):
        parser.instantiate(config)
    kind, error = errors[-1]
    assert kind is Refusing and str(error) == "its library is not installed"


def test_a_logger_that_is_not_there_is_refused_without_the_other_kinds_that_the_argument_takes(parser):
    with named_items(), pytest.raises(ArgumentError) as raised:
        parser.parse_args(["--logger=WanbLogger"])
    near = "did you mean WandbLogger (lightning.pytorch.loggers.WandbLogger)?"
    assert explain(str(raised.value), (), ()).split("\n  ") == ["logger: no class is called 'WanbLogger'", near]


def test_each_logger_gets_the_config_once(tmp_path):
    received = []
    loggers = [SimpleNamespace(log_hyperparams=received.append) for _ in range(2)]
    parser = ArgumentParser()
    parser.add_argument("--trainable", type=dict[str, float])
    callback = RunConfig(parser, Namespace(trainable={"*": 1.0}), overwrite=True)
    trainer = JobTrainer(default_root_dir=str(tmp_path), logger=False, **QUIET)
    trainer.loggers = loggers
    for stage in ("fit", "test"):
        callback.setup(trainer, None, stage)
    assert received == [{"trainable": '{"*": 1.0}'}] * 2
    assert (tmp_path / "config.yaml").is_file()


def test_mappings_are_text_where_keys_are_no_names():
    config = {"model": {"trainable": {"mask_head.*": 1.0}, "seed": 3}, "files": [{"a b": 1}]}
    assert hyperparameters(config) == config | {"model": {"trainable": '{"mask_head.*": 1.0}', "seed": 3}}


@pytest.mark.parametrize("options", [{"max_steps": 5, "max_epochs": 2}, {"max_steps": 5}, {"max_epochs": -1}])
def test_weights_are_averaged_by_epochs_only(options, tmp_path):
    callbacks = [StochasticWeightAveraging(swa_lrs=0.1)]
    check_weight_averaging(JobTrainer(default_root_dir=str(tmp_path), max_epochs=2, callbacks=callbacks, **QUIET))
    trainer = JobTrainer(default_root_dir=str(tmp_path), callbacks=callbacks, **options, **QUIET)
    with pytest.raises(ConfigError, match=r"averages once an epoch.* --model.ema_decay"):
        check_weight_averaging(trainer)


def test_early_stopping_looks_at_each_validation_wherever_it_is_listed(tmp_path):
    stopping = EarlyStopping("val/toy/miou/lasagna-v1", mode="max", patience=1)
    trainer, _ = train(tmp_path, *ordered([stopping, RunValidation(times=7)]), RunCheckpoint())
    assert trainer.global_step == 3
    assert ordered(None) == []
    assert ordered(stopping) == [stopping]


# Lightning's LitLogger is none of its loggers by class, so that no config can name it
@pytest.mark.parametrize("kind", sorted({*loggers.__all__} - {"Logger", "CSVLogger", "LitLogger"}))
def test_a_logger_whose_package_is_missing_is_refused_on_one_line(kind, parser, monkeypatch):
    monkeypatch.setattr(lightning_parts, "find_spec", lambda name: None)
    with named_items(), optional_folders():
        config = parser.parse_args(["--logger=CSVLogger", f"--logger+=lightning.pytorch.loggers.{kind}"])
    with pytest.raises(ConfigError, match=rf"^trainer.logger: {kind} needs the package ([\w-]+), .*`pip install \1`"):
        check_loggers(config)
