"""Scores that callbacks wait for: refused where they cannot come, and named where they did not."""

from types import SimpleNamespace

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from lasagna.errors import ConfigError
from lasagna.tasks import AnswerAccuracy, AssistantTraining, BestCheckpoint, RunValidation, Semantic
from lasagna.tasks.callbacks.monitors import MonitorCheck, explained
from lasagna.tasks.training.source_scores import Evaluation
from tests.helpers.toy_training import Toy, make_trainer, train


class OwnAccuracy(AnswerAccuracy):
    """A metric of one's own."""


def training(*metrics):
    """A training that validates on one source, whose task may have further metrics."""
    task = Semantic()
    source = SimpleNamespace(label="drawn-semantic", task=task, manifest=SimpleNamespace(categories=("sky", "dog")))
    module = AssistantTraining(torch.nn.Identity())
    module.evaluations["val"] = Evaluation([source])
    for metric in metrics:
        module.evaluations["val"].metrics[0].add_metrics({"own": metric})
    return module


def check(callback, module, *others):
    MonitorCheck().on_fit_start(SimpleNamespace(callbacks=[*others, callback]), module)


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint, BestCheckpoint])
@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("val/miou", r"no score 'val/miou'; did you mean 'val/drawn-semantic/miou/lasagna-v1'\? there are val/drawn"),
        ("val/drawn-semantic/miu/lasagna-v1", r"no score 'val/.*; did you mean 'val/drawn-semantic/miou/lasagna-v1'\?"),
        ("val_loss", "no score 'val_loss'; there are val/drawn"),
    ],
)
def test_a_score_that_cannot_come_is_refused_before_the_first_step(kind, monitor, said):
    with pytest.raises(ConfigError, match=f"^trainer.callbacks.{kind.__name__}.monitor: there is {said}"):
        check(kind(monitor=monitor), training())


@pytest.mark.parametrize("monitor", ["val/drawn-semantic/presence_f1/lasagna-v1", "train/ce", "step", "val/*"])
def test_a_score_that_may_come_is_taken(monitor):
    check(ModelCheckpoint(monitor=monitor), training())


def test_what_one_s_own_classes_log_is_not_known_beforehand():
    stopping = EarlyStopping("val/own")
    check(stopping, training(), Callback(), type("Own", (Callback,), {})())
    check(stopping, training(OwnAccuracy()))
    check(stopping, Toy())
    check(EarlyStopping("val/own", strict=False), training())


def test_a_loss_that_the_first_step_did_not_give_is_refused():
    metrics = {"train/loss": 1.0, "train/ce": 0.5}
    trainer = SimpleNamespace(callbacks=[ModelCheckpoint(monitor="train/los")], callback_metrics=metrics, global_step=1)
    with pytest.raises(ConfigError, match=r"ModelCheckpoint.monitor: .*did you mean 'train/loss'\? there are train/lo"):
        MonitorCheck().on_train_batch_end(trainer, training(), None, None, 0)


class Plateau(Toy):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/miou"}}


@pytest.mark.parametrize(
    ("toy", "callbacks", "place"),
    [
        (Toy, [RunValidation(), EarlyStopping("val/miou")], "trainer.callbacks.EarlyStopping"),
        (Toy, [RunValidation(), ModelCheckpoint(monitor="val/miou")], "trainer.callbacks.ModelCheckpoint"),
        (Plateau, [], "configure_optimizers: lr_scheduler"),
    ],
)
def test_lightning_s_words_about_a_score_are_replaced(toy, callbacks, place, tmp_path):
    data = DataLoader(torch.ones(3, 1))
    trainer = make_trainer(tmp_path, *callbacks)
    with pytest.raises(Exception, match=r"not available|could not find") as raised:
        trainer.fit(toy(), data, data)
    error = explained(raised.value, trainer)
    assert isinstance(error, ConfigError)
    scores = "val/toy/miou/lasagna-v1, val/toy/faults/lasagna-v1"
    told = f"there is no score 'val/miou'; did you mean 'val/toy/miou/lasagna-v1'? there are {scores}"
    assert str(error) == f"{place}.monitor: {told}"


@pytest.mark.parametrize(
    ("callback", "options", "said"),
    [
        (ModelCheckpoint, {"limit_val_batches": 0}, "ModelCheckpoint: .*no score 'test/miou'; there are none"),
        (BestCheckpoint, {}, "BestCheckpoint: .*no score 'test/miou'; there are val/toy/miou/lasagna-v1, val"),
    ],
)
def test_a_score_that_never_came_is_named(callback, options, said, tmp_path):
    with pytest.warns(UserWarning, match=said):
        train(tmp_path, RunValidation(), callback(monitor="test/miou"), MonitorCheck(), **options)
