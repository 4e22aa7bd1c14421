"""A stream that stops after any batch goes on exactly, without Lightning and with it."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from multiprocessing import active_children

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lasagna.datamodules import ShardDataModule, Source
from tests.helpers.data_fakes import Listing, keys, processors, write
from tests.helpers.streams import content, datamodule, epochs, loader


class Stop(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize(
    ("workers", "done", "epoch"), [(0, 1, 0), (0, 2, 1), (0, 5, 0), (2, 1, 0), (2, 2, 1), (2, 3, 0)]
)
def test_the_rest_of_an_epoch_is_the_same(folders, workers, done, epoch):
    whole = content(loader(folders, epoch, num_workers=workers))
    assert len(whole) == 5
    first = loader(folders, epoch, num_workers=workers)
    stream = iter(first)
    head = content(next(stream) for _ in range(done))
    state = first.state_dict()
    second = loader(folders, epoch, num_workers=workers)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert head + content(second) == whole


def test_states_hold_only_plain_values(folders, tmp_path):
    made = loader(folders)
    next(iter(made))
    torch.save(made.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == made.state_dict()


def test_epochs_differ_and_repeat(folders):
    made = loader(folders)
    first = content(made)
    assert content(made) == first
    made.set_epoch(1)
    second = content(made)
    assert second != first
    made.set_epoch(0)
    assert content(made) == first


def test_a_state_of_an_epoch_that_ended_goes_on_with_the_next_one(folders):
    whole = epochs(loader(folders))
    first = loader(folders)
    list(first)
    second = loader(folders)
    second.load_state_dict(first.state_dict())
    assert epochs(second, (1, 2)) == whole[1:]


def test_streams_live_over_epochs(folders):
    whole = content(loader(folders, samples_per_epoch=3 * 15))
    assert epochs(loader(folders)) == [whole[:5], whole[5:10], whole[10:]]


@pytest.mark.parametrize("done", [1, 2])
def test_a_loader_that_was_closed_goes_on_with_the_next_batch(folders, done):
    made, whole = loader(folders), content(loader(folders))
    made.set_steps(2, 5)
    stream = iter(made)
    head = content(next(stream) for _ in range(done))
    made.close()
    assert head + content(stream) == whole


def test_an_epoch_that_is_cut_short_leaves_the_rest_to_the_next_one(folders):
    made, whole = loader(folders), epochs(loader(folders))
    cut = iter(made)
    head = content(next(cut) for _ in range(3))
    made.set_epoch(1)
    assert head + content(made) == whole[0] + whole[1][:3]


def test_records_of_a_short_shard_come_as_often_as_all_others(tmp_path):
    """As many shards as workers, the last one short, and epochs that end before the others do."""
    write(tmp_path, 4 * 8 + 2, per_shard=8)
    data = ShardDataModule(
        [Source(str(tmp_path), Listing())], batch_size=1, samples_per_epoch=10, shuffle_buffer=4, streams=5
    )
    data.connect(processors())
    made, found = data.train_dataloader(), Counter()
    for epoch in range(17):
        made.set_epoch(epoch)
        found.update(batch.samples[0].key for batch in made)
    assert len(found) == 34
    assert max(found.values()) - min(found.values()) <= 1


def test_loaders_leave_the_global_generator_alone(folders):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(loader(folders))
    list(datamodule(folders).val_dataloader()[0])
    assert torch.equal(torch.rand(4), expected)


class Recorder(LightningModule):
    """Writes down what it is given, and dies when told to."""

    def __init__(self, die_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.given, self.die_at = [], die_at

    def training_step(self, batch, batch_idx):
        if self.global_step == self.die_at:
            raise Stop
        self.given.append((self.current_epoch, batch_idx, *content([batch])[0]))
        return self.weight * batch.pixels.mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def run(folders, root, workers, die_at=None, every=1, ckpt=None, **kwargs):
    module = Recorder(die_at)
    checkpoints = ModelCheckpoint(root, every_n_train_steps=every, save_last=True, save_top_k=0)
    trainer = Trainer(
        default_root_dir=root,
        callbacks=[checkpoints],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **({"max_epochs": 3, "num_sanity_val_steps": 0} | kwargs),
    )
    data = datamodule(folders, num_workers=workers)
    others = active_children()
    with pytest.raises(Stop) if die_at is not None else nullcontext():
        trainer.fit(module, data, ckpt_path=ckpt)
    assert set(active_children()) <= set(others), "workers outlive the training"
    return module.given, module.weight.item()


@pytest.fixture(scope="module")
def whole_runs(folders, tmp_path_factory):
    return {workers: run(folders, tmp_path_factory.mktemp("whole"), workers) for workers in (0, 2)}


@pytest.mark.parametrize(("workers", "die_at"), [(0, 2), (0, 5), (0, 8), (2, 3), (2, 7)])
def test_lightning_continues_exactly_after_dying(folders, tmp_path, whole_runs, workers, die_at):
    """Died in the middle of the first epoch, right after it, and in the middle of the second."""
    whole, weight = whole_runs[workers]
    assert len(whole) == 15
    head, _ = run(folders, tmp_path / "torn", workers, die_at)
    tail, torn_weight = run(folders, tmp_path / "torn", workers, ckpt=tmp_path / "torn" / "last.ckpt")
    assert head + tail == whole
    assert torn_weight == weight


def test_overfitted_batches_are_the_same_in_every_epoch(folders, tmp_path):
    given, _ = run(folders, tmp_path, 0, overfit_batches=2)
    epochs = [[batch for epoch, _, *batch in given if epoch == number] for number in range(3)]
    assert len(epochs[0]) == 2
    assert epochs[0] == epochs[1] == epochs[2]


def test_steps_since_the_last_checkpoint_are_taken_again(folders, tmp_path, whole_runs):
    whole, _ = whole_runs[0]
    head, _ = run(folders, tmp_path / "torn", 0, die_at=8, every=3)
    tail, _ = run(folders, tmp_path / "torn", 0, ckpt=tmp_path / "torn" / "last.ckpt")
    assert head[:6] + tail == whole


@pytest.mark.parametrize("settings", [{"max_steps": 13}, {"limit_train_batches": 4}, {"val_check_interval": 2}])
def test_limits_of_the_trainer_do_not_change_the_stream(folders, tmp_path, settings):
    whole, _ = run(folders, tmp_path / "whole", 0, **settings)
    for die_at in (5, 7):
        head, _ = run(folders, tmp_path / f"torn {die_at}", 0, die_at=die_at, **settings)
        tail, _ = run(
            folders, tmp_path / f"torn {die_at}", 0, ckpt=tmp_path / f"torn {die_at}" / "last.ckpt", **settings
        )
        assert head + tail == whole, die_at


def test_keys_of_an_epoch_come_from_both_sources(folders):
    assert {key[0] for batch in keys(loader(folders)) for key in batch} == {"a", "b"}
