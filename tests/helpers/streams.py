"""Loaders of a small mixture, and what they give."""

from __future__ import annotations

from lasagna.datamodules import NegativeInjection, OrderRandomization, ShardDataModule, Source
from tests.helpers.data_fakes import EvenOnly, Listing, processors


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


def epochs(made, numbers=range(3)):
    """Return the batches of some epochs."""
    found = []
    for epoch in numbers:
        made.set_epoch(epoch)
        found.append(content(made))
    return found
