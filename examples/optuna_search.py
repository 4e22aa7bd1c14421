"""Search for settings of a training with Optuna (`pip install lasagna[search]`); a score of the validation decides.

    python examples/optuna_search.py --trials 20 --config configs/trainer/short.yaml

Options that are not listed below are those of the training. Started several times, also on machines with a common disk,
the processes share the study: each trains other settings, and all learn from all scores.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from lasagna.cli.train import main as train


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    """Return option to value: what is searched."""
    return {
        "model.optimiser.lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        "model.optimiser.warmup_steps": trial.suggest_int("warmup_steps", 0, 40, step=10),
        "model.assistant.language_model.adapter.rank": trial.suggest_categorical("rank", [4, 8, 16]),
    }


def scored(trial: optuna.Trial, out: Path, score: str, words: list[str]) -> float:
    """Train once and return the last score of the validation.

    Raises:
        SystemExit: If there was no such score, or the training ended before its time.
    """
    options = [f"--{name}={value}" for name, value in suggested(trial).items()]
    folder = out / f"trial_{trial.number:04}"
    cli = train(["fit", *words, *options, f"--trainer.default_root_dir={folder}"])
    scores = {name: float(value) for name, value in cli.trainer.callback_metrics.items() if name.startswith("val/")}
    if score not in scores:
        there = ", ".join(sorted(scores)) or "none; set --trainer.val_check_interval to validate before the end"
        raise SystemExit(f"--score: {score!r} is none of the validation's scores: {there}")
    return scores[score]


def main() -> None:
    """Search, and print the best trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="Number of trainings of this process.")
    parser.add_argument("--out", type=Path, default=Path("runs/search"), help="Folder of the study and its runs.")
    parser.add_argument("--score", default="val/scenes-semantic/miou/lasagna-v1", help="What is to be high.")
    found, words = parser.parse_known_args()
    found.out.mkdir(parents=True, exist_ok=True)
    # a file that several processes append to, unlike a database also on disks of networks
    backend = JournalFileBackend(str(found.out / "study.log"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(study_name="search", storage=storage, direction="maximize", load_if_exists=True)
    study.optimize(lambda trial: scored(trial, found.out, found.score, words), n_trials=found.trials)
    print(f"best: trial {study.best_trial.number} with {study.best_value:.4f}: {study.best_params}")


if __name__ == "__main__":
    logging.getLogger("optuna").setLevel(logging.WARNING)
    main()
