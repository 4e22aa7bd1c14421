"""The datamodule: sources of sharded records, mixed for training and read once for evaluation."""

from __future__ import annotations

from itertools import islice
from typing import Literal

from lightning import LightningDataModule

from lasagna.core.processors import Processors
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy, check_order
from lasagna.datamodules.streaming.distributed import gather, rank_and_world_size
from lasagna.datamodules.streaming.loader import EvaluationLoader, TrainingLoader
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts, report
from lasagna.datamodules.streaming.stream import StreamConfig
from lasagna.datamodules.writers import DataWriter
from lasagna.errors import ConfigError, ShardError

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
        shuffle_buffer: Size of each source's shuffle buffer in records, in each worker.
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
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        self.broken = broken
        self.writers = writers or []
        self.pin_memory = pin_memory
        self.tallies: dict[str, RecordCounts] = {}
        self._processors: Processors | None = None
        self._tried: set[str] = set()
        self._check_numbers()
        self._check_strategies()

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
                are processes, an epoch is shorter than a batch, or the trainer expects another number of processes than
                were started.
        """
        self._check_processes()
        self._check_sources("train" if stage == "fit" else _SPLITS[stage][0])
        for split in _SPLITS[stage]:
            self.tallies.pop(split, None)
            self._tried.discard(split)
            for source in self.sources[split]:
                source.forget()
        errors = [error for split in _SPLITS[stage] for source in self.sources[split] for error in _errors(source)]
        if errors:
            raise ShardError("\n".join(dict.fromkeys(errors)))
        for split in _SPLITS[stage]:
            self._check_names(split)
            self._check_shares(split)
        if stage == "fit":
            self._batches()

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
        makers = self._makers("train")
        config = StreamConfig(
            seed=self.seed,
            batch_size=self.batch_size,
            batches=self._batches(),
            shuffle_buffer=self.shuffle_buffer,
            workers=max(1, self.num_workers),
            world_size=rank_and_world_size()[1],
            sources={source.label: source.weight for source in sources},
        )
        return TrainingLoader(
            makers,
            config,
            self._connected(),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            fixed=getattr(self.trainer, "overfit_batches", 0) > 0,
        )

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
        """Report how many records were skipped, and why.

        Args:
            stage: "fit", "validate", "test" or "predict".
        """
        for split in _SPLITS[stage]:
            if split in self.tallies:
                report(split, self.tallies.pop(split).counts())

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
                    strategy.for_manifest(source.manifest)
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

    def _batches(self) -> int:
        """Return the number of batches in an epoch of each process."""
        self._check_sources("train")
        records = sum(source.shard_set.records for source in self.sources["train"])
        samples = records if self.samples_per_epoch is None else self.samples_per_epoch
        _, world_size = rank_and_world_size()
        batches = samples // (self.batch_size * world_size)
        if not batches:
            raise ConfigError(
                f"data: an epoch of {samples} samples is too short for a batch of {self.batch_size} for each of "
                f"{world_size} processes; set `samples_per_epoch` higher or `batch_size` lower"
            )
        return batches

    def _check_processes(self) -> None:
        _, started = rank_and_world_size()
        if self.trainer is not None and self.trainer.world_size != started:
            raise ConfigError(
                f"trainer: `devices` times `num_nodes` is {self.trainer.world_size}, but {started} processes were "
                "started according to RANK and WORLD_SIZE in the environment; make both equal, e.g. with "
                f"`--trainer.devices {started}`, or start without torchrun"
            )

    def _check_sources(self, split: str) -> None:
        if not self.sources[split]:
            raise ConfigError(f"data.{split}: there are no sources; list at least one")

    def _check_shares(self, split: str) -> None:
        """Check that each process has records to evaluate, since the processes combine what each one found."""
        _, world_size = rank_and_world_size()
        for source in self.sources[split]:
            records = source.shard_set.records
            if split != "train" and records < world_size:
                raise ConfigError(
                    f"data.{split}: source {source.label} has fewer records ({records}) than there are processes "
                    f"({world_size}); start at most {records}, or remove the source"
                )

    def _check_names(self, split: str) -> None:
        names = [source.label for source in self.sources[split]]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"data.{split}: several sources are named {repeated}; give each a unique `name`")

    def _check_strategies(self) -> None:
        check_order(self.strategies, "data.strategies")
        check_order(self.evaluation_strategies, "data.evaluation_strategies", scored=True)
        for split, sources in self.sources.items():
            for source in sources:
                place = f"data.{split}: `strategies` of {source.shards}"
                check_order(source.strategies or (), place, scored=split != "train")

    def _check_numbers(self) -> None:
        least = {"batch_size": 1, "evaluation_batch_size": 1, "num_workers": 0, "shuffle_buffer": 0}
        errors = [
            f"`{name}` must be at least {bound}, got {getattr(self, name)}"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if self.samples_per_epoch is not None and self.samples_per_epoch < 1:
            errors.append(f"`samples_per_epoch` must be at least 1 or null, got {self.samples_per_epoch}")
        if self.broken not in ("error", "skip"):
            errors.append(f"`broken` must be 'error' or 'skip', got {self.broken!r}")
        if errors:
            raise ConfigError("data: " + "; ".join(errors))


def _errors(source: Source) -> list[str]:
    try:
        return source.shard_set.errors()
    except ShardError as error:
        return [str(error)]
