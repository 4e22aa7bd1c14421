"""Lightning's loggers go on with the files of a run that resumes."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger

from lasagna.tasks.callbacks.continued_logs import ContinuedLogs, continue_logs


def log(folder, step, *, resumed=False, trains=True, name="train/loss", version=None):
    """Log two steps in a process of their own, as it were."""
    logger = CSVLogger(str(folder), version=version)
    trainer = SimpleNamespace(loggers=[logger], is_global_zero=True, global_step=step)
    continue_logs(trainer, trains, resumed)
    if trains:
        ContinuedLogs().on_train_start(trainer, None)
    for place in (step, step + 1):
        logger.log_metrics({name: 0.5}, place)
        logger.save()
    return logger.version


def rows(folder, version):
    with (folder / "lightning_logs" / f"version_{version}" / "metrics.csv").open() as stream:
        return [(row["step"], *sorted(name for name, cell in row.items() if cell)) for row in csv.DictReader(stream)]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
@pytest.mark.parametrize("version", [None, 0])
def test_a_training_that_resumes_keeps_the_rows_before_its_checkpoint(version, tmp_path):
    assert log(tmp_path, 0, version=version) == 0
    assert log(tmp_path, 2, version=version, trains=False, name="test/miou") == (1 if version is None else 0)
    assert log(tmp_path, 1, version=version, resumed=True) == 0
    trained = [(str(step), "step", "train/loss") for step in range(3)]
    tested = [] if version is None else [(str(step), "step", "test/miou") for step in (2, 3)]
    assert sorted(rows(tmp_path, 0)) == sorted(trained + tested)
    assert log(tmp_path, 0, version=version) == (2 if version is None else 0), "another training begins anew"


def test_a_test_keeps_the_rows_of_the_training(tmp_path):
    log(tmp_path, 0, version=0)
    log(tmp_path, 2, version=0, trains=False, resumed=True, name="test/miou")
    assert [row[0] for row in rows(tmp_path, 0)] == ["0", "1", "2", "3"]
    assert rows(tmp_path, 0)[-1] == ("3", "step", "test/miou")


def test_a_run_that_resumes_elsewhere_begins_a_file(tmp_path):
    assert log(tmp_path, 4, resumed=True) == 0
    assert [row[0] for row in rows(tmp_path, 0)] == ["4", "5"]
