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
    """Train one case and write its checkpoint."""
    processes = 1 if strategy == "one" else 2
    assistant = build({"class_path": "lasagna.modules.Assistant", "init_args": case["assistant"]}, Assistant)
    # Adam makes noise of gradients that are zero in theory, such as those of the biases of keys
    optimiser = Optimiser(lr=0.01, warmup_steps=2, algorithm_options={"eps": 1e-3})
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
        max_steps=STEPS,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **case.get("trainer", {}),
    )
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(folder / case["name"] / f"{strategy}.ckpt")


def main(strategy, cases, scenes, folder):
    """Train all cases by one strategy: "one" process, "ddp" or "fsdp2"."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for case in json.loads(Path(cases).read_text(encoding="utf-8")):
        train(case, strategy, scenes, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
