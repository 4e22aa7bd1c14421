"""Losses of the same training in four precisions, beside each other.

``python benchmarks/precision.py`` trains the default config for 150 steps in ``32-true``, ``bf16-mixed`` and
``bf16-true``, and once more in ``bf16-true`` without the float32 copies of the weights: the optimiser then adds its
steps to weights in bfloat16. All four see the same batches. ``--lr`` and ``--steps`` set rate and length. ``--results``
files the losses as ``docs/results/precision.json`` and draws ``docs/images/precision.png``; ``--draw`` draws it again
from the filed losses.
"""

from __future__ import annotations

import argparse
import csv
import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from lasagna.cli.train import main as train
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.tasks.callbacks.run_facts import versions, write_json
from lasagna.tasks.training import optimiser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results" / "precision.json"

PRECISIONS = {
    "32-true": "32-true",
    "bf16-mixed": "bf16-mixed",
    "bf16-true": "bf16-true",
    "bf16-true without float32 copies": "bf16-true",
}
"""Name of a training to ``trainer.precision``; the first one is what the others are compared with."""

WINDOW = 15
"""Steps over which losses are averaged in the picture; single batches differ more than precisions do."""

TICKS = (0.1, 0.2, 0.5, 1, 2, 5)
"""Marks on the axis of the losses."""


def main(argv: list[str] | None = None) -> None:
    """Train, print and file."""
    options = _options(argv)
    if options.draw:
        draw(json.loads(RESULTS.read_text("utf-8"))["losses"])
        return
    losses = {name: losses_of(name, options) for name in PRECISIONS}
    first = np.array(losses[next(iter(losses))])
    for name, values in losses.items():
        apart = np.abs(np.array(values) - first).mean()
        print(f"{name:<34} last {WINDOW} steps {np.mean(values[-WINDOW:]):.3f}, {apart:.4f} from the first on average")
    if options.results:
        facts = {"lr": options.lr, "steps": options.steps, "versions": versions()}
        write_json(RESULTS, facts | {"losses": {name: np.round(part, 4).tolist() for name, part in losses.items()}})
        draw(losses)


def losses_of(name: str, options: argparse.Namespace) -> list[float]:
    """Train in one precision and return the loss of each step.

    Args:
        name: One of ``PRECISIONS``.
        options: Options of the command line.
    """
    folder = options.runs / name.replace(" ", "_")
    (folder / "metrics.csv").unlink(missing_ok=True)
    settings = {
        "trainer.precision": PRECISIONS[name],
        "trainer.max_steps": options.steps,
        "trainer.default_root_dir": folder,
        "trainer.accelerator": "cpu",
        "trainer.log_every_n_steps": 1,
        "trainer.limit_val_batches": 0,
        "trainer.enable_progress_bar": "false",
        "model.optimiser.lr": options.lr,
        "threads": options.threads,
    }
    plain = patch.object(optimiser, "with_copies", lambda kind: kind) if "without" in name else nullcontext()
    with plain:
        train(["fit", *(f"--{key}={value}" for key, value in settings.items())])
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def draw(losses: dict[str, list[float]]) -> None:
    """Draw the losses, and how far each training is from the first one.

    Args:
        losses: Losses of each training by its name.
    """
    figure = new_figure(10.4, 3.6)
    left = style_axes(figure.add_subplot(1, 2, 1), f"loss, mean of {WINDOW} steps")
    right = style_axes(figure.add_subplot(1, 2, 2), f"loss minus that of {next(iter(losses))}, mean of {WINDOW} steps")
    first = _smooth(losses[next(iter(losses))])
    for name, style in zip(losses, ("-", "--", "-.", "-"), strict=True):
        values = _smooth(losses[name])
        steps = np.arange(len(values)) + WINDOW
        left.plot(steps, values, style, label=name)
        right.plot(steps, values - first, style, label=name)
    for axes in (left, right):
        axes.set_xlabel("step", fontsize=8)
    left.set_yscale("log")
    left.set_yticks(TICKS, map(str, TICKS))
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    save(figure, DOCS / "images" / "precision.png")


def _smooth(values: list[float]) -> NDArray[np.float64]:
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"), help="folder of the four runs")
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--draw", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
