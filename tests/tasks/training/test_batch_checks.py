"""Training stops at a loss that is not finite, and says which masks are too small, once."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer

from lasagna.core.batch import Batch, Sample
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.query_kind import QUESTION, REASONING, QueryKind
from lasagna.core.record import Turn
from lasagna.datamodules import ShardDataModule, Source
from lasagna.errors import TrainingError
from lasagna.modules import ObjectLoss, SegmentationLoss
from lasagna.tasks.training.batch_checks import (
    EmptyMasks,
    EmptyMaskWarning,
    FiniteLoss,
    LearnedKinds,
    ManyObjects,
    ManyObjectsWarning,
    ObjectsLearned,
    SmallMasks,
    SmallMaskWarning,
)
from tests.helpers.assistants import random_assistant
from tests.helpers.data_fakes import Listing, processors, write


class Diverging(LightningModule):
    """Its loss is not finite in the third batch of six, the first of the second step."""

    def __init__(self, value):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.value, self.trained_on = value, []

    def training_step(self, batch, batch_idx):
        self.trained_on.append([sample.key for sample in batch.samples])
        loss = self.weight * (self.value if batch_idx == 2 else 1.0)
        self.log_dict({"train/loss": loss, "train/ce": loss, "train/dice": 0.5})
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_its_step(tmp_path, value):
    write(tmp_path / "shards", 12)
    data = ShardDataModule([Source(str(tmp_path / "shards"), Listing(), name="made up")], batch_size=2)
    data.connect(processors())
    model = Diverging(value)
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=2,
        enable_checkpointing=False,
        callbacks=[FiniteLoss()],
        **silent,
    )
    with pytest.raises(TrainingError) as caught:
        trainer.fit(model, data)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"step 1: the loss is {value} (train/ce {value}); records of the batch: ")
    assert all(f"made up {key}" in message for key in model.trained_on[2])
    assert len(model.trained_on) == 3
    assert model.weight.item() == pytest.approx(0.9)


def test_empty_masks_of_names_and_objects_are_counted(monkeypatch):
    monkeypatch.setattr("lasagna.tasks.training.batch_checks.Batch", SimpleNamespace)
    batch = SimpleNamespace(mask_rows=range(5), object_counts=(3, 15), empty_masks=2)
    watch = EmptyMasks()
    watch.on_train_batch_start(SimpleNamespace(is_global_zero=True), None, batch, 0)
    with pytest.warns(EmptyMaskWarning, match=r"2 of the first 20 masks \(10.0%\) have no pixel.*is_visible"):
        watch.on_train_end(SimpleNamespace(is_global_zero=True), None)


@pytest.mark.parametrize("batches", [2, 40])
def test_small_masks_are_counted_and_told_once(monkeypatch, batches):
    """After so many masks that the share is known, or at the end of a shorter run."""
    trainer = SimpleNamespace(is_global_zero=True)
    monkeypatch.setattr("lasagna.tasks.training.batch_checks.Batch", SimpleNamespace)
    batch = SimpleNamespace(mask_rows=range(50), small_masks=20)
    watch = SmallMasks()
    with pytest.warns(
        SmallMaskWarning, match=r"of the first (1000|100) masks \(40\.0%\).*image_size.*RandomCrop"
    ) as told:
        for index in range(batches):
            watch.on_train_batch_start(trainer, None, batch, index)
        watch.on_train_end(trainer, None)
    assert len(told) == 1


@pytest.mark.parametrize(("kind", "batches"), [("instances", 3), ("instances_by_token", 90)])
def test_objects_that_no_answer_tells_are_counted_and_told_once(monkeypatch, kind, batches):
    monkeypatch.setattr("lasagna.tasks.training.batch_checks.Batch", SimpleNamespace)
    head = SimpleNamespace(assistant=SimpleNamespace(mask_head=SimpleNamespace(most_masks=3)))
    entries = (Entry("bird", True, None, (None,) * 19), Entry("cat", True, None, (None,) * 3))
    dialogues = [Dialogue(kind, ("bird", "cat"), entries), Dialogue("categories", ("bird",), entries)]
    batch = SimpleNamespace(samples=[SimpleNamespace(dialogue=dialogue) for dialogue in dialogues])
    trainer, watch = SimpleNamespace(is_global_zero=True), ManyObjects()
    with pytest.warns(ManyObjectsWarning, match=r"of the first \d+ objects .* `masks` of the mask head") as told:
        for index in range(batches):
            watch.on_train_batch_start(trainer, head, batch, index)
        watch.on_train_end(trainer, None)
    assert len(told) == 1
    assert watch.told == (3 * 16 if kind == "instances" else 46 * 3)


def test_objects_that_no_loss_trains_are_told_once(monkeypatch):
    monkeypatch.setattr("lasagna.tasks.training.batch_checks.Batch", SimpleNamespace)
    batches = [
        SimpleNamespace(samples=[SimpleNamespace(dialogue=Dialogue(kind, ("bird",)))])
        for kind in ("categories", "instances_by_token", "instances", "instances")
    ]
    for masks, loss, count in ((3, SegmentationLoss(), 1), (1, SegmentationLoss(), 0), (3, ObjectLoss(), 0)):
        head = type("Head", (), {"most_masks": masks})()
        module, watch = SimpleNamespace(assistant=SimpleNamespace(mask_head=head), loss=loss), ObjectsLearned()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for index, batch in enumerate(batches):
                watch.on_train_batch_start(SimpleNamespace(is_global_zero=True), module, batch, index)
        assert [str(one.message) for one in told] == [
            "model.loss: Head draws several masks for a prompt, and SegmentationLoss trains only their union, so that "
            "queries of kind 'instances' learn no objects; set `model.loss: lasagna.modules.ObjectLoss`"
        ] * count


def test_the_kinds_of_all_batches_and_turns_are_noted():
    module, own = SimpleNamespace(assistant=random_assistant()), QueryKind("own", many=True)
    talk = Dialogue("reasoning", ("why",), later=(Turn("how", "so"),))
    for dialogues in ([Dialogue(own, ("sky",)), talk], [Dialogue(own, ("sea",))]):
        empty = torch.zeros(0)
        samples = [Sample("made", "a", 0, dialogue) for dialogue in dialogues]
        batch = Batch(empty, [], empty, empty, empty, empty, empty, empty, empty, samples, [])
        LearnedKinds().on_train_batch_end(None, module, None, batch, 0)
    assert module.assistant.learned_kinds == {"own": own, "reasoning": REASONING, "question": QUESTION}


def test_masks_that_are_large_enough_are_no_news(monkeypatch):
    monkeypatch.setattr("lasagna.tasks.training.batch_checks.Batch", SimpleNamespace)
    watch = SmallMasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.on_train_batch_start(None, None, SimpleNamespace(mask_rows=range(5), small_masks=0), 0)
        watch.on_train_end(SimpleNamespace(is_global_zero=True), None)
    assert watch.seen == 5
