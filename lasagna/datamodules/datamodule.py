"""The datamodule: sources of sharded records, mixed for training and read once for evaluation."""

from __future__ import annotations

from itertools import islice
from typing import Literal
from weakref import ref

from lightning import LightningDataModule

from lasagna.core.processors import Processors
from lasagna.datamodules import checks
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.distributed import gather
from lasagna.datamodules.streaming.loader import EvaluationLoader, TrainingLoader
from lasagna.datamodules.streaming.mixture import StreamConfig
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts, report
from lasagna.datamodules.writers import DataWriter

DRY_RUN_RECORDS = 4
"""Number of records of each source that are tried before a stage begins."""

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class ShardDataModule(LightningDataModule):
    """Streams records from shards, turns them into dialogues and batches these.

    Args:
        train: Sources of the training mixture.
        val: Sources to validate on, one by one.
        test: Sources to test on, one by one.
        predict: Sources to predict on, one by one.
        strategies: Changes to the dialogues in training, in order.
        evaluation_strategies: Changes to the dialogues in evaluation, in order.
        batch_size: Images in a training batch of each process.
        evaluation_batch_size: Images in an evaluation batch; None for ``batch_size``.
        samples_per_epoch: Images in an epoch over all processes; None for the number of records of the sources.
        num_workers: Processes that prepare samples for each loader; 0 for none.
        shuffle_buffer: Largest number of records of each source that are shuffled together, in each stream.
        shuffle_megabytes: Size of each stream's shuffle buffers over all sources, in 10^6 bytes of undecoded records.
        streams: Number of streams that samples come from, a multiple of the workers of all processes; runs with the
            same number have the same batches, whatever reads them. None for one stream for each worker.
        seed: Seed of order and dialogues.
        broken: Whether a record that cannot be used, or one with a text that the assistant cannot read (too long, or
            with a token such as ``<image>`` in it), is an error ("error"), or is skipped, counted and reported
            ("skip").
        writers: Writers of shards that do not exist yet.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.

    Raises:
        ConfigError: If numbers are out of range (names all of them), or strategies are in an invalid order.
    """

    def __init__(
        self,
        train: list[Source] | None = None,
        val: list[Source] | None = None,
        test: list[Source] | None = None,
        predict: list[Source] | None = None,
        strategies: list[Strategy] | None = None,
        evaluation_strategies: list[Strategy] | None = None,
        batch_size: int = 16,
        evaluation_batch_size: int | None = None,
        samples_per_epoch: int | None = None,
        num_workers: int = 0,
        shuffle_buffer: int = 1000,
        shuffle_megabytes: float = 128.0,
        streams: int | None = None,
        seed: int = 0,
        broken: Literal["error", "skip"] = "error",
        writers: list[DataWriter] | None = None,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.sources = {"train": train or [], "val": val or [], "test": test or [], "predict": predict or []}
        self.strategies = strategies or []
        self.evaluation_strategies = evaluation_strategies or []
        self.batch_size = batch_size
        self.evaluation_batch_size = batch_size if evaluation_batch_size is None else evaluation_batch_size
        self.samples_per_epoch = samples_per_epoch
        self.num_workers = num_workers
        self.shuffle_buffer, self.shuffle_megabytes, self.streams = shuffle_buffer, shuffle_megabytes, streams
        self.seed = seed
        self.broken = broken
        self.writers = writers or []
        self.pin_memory = pin_memory
        self.tallies: dict[str, RecordCounts] = {}
        self._processors: Processors | None = None
        self._tried: set[str] = set()
        self._training: ref[TrainingLoader] | None = None
        names = ("batch_size", "evaluation_batch_size", "num_workers", "shuffle_buffer", "shuffle_megabytes", "streams")
        checks.check_numbers({name: getattr(self, name) for name in (*names, "samples_per_epoch")}, broken)
        checks.check_strategies(self.sources, self.strategies, self.evaluation_strategies)

    def prepare_data(self) -> None:
        """Write the shards that do not exist yet."""
        for writer in self.writers:
            writer.prepare()

    def setup(self, stage: str) -> None:
        """Check the shards of a stage before anything expensive begins.

        Args:
            stage: "fit", "validate", "test" or "predict".

        Raises:
            ShardError: If a manifest or shard is missing, empty or truncated; names all of them.
            ConfigError: If there are no sources, two have the same name, one to evaluate has fewer records than there
                are processes, an epoch is shorter than a batch, the trainer expects another number of processes than
                were started, or these cannot read as many streams each.
        """
        if self.trainer is not None:
            checks.check_processes(self.trainer.world_size)
        checks.check_sources(self.sources[_SPLITS[stage][0]], _SPLITS[stage][0])
        for split in _SPLITS[stage]:
            self.tallies.pop(split, None)
            self._tried.discard(split)
            for source in self.sources[split]:
                source.forget()
        checks.check_shards([source for split in _SPLITS[stage] for source in self.sources[split]])
        for split in _SPLITS[stage]:
            checks.check_names(self.sources[split], split)
            checks.check_shares(self.sources[split], split)
            checks.check_changes(self.sources[split], split)
        if stage == "fit":
            checks.check_epoch(self.sources["train"], self.samples_per_epoch, self.batch_size)
            checks.check_streams(self.streams, self.num_workers)

    def connect(self, processors: Processors) -> None:
        """Set the assistant's processors; the LightningModule calls this in ``setup``.

        Args:
            processors: The processors of images and text.
        """
        self._processors = processors

    def dry_run(self, split: str) -> None:
        """Make a few samples of each source of a split and discard them, so that invalid queries show early.

        Loaders call this; after each ``setup``, only the first call for a split has an effect.

        Args:
            split: "train", "val", "test" or "predict".

        Raises:
            RuntimeError: If ``connect`` was not called.
            QueryError: If a dialogue does not fit the assistant and ``broken`` is "error", or if none of a source does.
            RecordError: If one of the records cannot be used and ``broken`` is "error".
        """
        if split in self._tried:
            return
        self._tried.add(split)
        for maker in self._makers(split):
            shard_set = maker.source.shard_set
            maker.dry_run(islice(read_share(shard_set, shard_set.shards[:1], ShardSplit()), DRY_RUN_RECORDS))

    def counts(self, stage: str) -> dict[str, dict[str, dict[str, int]]]:
        """Return how many records were used and skipped so far over all processes, which must call this together.

        Args:
            stage: "fit", "validate", "test" or "predict".

        Returns:
            Split to source to the number of records "read", and of these "used", "broken" and "empty" (with nothing
            for the task). A record counts each time it is read.
        """
        counts = {}
        for split in _SPLITS[stage]:
            if split in self.tallies:
                parts = gather(self.tallies[split].counts())
                counts[split] = {
                    source: {name: sum(part[source][name] for part in parts) for name in count}
                    for source, count in parts[0].items()
                }
        return counts

    def train_dataloader(self) -> TrainingLoader:
        """Return the loader of the training mixture.

        Raises:
            RuntimeError: If ``connect`` was not called.
            QueryError: If a dialogue of training or validation does not fit the assistant.
        """
        sources = self.sources["train"]
        for split in ("train", "val"):
            self.dry_run(split)
        config = StreamConfig(
            seed=self.seed,
            batch_size=self.batch_size,
            streams=checks.check_streams(self.streams, self.num_workers),
            shuffle_buffer=self.shuffle_buffer,
            shuffle_megabytes=self.shuffle_megabytes,
            weights={source.label: source.weight for source in sources},
            records={source.label: source.shard_set.records for source in sources},
            samplers={source.label: str(source.sampler) for source in sources},
        )
        loader = TrainingLoader(
            self._makers("train"),
            config,
            self._connected(),
            batches=checks.check_epoch(sources, self.samples_per_epoch, self.batch_size),
            num_workers=self.num_workers,
            keep_streams=self.streams is not None,
            pin_memory=self.pin_memory,
            fixed=getattr(self.trainer, "overfit_batches", 0) > 0,
        )
        self._end_training_workers()
        self._training = ref(loader)
        return loader

    def val_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader per source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation_loaders("val")

    def test_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader per source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader per source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation_loaders("predict")

    def teardown(self, stage: str) -> None:
        """End the workers of training, and report how many records were skipped, and why.

        Args:
            stage: "fit", "validate", "test" or "predict".
        """
        if stage == "fit":
            self._end_training_workers()
        for split in _SPLITS[stage]:
            if split in self.tallies:
                report(split, self.tallies.pop(split).counts())

    def on_exception(self, exception: BaseException) -> None:
        """End the workers of a training that an error stops.

        Args:
            exception: The error.
        """
        self._end_training_workers()

    def _end_training_workers(self) -> None:
        if self._training and (loader := self._training()):
            loader.close()

    def _evaluation_loaders(self, split: str) -> list[EvaluationLoader]:
        self.dry_run(split)
        return [
            EvaluationLoader(
                maker,
                batch_size=self.evaluation_batch_size,
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
            )
            for maker in self._makers(split)
        ]

    def _makers(self, split: str) -> list[SampleMaker]:
        sources = self.sources[split]
        strategies = self.strategies if split == "train" else self.evaluation_strategies
        # loaders may be recreated within a stage, and its counts continue
        tally = self.tallies.setdefault(split, RecordCounts([source.label for source in sources], self.num_workers))
        return [
            SampleMaker(
                source=source,
                strategies=[
                    strategy.for_source(source)
                    for strategy in (strategies if source.strategies is None else source.strategies)
                ],
                processors=self._connected(),
                seed=self.seed,
                tally=tally,
                broken=self.broken,
                evaluates=split != "train",
            )
            for source in sources
        ]

    def _connected(self) -> Processors:
        if self._processors is None:
            raise RuntimeError(
                "the datamodule has no processors of images and text; call `connect(assistant.processors)` first, in "
                "the LightningModule's `setup` or `configure_model`"
            )
        return self._processors
