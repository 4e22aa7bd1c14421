"""A stream that stops after any batch goes on exactly, without Lightning and with it."""

from __future__ import annotations

from collections import Counter
from multiprocessing import active_children

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lasagna.datamodules import NegativeInjection, OrderRandomization, ShardDataModule, Source
from lasagna.datamodules.streaming import progress
from lasagna.errors import ConfigError
from tests.helpers.data_fakes import EvenOnly, Listing, keys, processors, write


class Stop(Exception):
    """Stands for a process that dies."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write(folder / "a", 11, per_shard=3, prefix="a", name="a")
    write(folder / "b", 5, per_shard=2, prefix="b", name="b")
    return folder


def datamodule(folders, **kwargs):
    """Two sources, of which one leaves out every second record, so that samples and records are counted apart."""
    settings = {"batch_size": 3, "samples_per_epoch": 16, "shuffle_buffer": 4, "seed": 5} | kwargs
    data = ShardDataModule(
        train=[Source(str(folders / "a"), EvenOnly(), weight=2.0), Source(str(folders / "b"), Listing())],
        val=[Source(str(folders / "b"), Listing())],
        strategies=[NegativeInjection(), OrderRandomization()],
        **settings,
    )
    data.connect(processors())
    return data


def loader(folders, epoch=0, **kwargs):
    made = datamodule(folders, **kwargs).train_dataloader()
    made.set_epoch(epoch)
    return made


def content(batches):
    return [(batch.samples[0].key, batch.input_ids.tolist(), batch.pixels.sum().item()) for batch in batches]


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


def epochs(made, numbers=range(3)):
    """Return the batches of some epochs."""
    found = []
    for epoch in numbers:
        made.set_epoch(epoch)
        found.append(content(made))
    return found


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


def test_a_loader_that_was_closed_goes_on_with_the_next_batch(folders):
    made, whole = loader(folders, num_workers=1), content(loader(folders))
    stream = iter(made)
    head = content(next(stream) for _ in range(2))
    made.close()
    assert head + content(stream) == whole


def test_an_epoch_that_is_cut_short_leaves_the_rest_to_the_next_one(folders):
    made, whole = loader(folders), epochs(loader(folders))
    cut = iter(made)
    head = content(next(cut) for _ in range(3))
    made.set_epoch(1)
    assert head + content(made) == whole[0] + whole[1][:3]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: setattr(data, "shuffle_buffer", 7), "shuffle_buffer was 4, is 7"),
        (lambda data: setattr(data.sources["train"][1], "weight", 3.0), r"weights of b-listing was 1\.0, is 3\.0"),
        (lambda data: data.sources["train"].reverse(), "sources was a-evenonly, b-listing, is b-listing, a-evenonly"),
        (lambda data: data.sources["train"].pop(), "sources was a-evenonly, b-listing, is a-evenonly"),
    ],
)
def test_what_changes_the_order_is_told_and_the_length_stays(folders, change, told):
    first, data = loader(folders), datamodule(folders)
    stream = iter(first)
    next(stream), next(stream)
    change(data)
    second = data.train_dataloader()
    with pytest.warns(UserWarning, match=rf"cannot be resumed exactly: {told}\. The rest of the epoch has other"):
        second.load_state_dict(first.state_dict())
    assert len(list(second)) == 3


def test_another_size_of_batches_goes_on_with_the_same_samples(folders):
    def names(batches):
        return [sample.key for batch in batches for sample in batch.samples]

    first, whole = loader(folders), names(loader(folders))
    stream = iter(first)
    head = names([next(stream), next(stream)])
    second = loader(folders, batch_size=1)
    with pytest.warns(UserWarning, match="batch_size was 3, is 1. Only the batches differ"):
        second.load_state_dict(first.state_dict())
    assert (head + names(second))[:15] == whole


def test_a_state_of_an_earlier_version_is_told_and_keeps_the_length(folders):
    made = loader(folders, epoch=2)
    with pytest.warns(UserWarning, match="an earlier version wrote the checkpoint. The rest of the epoch has other"):
        made.load_state_dict({"epoch": 2, "batches": 3, "positions": [[[9, 7, 2]]], "layout": {"seed": 5}})
    assert len(list(made)) == 2
    assert len(epochs(made, [3])[0]) == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_other_workers_go_on_with_the_streams_of_the_checkpoint(folders, workers):
    whole = epochs(loader(folders, num_workers=2))
    first = loader(folders, num_workers=2)
    stream = iter(first)
    head = content(next(stream) for _ in range(3))
    second = loader(folders, num_workers=workers)
    second.load_state_dict(first.state_dict())
    assert [head + content(second), *epochs(second, (1, 2))] == whole


def test_workers_without_a_stream_wait_for_the_next_epoch(folders):
    whole = content(loader(folders, num_workers=2))
    first = loader(folders, num_workers=2)
    stream = iter(first)
    head = content(next(stream) for _ in range(3))
    second = loader(folders, num_workers=3)
    with pytest.warns(UserWarning, match="2 streams of samples, of which 2 of 3 workers take as many each"):
        second.load_state_dict(first.state_dict())
    assert head + content(second) == whole
    assert second.state_dict()["layout"]["streams"] == 2
    second.set_epoch(1)
    assert len(content(second)) == 5
    assert second.state_dict()["layout"]["streams"] == 3


def test_the_same_number_of_streams_gives_the_same_batches_to_any_workers(folders):
    whole = epochs(loader(folders, streams=4))
    assert epochs(loader(folders, streams=4, num_workers=2)) == whole
    with pytest.raises(ConfigError, match=r"`streams` must be a multiple of the 3 workers .* 4; set `streams` to 6"):
        datamodule(folders, streams=4, num_workers=3).setup("fit")


class Ranks:
    """Loaders of several processes in one, whose batches are taken in turn."""

    def __init__(self, monkeypatch, folders, count, **settings):
        self.monkeypatch, self.count, self.loaders = monkeypatch, count, []
        for rank in range(count):
            self._be(rank)
            self.loaders.append(loader(folders, **settings))

    def _be(self, rank):
        self.monkeypatch.setenv("RANK", str(rank))
        self.monkeypatch.setenv("WORLD_SIZE", str(self.count))

    def on_each(self, call):
        found = []
        for rank, made in enumerate(self.loaders):
            self._be(rank)
            found.append(call(made))
        return found

    def batches(self, count):
        """The next batches of all processes, in the order of their global numbers."""
        if not hasattr(self, "iterators"):
            self.iterators = dict(zip(map(id, self.loaders), map(iter, self.loaders), strict=True))
        return [batch for _ in range(count) for batch in self.on_each(lambda made: content([next(self._of(made))])[0])]

    def _of(self, made):
        return self.iterators[id(made)]

    def state(self):
        parts = []
        self.monkeypatch.setattr(progress, "gather", lambda own: parts.append(own) or [own])
        self.on_each(lambda made: made.state_dict())
        self.monkeypatch.setattr(progress, "gather", lambda own: parts)
        return self.on_each(lambda made: made.state_dict())[0]


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 2), (2, 1)])
def test_other_processes_go_on_with_the_same_batches(folders, monkeypatch, before, after):
    settings = {"streams": 4, "samples_per_epoch": 1000}
    whole = Ranks(monkeypatch, folders, 1, **settings).batches(24)
    first = Ranks(monkeypatch, folders, before, **settings)
    assert first.batches(12 // before) == whole[:12]
    second, state = Ranks(monkeypatch, folders, after, **settings), first.state()
    second.on_each(lambda made: made.load_state_dict(state))
    assert second.batches(12 // after) == whole[12:]


def test_processes_that_cannot_share_the_streams_begin_anew_and_tell(folders, monkeypatch):
    first = Ranks(monkeypatch, folders, 2)
    first.batches(1)
    state = first.state()
    second = Ranks(monkeypatch, folders, 3)
    with pytest.warns(UserWarning, match="exactly: its 2 streams cannot be divided between 3 processes. The rest"):
        second.on_each(lambda made: made.load_state_dict(state))


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
    if die_at is None:
        trainer.fit(module, data, ckpt_path=ckpt)
        assert set(active_children()) <= set(others), "workers outlive the training"
    else:
        with pytest.raises(Stop):
            trainer.fit(module, data, ckpt_path=ckpt)
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
