"""What training and evaluation ask of a data module and of its sources, so that a class of one's own will do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Protocol, runtime_checkable

from lasagna.core.dialogue import DialogueMaker
from lasagna.core.processors import Processors
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.codec import encode_record, sample_key
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_share
from lasagna.datamodules.source import Source
from lasagna.errors import ConfigError


class RecordSource(Protocol):
    """A source of records with the task that asks about them.

    ``strategies`` and ``transforms``, lists as those of ``Source``, may be added; ``lasagna evaluate`` applies them.
    """

    @property
    def label(self) -> str:
        """Name of the source in scores and pictures, unique within its split."""

    @property
    def task(self) -> DialogueMaker:
        """Turns records into dialogues; a ``lasagna.tasks.Task`` where answers are scored."""

    @property
    def manifest(self) -> Manifest:
        """Facts about the data set."""

    def records(self) -> Iterable[Record]:
        """Return the records, always in the same order; only ``lasagna evaluate`` calls this."""


@runtime_checkable
class DataWithSources(Protocol):
    """A ``LightningDataModule`` that training and evaluation can use.

    Its loaders yield batches (``collate``) of samples (``prepare_record``). Those of validation and test are one per
    source, in the order of the sources, and keep the original images (``evaluates=True``).

    These may be added, and count where they are there: ``counts(stage)`` and ``dry_run(split)`` as those of
    ``ShardDataModule``, and for ``lasagna evaluate`` ``evaluation_strategies``, ``evaluation_batch_size`` (or
    ``batch_size``), ``seed`` and ``broken``.
    """

    @property
    def sources(self) -> Mapping[str, Sequence[RecordSource]]:
        """Sources of "train", "val", "test" and "predict", as far as there are any; known from the constructor on."""

    def connect(self, processors: Processors) -> None:
        """Keep the assistant's processors of images and text, which the loaders need; called before any of them."""


def check_sources(data: object) -> DataWithSources:
    """Return a data module that can be used.

    Args:
        data: What the trainer was given as its data module.

    Raises:
        ConfigError: If it lacks sources, or cannot be connected to an assistant.
    """
    if isinstance(data, DataWithSources):
        return data
    if data is None:
        raise ConfigError("data: there is no data module; give one as trainer.fit(model, datamodule=...)")
    missing = [name for name in ("sources", "connect") if not hasattr(data, name)]
    raise ConfigError(
        f"data: {type(data).__name__} has no {' and no '.join(f'`{name}`' for name in missing)}; add what "
        "lasagna.datamodules.DataWithSources lists, or take ShardDataModule"
    )


def read_records(source: RecordSource, share: ShardSplit = ShardSplit()) -> Iterator[RawSample]:  # noqa: B008 - frozen
    """Read a share of the records of a source, as shards hold them.

    Args:
        source: The source: shards, or one of a data module of one's own.
        share: The part to read.

    Raises:
        ConfigError: If the source has no ``records``.
        RecordError: While reading, if a record of one's own cannot be stored.
    """
    if isinstance(source, Source):
        return read_share(source.shard_set, source.shard_set.shards, share)
    if not hasattr(source, "records"):
        raise ConfigError(
            f"data: source {source.label} has no `records`, which this command reads; add the method (see "
            "lasagna.datamodules.RecordSource), or score it with `python train.py test`"
        )
    return (_raw(record, source.label) for record in islice(source.records(), share.part, None, share.parts))


def contents(source: RecordSource) -> list[str]:
    """Return checksums that change with the keys and images of a source; those of its shards, or one over all records.

    Args:
        source: The source.
    """
    if isinstance(source, Source):
        return [shard.sha256[:16] for shard in source.shard_set.shards]
    digest = blake2b(digest_size=8)
    for record in source.records():
        digest.update(record.key.encode())
        for image in (record.image_bytes, *record.others):
            digest.update(blake2b(image, digest_size=8).digest())
    return [digest.hexdigest()]


def batch_size_of(data: DataWithSources) -> int:
    """Return how many images a data module evaluates together: 16 where it does not say."""
    return int(getattr(data, "evaluation_batch_size", getattr(data, "batch_size", 16)))


def _raw(record: Record, place: str) -> RawSample:
    return {"__key__": sample_key(record.key), "__url__": place, **encode_record(record)}
