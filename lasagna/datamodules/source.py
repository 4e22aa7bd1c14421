"""A source of training or evaluation samples: shards, a task and a weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lasagna.core.dialogue import DialogueMaker
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.samplers import RecordSampler, other_weights
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.folder import ShardFolder
from lasagna.datamodules.shards.index import ShardIndex, read_index
from lasagna.datamodules.shards.manifest import ShardSet, read_shard_set
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.shards.remote import is_remote, open_folder
from lasagna.datamodules.shards.transport import RemoteOptions
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.transforms.base import RecordTransform
from lasagna.errors import without_secrets


@dataclass
class Source:
    """Shards, the task that turns their records into dialogues, and a weight in the training mixture.

    Args:
        shards: Folder of the shards and their ``manifest.json``: a path, a URL (``http://``, ``https://``, ``s3://``),
            or ``pipe:`` with a shell command that writes the file ``{file}`` to its standard output.
        task: Turns records into dialogues.
        weight: Share of the training samples, in proportion to the other sources' weights; evaluation ignores it.
        name: Unique name in scores and pictures; None for the data set's and the task's.
        strategies: Strategies for this source in place of the datamodule's; None for the datamodule's.
        transforms: Changes to the records before dialogues are made, in order.
        sampler: How often each record is drawn in training; None for once in each pass. The index of the shards that it
            takes is made once and kept beside them; evaluation ignores it.
        remote: Retries, timeout and cache for shards that are not on disk.

    Raises:
        ConfigError: If the address of the shards has an unknown scheme.
        ValueError: If the weight is not positive.
    """

    shards: str
    task: DialogueMaker
    weight: float = 1.0
    name: str | None = None
    strategies: list[Strategy] | None = None
    transforms: list[RecordTransform] | None = None
    sampler: RecordSampler | None = None
    remote: RemoteOptions = field(default_factory=RemoteOptions)

    def __post_init__(self) -> None:
        """Check the address and the weight."""
        is_remote(self.shards)
        if not self.weight > 0:
            raise ValueError(
                f"source {without_secrets(self.shards)}: `weight` must be positive, got {self.weight}; or leave it out"
            )

    @property
    def folder(self) -> ShardFolder:
        """Folder of the shards."""
        return open_folder(self.shards, self.remote)

    @cached_property
    def shard_set(self) -> ShardSet:
        """The shards with their manifest, read once.

        Raises:
            ShardError: If the manifest is missing or cannot be read.
        """
        return read_shard_set(self.folder)

    def forget(self) -> None:
        """Read the manifest again at its next use, because the shards may have been written meanwhile."""
        for known in ("shard_set", "manifest", "index", "weights_of_records", "bound_transforms"):
            self.__dict__.pop(known, None)

    @cached_property
    def index(self) -> ShardIndex:
        """The categories of all records, counted once.

        Raises:
            ConfigError: If the shards are remote and have no cache.
            ShardError: If a shard is missing or broken.
        """
        return read_index(self.shard_set)

    @cached_property
    def weights_of_records(self) -> dict[str, float]:
        """How often the sampler draws records in a pass, where that is not once, by the keys of raw samples.

        Raises:
            ConfigError: If the sampler gives anything but one positive weight for each record, or there is no index.
            ShardError: If a shard is missing or broken.
        """
        return {} if self.sampler is None else other_weights(self.sampler, self.index, self.label)

    @cached_property
    def bound_transforms(self) -> list[RecordTransform]:
        """The transforms, adapted to this source.

        Raises:
            ConfigError: If one cannot be used with these records.
        """
        return [transform.for_source(self) for transform in self.transforms or ()]

    @cached_property
    def manifest(self) -> Manifest:
        """Description of the data set, with the names that the transforms give it.

        Raises:
            ShardError: If the manifest is missing or cannot be read.
        """
        manifest = self.shard_set.manifest
        for transform in self.transforms or ():
            manifest = transform.of_manifest(manifest)
        return manifest

    def said(self, name: str) -> str:
        """Return the name that the transforms give a category.

        Args:
            name: Its stored name.
        """
        for transform in self.transforms or ():
            name = transform.said(name)
        return name

    def records(self) -> Iterator[Record]:
        """Yield the records, decoded, without the transforms.

        Raises:
            ShardError: If a shard is missing or broken.
            RecordError: If a record cannot be decoded.
        """
        raws = read_share(self.shard_set, self.shard_set.shards, ShardSplit())
        return (decode_record(raw, self.shard_set.manifest) for raw in raws)

    @property
    def label(self) -> str:
        """The name in scores and pictures: ``name``, or data set and task."""
        return self.name or f"{self.manifest.name}-{type(self.task).__name__.lower()}"
