"""The datamodule: sources of sharded records, mixed for training and passed once for evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

from lightning import LightningDataModule

from lasagna.batch import Preparation
from lasagna.datamodules.loader import EvaluationLoader, TrainingLoader
from lasagna.datamodules.sample_maker import SampleMaker
from lasagna.datamodules.share import node
from lasagna.datamodules.skipped import SkippedRecordWarning, SkipTally
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.training_stream import Layout
from lasagna.datamodules.writers import DataWriter
from lasagna.errors import ConfigError, ShardError

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class ShardDataModule(LightningDataModule):
    """Streams records from shards, makes dialogues of them and batches these.

    Args:
        train: Sources of the training mixture.
        val: Sources to validate on, each by itself.
        test: Sources to test on, each by itself.
        predict: Sources to predict on, each by itself.
        strategies: Changes to the dialogues in training, in order.
        evaluation_strategies: Changes to the dialogues in evaluation, in order.
        batch_size: Images in a training batch of each process.
        evaluation_batch_size: Images in an evaluation batch; None for ``batch_size``.
        samples_per_epoch: Images in an epoch over all processes; None for as many as the sources have records.
        num_workers: Processes that prepare samples, for each loader; 0 for none.
        shuffle_buffer: How many records each source's shuffle holds at a time, in each worker.
        seed: Seed of order and dialogues.
        broken: Whether a record that cannot be used is an error, or skipped, counted and reported.
        writers: What writes shards that are not there yet.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.

    Raises:
        ConfigError: If a number is out of its range; names all of them.
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
        self.tallies: dict[str, SkipTally] = {}
        self._preparation: Preparation | None = None
        self._check_numbers()

    def prepare_data(self) -> None:
        """Write the shards that are not there yet."""
        for writer in self.writers:
            writer.prepare()

    def setup(self, stage: str) -> None:
        """Check the shards of a stage before anything expensive begins.

        Args:
            stage: "fit", "validate", "test" or "predict".

        Raises:
            ShardError: If a manifest or shard is missing, empty or truncated; names all of them.
            ConfigError: If two sources have the same name, or the sources have fewer records than a batch.
        """
        for split in _SPLITS[stage]:
            for source in self.sources[split]:
                source.forget()
        faults = [fault for split in _SPLITS[stage] for source in self.sources[split] for fault in _faults(source)]
        if faults:
            raise ShardError("\n".join(dict.fromkeys(faults)))
        for split in _SPLITS[stage]:
            self._check_names(split)
        if stage == "fit" and self.sources["train"]:
            self._batches()

    def connect(self, preparation: Preparation) -> None:
        """Take the assistant's own preparation of images and text; the LightningModule calls this in ``setup``."""
        self._preparation = preparation

    def train_dataloader(self) -> TrainingLoader:
        """Return the loader of the training mixture.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        sources = self.sources["train"]
        makers = self._makers("train", self.strategies)
        layout = Layout(
            seed=self.seed,
            batch_size=self.batch_size,
            batches=self._batches(),
            shuffle_buffer=self.shuffle_buffer,
            workers=max(1, self.num_workers),
            world_size=node()[1],
            sources={source.label: source.weight for source in sources},
        )
        return TrainingLoader(
            makers, layout, self._connected(), num_workers=self.num_workers, pin_memory=self.pin_memory
        )

    def val_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader a source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation("val")

    def test_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader a source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation("test")

    def predict_dataloader(self) -> list[EvaluationLoader]:
        """Return one loader a source.

        Raises:
            RuntimeError: If ``connect`` was not called.
        """
        return self._evaluation("predict")

    def teardown(self, stage: str) -> None:
        """Report how many broken records were skipped.

        Args:
            stage: "fit", "validate", "test" or "predict".
        """
        for split in _SPLITS[stage]:
            tally = self.tallies.pop(split, None)
            for name, total in (tally.broken if tally else {}).items():
                warnings.warn(f"{split}: {name}: {total} broken records skipped", SkippedRecordWarning, stacklevel=2)

    def _evaluation(self, split: str) -> list[EvaluationLoader]:
        return [
            EvaluationLoader(
                maker,
                batch_size=self.evaluation_batch_size,
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
            )
            for maker in self._makers(split, self.evaluation_strategies)
        ]

    def _makers(self, split: str, strategies: Sequence[Strategy]) -> list[SampleMaker]:
        sources = self.sources[split]
        self.tallies[split] = SkipTally([source.label for source in sources], self.num_workers)
        return [
            SampleMaker(
                source=source,
                strategies=_bound(source, strategies),
                preparation=self._connected(),
                seed=self.seed,
                tally=self.tallies[split],
                broken=self.broken,
                keep_image=split != "train",
            )
            for source in sources
        ]

    def _connected(self) -> Preparation:
        if self._preparation is None:
            raise RuntimeError(
                "the datamodule does not know how the assistant wants images and text; call "
                "`connect(assistant.preparation)` first, in the LightningModule's `setup` or `configure_model`"
            )
        return self._preparation

    def _batches(self) -> int:
        """Return how many batches an epoch has for each process."""
        records = sum(source.shard_set.records for source in self.sources["train"])
        samples = records if self.samples_per_epoch is None else self.samples_per_epoch
        batches = samples // (self.batch_size * node()[1])
        if not batches:
            raise ConfigError(
                f"data: an epoch of {samples} samples holds no batch of {self.batch_size} for each of {node()[1]} "
                "processes; set `samples_per_epoch` higher or `batch_size` lower"
            )
        return batches

    def _check_names(self, split: str) -> None:
        names = [source.label for source in self.sources[split]]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ConfigError(f"data.{split}: several sources are named {doubled}; give each a `name` of its own")

    def _check_numbers(self) -> None:
        least = {"batch_size": 1, "evaluation_batch_size": 1, "num_workers": 0, "shuffle_buffer": 0}
        faults = [
            f"`{name}` must be at least {bound}, got {getattr(self, name)}"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if self.samples_per_epoch is not None and self.samples_per_epoch < 1:
            faults.append(f"`samples_per_epoch` must be at least 1 or null, got {self.samples_per_epoch}")
        if self.broken not in ("error", "skip"):
            faults.append(f"`broken` must be 'error' or 'skip', got {self.broken!r}")
        if faults:
            raise ConfigError("data: " + "; ".join(faults))


def _faults(source: Source) -> list[str]:
    try:
        return source.shard_set.faults()
    except ShardError as fault:
        return [str(fault)]


def _bound(source: Source, strategies: Sequence[Strategy]) -> list[Strategy]:
    chosen = strategies if source.strategies is None else source.strategies
    return [strategy.for_vocabulary(source.manifest.categories) for strategy in chosen]
