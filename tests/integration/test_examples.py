"""The examples that are scripts do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_run import write_config, write_scenes

ROOT = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds within which a search of a few trainings ends."""


@pytest.mark.slow
def test_processes_share_a_search_with_optuna(tmp_path):
    optuna = pytest.importorskip("optuna")
    write_config(tmp_path, write_scenes(tmp_path / "scenes"))
    words = ["--config=tiny.yaml", "--trainer.max_steps=2", "--trainer.val_check_interval=2"]
    words += ['--model.assistant.language_model.adapter={"class_path": "LoRA"}', "--out=study"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "optuna_search.py"), *words]
    first = subprocess.Popen([*command, "--trials=2"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    second = subprocess.run(
        [*command, "--trials=1"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert second.returncode == 0, second.stderr[-2000:]
    said, _ = first.communicate(timeout=PATIENCE)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study" / "study.log"))
    study = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert len({trial.params["lr"] for trial in study.trials}) == 3
    assert all((tmp_path / "study" / f"trial_{number:04}" / "metrics.csv").is_file() for number in range(3))
    assert re.search(rf"^best: trial \d with {study.best_value:.4f}", said, re.M)
