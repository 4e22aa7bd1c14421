"""Loggers of other packages take a whole run through the door, and hold its losses and scores."""

from __future__ import annotations

import pytest

from lasagna.cli.train import main
from tests.helpers.tiny_run import write_config, write_scenes


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logged")
    return write_config(folder, write_scenes(folder / "scenes"))


def run(config, folder, logger, *options):
    """Train and test a few steps, with one more logger."""
    words = [f"--trainer.logger.{logger}.{option}" for option in options]
    main([f"--config={config}", f"--trainer.default_root_dir={folder}", f"--trainer.logger+={logger}", *words])
    assert (folder / "metrics.csv").is_file()


@pytest.mark.slow
def test_tensorboard(config, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(config, tmp_path, "TensorBoardLogger")
    [folder] = {file.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    found = accumulator.EventAccumulator(str(folder)).Reload()
    assert {"train/loss", "train/lr", "test/scenes-semantic/miou/lasagna-v1"} <= {*found.Tags()["scalars"]}
    assert all(event.value > 0 for event in found.Scalars("train/loss"))


@pytest.mark.slow
def test_weights_and_biases_offline(config, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    run(config, tmp_path, "WandbLogger", "offline=true")
    wandb.finish()  # as the end of a process does
    [file] = tmp_path.rglob("offline-run-*/*.wandb")
    content = file.read_bytes()
    assert b"train/loss" in content
    assert b"test/scenes-semantic/miou/lasagna-v1" in content


@pytest.mark.slow
def test_mlflow_in_a_folder(config, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run(config, tmp_path, "MLFlowLogger", f"save_dir={tmp_path / 'mlruns'}")
    client = mlflow.MlflowClient(f"file:{tmp_path / 'mlruns'}")
    [found] = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert found.data.metrics["train/loss"] > 0
    assert "test/scenes-semantic/miou/lasagna-v1" in found.data.metrics
    assert found.info.status == "FINISHED"
