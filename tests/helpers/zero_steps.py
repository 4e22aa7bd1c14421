"""Steps of ZeRO 2 in two processes whose batches use different layers; run by a launcher of processes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from lasagna.errors import TrainingError
from lasagna.tasks import ZeroStrategy

BATCHES, TOGETHER, EPOCHS, CLIP = 5, 2, 3, 0.3
"""Batches of an epoch, of a step but the last one of an epoch, epochs, and the largest norm of gradients."""


class Layers(LightningModule):
    """Three layers: the first process uses all of them, the second one two, in another order."""

    def __init__(self, broken=False):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.assistant = nn.BatchNorm1d(4)
        self.trained = dict(self.assistant.named_buffers()).keys()
        self.broken = broken

    def loss(self, rank, number):
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(10 * number + rank))
        values = self.assistant(inputs)
        for index in ((0, 1, 2), (2, 0))[rank]:
            values = self.layers[index](values).tanh()
        return (values - inputs.roll(1) - 1).square().mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(self.global_rank, int(batch))
        # finite, but not its gradients
        return loss + (self.layers[0].weight.sum() * 0).sqrt() if self.broken else loss

    def configure_optimizers(self):
        matrices = [value for value in self.parameters() if value.ndim > 1]
        vectors = [value for value in self.parameters() if value.ndim == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "lr": 0.003}]
        return torch.optim.AdamW(groups, lr=0.01, eps=1e-3)


def expected():
    """Train as one process that has the batches of both."""
    model = Layers()
    optimizer = model.configure_optimizers()
    for _ in range(EPOCHS):
        for first in range(0, BATCHES, TOGETHER):
            for number in range(first, min(first + TOGETHER, BATCHES)):
                for rank in range(2):
                    (model.loss(rank, number) / (2 * TOGETHER)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return model, optimizer


def fit(model):
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        # one layer is as large as a bucket, and one matrix is larger
        strategy=ZeroStrategy(bucket=12),
        accumulate_grad_batches=TOGETHER,
        max_epochs=EPOCHS,
        gradient_clip_val=CLIP,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(range(BATCHES), batch_size=None))
    return trainer


def main(file):
    """Write the largest difference of weights and states, relative to each, and what was said of broken gradients."""
    warnings.simplefilter("ignore")
    model, (alone, optimizer) = Layers(), expected()
    trainer = fit(model)
    (found,) = trainer.strategy.optimizers
    pairs = list(zip(model.parameters(), alone.parameters(), strict=True))
    state, whole = trainer.strategy.optimizer_state(found)["state"], optimizer.state_dict()["state"]
    # the first process alone keeps the state
    pairs += [(kept[key], value) for number, kept in state.items() for key, value in whole[number].items()]
    far = max(float(((one - other).norm() / other.norm()).detach()) for one, other in pairs)
    try:
        fit(Layers(broken=True))
        said = ""
    except TrainingError as error:
        said = str(error)
    buffers = [value.tolist() for value in model.buffers()]
    rank = trainer.global_rank
    told = {"steps": trainer.global_step, "difference": far, "compared": len(pairs), "said": said, "buffers": buffers}
    Path(f"{file}.{rank}").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
