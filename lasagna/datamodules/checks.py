"""Checks of a datamodule's settings and sources, before anything expensive begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.distributed import rank_and_world_size
from lasagna.errors import ConfigError, ShardError


def check_numbers(numbers: dict[str, float | None], broken: str) -> None:
    """Check the settings that do not depend on data.

    Args:
        numbers: Names and values of settings that are numbers; None for those that are derived.
        broken: What happens to records that cannot be used.

    Raises:
        ConfigError: If some are out of range; names all of them.
    """
    zero = ("num_workers", "shuffle_buffer")
    errors = []
    for name, value in numbers.items():
        least = 0 if name in zero else 1
        if value is not None and value < least:
            null = " or null" if name in ("samples_per_epoch", "streams") else ""
            errors.append(f"`{name}` must be at least {least}{null}, got {value}")
    if broken not in ("error", "skip"):
        errors.append(f"`broken` must be 'error' or 'skip', got {broken!r}")
    if errors:
        raise ConfigError("data: " + "; ".join(errors))


def check_processes(expected: int) -> None:
    """Check that as many processes were started as the trainer expects.

    Args:
        expected: Number of the trainer's processes.

    Raises:
        ConfigError: If there is another number of them.
    """
    _, started = rank_and_world_size()
    if expected != started:
        raise ConfigError(
            f"trainer: `devices` times `num_nodes` is {expected}, but {started} processes were "
            "started according to RANK and WORLD_SIZE in the environment; make both equal, e.g. with "
            f"`--trainer.devices {started}`, or start without torchrun"
        )


def check_epoch(sources: Sequence[Source], samples: int | None, batch_size: int) -> int:
    """Return the number of batches in an epoch of each process.

    Args:
        sources: The sources of the training.
        samples: Number of samples of an epoch over all processes; None for the number of records of the sources.
        batch_size: Samples in a batch of each process.

    Raises:
        ConfigError: If there are no sources, or an epoch is shorter than a batch.
    """
    check_sources(sources, "train")
    samples = sum(source.shard_set.records for source in sources) if samples is None else samples
    _, processes = rank_and_world_size()
    batches = samples // (batch_size * processes)
    if not batches:
        raise ConfigError(
            f"data: an epoch of {samples} samples is too short for a batch of {batch_size} for each of {processes} "
            "processes; set `samples_per_epoch` higher or `batch_size` lower"
        )
    return batches


def check_streams(streams: int | None, workers: int) -> int:
    """Return the number of streams of a training.

    Args:
        streams: The setting; None for one for each worker.
        workers: Number of workers of a process, or 0 without.

    Raises:
        ConfigError: If the workers of all processes cannot read as many streams each.
    """
    readers = max(1, workers) * rank_and_world_size()[1]
    if streams is not None and streams % readers:
        raise ConfigError(
            f"data: `streams` must be a multiple of the {readers} workers of all processes, got {streams}; set "
            f"`streams` to {readers * -(-streams // readers)}, or `num_workers` to a number that divides it"
        )
    return readers if streams is None else streams


def check_sources(sources: Sequence[Source], split: str) -> None:
    """Check that a split has sources.

    Args:
        sources: Its sources.
        split: Name of the split.

    Raises:
        ConfigError: If it has none.
    """
    if not sources:
        raise ConfigError(f"data.{split}: there are no sources; list at least one")


def check_shards(sources: Sequence[Source]) -> None:
    """Check that the shards of some sources exist with their full size.

    Args:
        sources: The sources.

    Raises:
        ShardError: If a manifest or shard is missing, empty or truncated; names all of them.
    """
    if errors := [error for source in sources for error in _errors(source)]:
        raise ShardError("\n".join(dict.fromkeys(errors)))


def check_names(sources: Sequence[Source], split: str) -> None:
    """Check that no two sources of a split have the same name.

    Args:
        sources: Its sources, whose manifests can be read.
        split: Name of the split.

    Raises:
        ConfigError: If two have; names all names that occur several times.
    """
    names = [source.label for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.{split}: several sources are named {repeated}; give each a unique `name`")


def check_shares(sources: Sequence[Source], split: str) -> None:
    """Check that each process has records to evaluate, since the processes combine what each one found.

    Args:
        sources: The sources of the split, whose manifests can be read.
        split: Name of the split; nothing is checked for "train".

    Raises:
        ConfigError: If a source has fewer records than there are processes.
    """
    _, world_size = rank_and_world_size()
    for source in sources:
        records = source.shard_set.records
        if split != "train" and records < world_size:
            raise ConfigError(
                f"data.{split}: source {source.label} has fewer records ({records}) than there are processes "
                f"({world_size}); start at most {records}, or remove the source"
            )


def _errors(source: Source) -> list[str]:
    try:
        return source.shard_set.errors()
    except ShardError as error:
        return [str(error)]


def check_changes(sources: Sequence[Source], split: str) -> None:
    """Adapt transforms to the sources and count their records where that is needed, once rather than in each worker.

    Args:
        sources: The sources.
        split: Their split; only training draws by samplers.

    Raises:
        ConfigError: If a transform or a sampler cannot be used with the records of a source.
        ShardError: If records are counted, and a shard is missing or broken.
    """
    for source in sources:
        _ = source.bound_transforms
        if split == "train":
            _ = source.weights_of_records


def check_strategies(
    sources: Mapping[str, Sequence[Source]], training: Sequence[Strategy], evaluation: Sequence[Strategy]
) -> None:
    """Check the strategies of a datamodule and those of its sources.

    Args:
        sources: The sources of each split.
        training: The strategies in training.
        evaluation: Those in evaluation.

    Raises:
        ConfigError: If some are in an invalid order.
    """
    _check_order(training, "data.strategies")
    _check_order(evaluation, "data.evaluation_strategies", scored=True)
    for split, found in sources.items():
        for source in found:
            place = f"data.{split}: `strategies` of {source.shards}"
            _check_order(source.strategies or (), place, scored=split != "train")


def _check_order(strategies: Sequence[Strategy], place: str, *, scored: bool = False) -> None:
    """Check that neither a strategy nor a score takes present names that an answer leaves out for absent.

    Args:
        strategies: The strategies, in order.
        place: Their place in the config, for the message.
        scored: Whether the dialogues are scored.

    Raises:
        ConfigError: If a strategy that answers absent names, or scoring, follows one that leaves out present names.
    """
    for rank, strategy in enumerate(strategies):
        if not strategy.leaves_out_present:
            continue
        left_out = f"{place}: {type(strategy).__name__} asks for present names and does not answer them"
        if scored:
            raise ConfigError(f"{left_out}, so that scores would take them for absent; use it only in training")
        if absent := next((type(later).__name__ for later in strategies[rank:] if later.answers_absent), None):
            raise ConfigError(f"{left_out}, so that {absent} after it would call them absent; put it before")
