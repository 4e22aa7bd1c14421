"""Trainings of tiny parts in one process or several, which write their weights; run by a launcher of processes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from lightning import Trainer

from lasagna.core.config import build
from lasagna.datamodules import ShardDataModule, Source
from lasagna.modules import Assistant
from lasagna.tasks import AssistantTraining, Optimiser, Semantic

STEPS = 20


def train(case, strategy, scenes, folder):
    """Train one case and write its checkpoint; a case that is "begun_by" a strategy goes on from its checkpoint."""
    file, begun = folder / case["name"] / f"{strategy}.ckpt", None
    if strategy != "one" and "begun_by" in case:
        begun = file.with_name("begun.ckpt")
        fit(case, case["begun_by"], scenes, folder, STEPS // 2).save_checkpoint(begun)
    fit(case, strategy, scenes, folder, STEPS, begun).save_checkpoint(file)


def fit(case, strategy, scenes, folder, steps, begun=None):
    """Train one case to a step, and return its trainer."""
    processes = 1 if strategy == "one" else 2
    assistant = build({"class_path": "lasagna.modules.Assistant", "init_args": case["assistant"]}, Assistant)
    schedule = "constant" if "begun_by" in case else "cosine"
    # Adam makes noise of gradients that are zero in theory, such as those of the biases of keys
    optimiser = Optimiser(lr=0.01, warmup_steps=2, algorithm_options={"eps": 1e-3}, schedule=schedule)
    model = AssistantTraining(assistant, optimiser=optimiser, **case.get("model", {}))
    # two workers of one process read what one worker of each of two processes reads
    data = ShardDataModule(
        train=[Source(f"{scenes}/train", Semantic())],
        val=[Source(f"{scenes}/val", Semantic())],
        batch_size=2,
        evaluation_batch_size=2,
        samples_per_epoch=160,
        num_workers=2 if processes == 1 else 1,
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="auto" if processes == 1 else strategy,
        accumulate_grad_batches=2 // processes,
        max_steps=steps,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **case.get("trainer", {}),
    )
    trainer.fit(model, datamodule=data, ckpt_path=begun, weights_only=True)
    return trainer


def main(strategy, cases, scenes, folder):
    """Train all cases by one strategy: "one" process, "ddp", "fsdp2" or "zero2"."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for case in json.loads(Path(cases).read_text(encoding="utf-8")):
        train(case, strategy, scenes, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
