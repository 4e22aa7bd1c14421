"""What a checkpoint keeps of the streams is used as far as it can be, and what cannot is told."""

from __future__ import annotations

import pytest

from lasagna.datamodules.streaming import progress
from lasagna.errors import ConfigError
from tests.helpers.streams import content, datamodule, epochs, loader


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


def stopped(folders):
    """A loader of two streams that gave three batches, and those."""
    made = loader(folders, streams=2)
    stream = iter(made)
    return made, content(next(stream) for _ in range(3))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_other_workers_go_on_with_the_streams_of_the_checkpoint(folders, workers):
    (first, head), whole = stopped(folders), epochs(loader(folders, streams=2))
    second = loader(folders, num_workers=workers)
    second.load_state_dict(first.state_dict())
    assert [head + content(second), *epochs(second, (1, 2))] == whole


def test_workers_without_a_stream_wait_for_the_next_epoch(folders):
    (first, head), whole = stopped(folders), content(loader(folders, streams=2))
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
