"""The average of the weights: its definition, and its precision."""

from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule
from torch import nn

from lasagna.tasks import Optimiser
from lasagna.tasks.training.ema import WeightAverage


def one_weight(dtype=torch.float32):
    module = LightningModule()
    module.layer = nn.Linear(1, 1, bias=False, dtype=dtype)
    nn.init.ones_(module.layer.weight)
    return module, SimpleNamespace(global_step=0, state=SimpleNamespace(fn="fit"), optimizers=[])


def test_average_is_that_of_its_definition():
    module, trainer = one_weight()
    average = WeightAverage(0.3)
    average.on_fit_start(trainer, module)
    expected = 1.0
    for step, value in enumerate([2.0, 5.0, -1.0, 4.0], start=1):
        with torch.no_grad():
            module.layer.weight.fill_(value)
        trainer.global_step = step
        for _ in range(2):  # several batches of one accumulated step count once
            average.on_train_batch_end(trainer, module, None, None, 0)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    average.on_validation_epoch_start(trainer, module)
    assert module.layer.weight.item() == pytest.approx(expected)
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    assert checkpoint["state_dict"]["layer.weight"].item() == pytest.approx(expected)
    assert checkpoint["raw_weights"]["layer.weight"].item() == 4.0
    average.on_validation_epoch_end(trainer, module)
    assert module.layer.weight.item() == 4.0


def test_average_of_weights_in_bfloat16_arrives():
    module, trainer = one_weight(torch.bfloat16)
    average = WeightAverage(0.99)
    average.on_fit_start(trainer, module)
    nn.init.constant_(module.layer.weight, 1.125)
    for step in range(1, 1001):
        trainer.global_step = step
        average.on_train_batch_end(trainer, module, None, None, 0)
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    (stored,) = checkpoint["state_dict"].values()
    assert stored.dtype == torch.float32
    assert stored.item() == pytest.approx(1.125, abs=1e-4)
    # what is in use is rounded, what is stored is not, and the weights come back as they were
    nn.init.constant_(module.layer.weight, 2.0)
    trainer.global_step += 1
    average.on_train_batch_end(trainer, module, None, None, 0)
    average.on_validation_epoch_start(trainer, module)
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    assert checkpoint["state_dict"]["layer.weight"].item() == pytest.approx(0.99 * 1.125 + 0.01 * 2.0, abs=1e-4)
    assert checkpoint["raw_weights"]["layer.weight"].item() == 2.0
    average.on_validation_epoch_end(trainer, module)
    assert module.layer.weight.item() == 2.0


def test_average_follows_the_weights_that_the_optimiser_keeps():
    module, trainer = one_weight(torch.bfloat16)
    trainer.optimizers = [Optimiser(lr=1e-4, weight_decay=0.0).build({"layer.weight": 1.0}, module.named_parameters())]
    average = WeightAverage(0.0)
    average.on_fit_start(trainer, module)
    module.layer.weight.grad = torch.ones_like(module.layer.weight)
    trainer.optimizers[0].step()
    trainer.global_step = 1
    average.on_train_batch_end(trainer, module, None, None, 0)
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    for weights in (checkpoint["state_dict"], checkpoint["raw_weights"]):
        assert weights["layer.weight"].item() == pytest.approx(1 - 1e-4, abs=1e-6)
    assert module.layer.weight.item() == 1.0
