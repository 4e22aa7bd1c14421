"""The records of an evaluation: those of a data config, of a folder of shards, or of the checkpoint's training."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import LightningDataModule

from lasagna.core.config import Config, build
from lasagna.core.dialogue import DialogueMaker
from lasagna.core.foreign import Foreign
from lasagna.datamodules import (
    DataWithSources,
    DataWriter,
    RecordSampler,
    RecordTransform,
    ShardDataModule,
    Source,
    Strategy,
)
from lasagna.datamodules.protocols import check_sources
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, read_shard_set
from lasagna.datamodules.shards.remote import is_remote, open_folder
from lasagna.datamodules.shards.transport import RemoteOptions
from lasagna.errors import CheckpointError, ConfigError, ShardError
from lasagna.tasks.evaluation.folder_tasks import folder_tasks

KINDS = (LightningDataModule, DialogueMaker, Strategy, RecordTransform, RecordSampler, DataWriter)
"""Base classes of what the config of a data set can name."""

_CLASS = "lasagna.datamodules.ShardDataModule"


@dataclass(frozen=True)
class DataChoice:
    """The data of an evaluation, as plain data.

    Args:
        config: The datamodule: class_path and init_args.
        split: Which of its splits is evaluated.
        foreign: Where the config comes from, if the user has not named it; its writers are left out.
        remarks: What is asked about shards without a config, and what is not.
    """

    config: Config
    split: str
    foreign: Foreign | None = None
    remarks: tuple[str, ...] = ()

    def build(self) -> DataWithSources:
        """Build the datamodule, write the shards that it can write, and check those of the split.

        Raises:
            ConfigError: If the datamodule cannot be built, or has no such split.
            ShardError: If a manifest or shard is missing, empty or truncated; names all of them.
        """
        config = deepcopy(self.config)
        if self.foreign is not None:
            self.foreign.check_stored(config)
            config = without_writers(config)
        try:
            module: LightningDataModule = build(config, LightningDataModule, KINDS, self.foreign)
        except CheckpointError as error:
            raise ConfigError(f"data: {error}") from error
        data = check_sources(module)
        if not data.sources.get(self.split):
            known = [split for split, sources in data.sources.items() if sources]
            raise ConfigError(f"split: the data has no {self.split!r}; choose one of {', '.join(known) or 'none'}")
        module.prepare_data()
        shards = [source.shard_set for source in data.sources[self.split] if isinstance(source, Source)]
        if errors := [error for shard_set in shards for error in shard_set.errors()]:
            raise ShardError("\n".join(dict.fromkeys(errors)))
        return data


def without_writers(config: Config) -> Config:
    """Return the config of a datamodule without its writers, which might overwrite shards of the user."""
    arguments = config.get("init_args")
    if not isinstance(arguments, dict) or "writers" not in arguments:
        return config
    return {**config, "init_args": {**arguments, "writers": []}}


def choose_data(data: str | None, split: str, trained: Config | None, learned: Collection[str] = ()) -> DataChoice:
    """Find the data to evaluate on.

    Args:
        data: A YAML file of the datamodule (or of an entire run, with a section ``data``), a folder of shards, a folder
            with one such folder for each split, or the address of a folder of shards; None for the data of the
            training.
        split: Which split.
        trained: The config that the checkpoint was trained with, or None. Its seed is also used for shards without a
            config, and for a config without a seed.
        learned: The kinds of query that the assistant learned, as far as the checkpoint says.

    Raises:
        ConfigError: If there is no such file, folder or split, nothing says what the data is, the training's would
            run a command, or nothing in the shards can be scored.
        ShardError: If the manifest of the shards is missing or cannot be read.
    """
    config = (trained or {}).get("data")
    if data is None:
        if config is None:
            raise ConfigError("data: the checkpoint does not say what it was trained on; give --data")
        return DataChoice(config, split, Foreign("the checkpoint", "name the data with --data"))
    path = Path(data).expanduser()
    seed = ((config or {}).get("init_args") or {}).get("seed", 0)
    if not is_remote(data) and path.is_file():
        given = _read(path)
        # a class of the user's own need not take a seed
        default = {"seed": seed} if given["class_path"].endswith(ShardDataModule.__name__) else {}
        return DataChoice({**given, "init_args": default | given["init_args"]}, split)
    return _shards(data if is_remote(data) else _folder(path, split), seed, trained, learned)


def _folder(data: Path, split: str) -> str:
    """Return the folder of shards that a path stands for."""
    if not data.is_dir():
        raise ConfigError(f"data: there is no file or folder {str(data)!r}; give a data config or a folder of shards")
    splits = sorted(path.parent.name for path in data.glob(f"*/{MANIFEST_FILE}"))
    if (data / MANIFEST_FILE).is_file():
        return str(data)
    if split in splits:
        return str(data / split)
    found = f"its splits are {', '.join(splits)}" if splits else f"it holds no {MANIFEST_FILE}, so no shards"
    raise ConfigError(f"split: the folder {str(data)!r} has no {split!r}; {found}")


def _shards(shards: str, seed: int, trained: Config | None, learned: Collection[str]) -> DataChoice:
    found = folder_tasks(read_shard_set(open_folder(shards, RemoteOptions())), trained, learned)
    sources = [{"shards": shards, "task": task} for task in found.tasks]
    config = {"class_path": _CLASS, "init_args": {"test": sources, "seed": seed}}
    return DataChoice(config, "test", remarks=found.remarks)


def _read(file: Path) -> Config:
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        config = OmegaConf.load(file)
        section: Any = config.get("data", config) if OmegaConf.is_dict(config) else {}  # type: ignore[arg-type]
        plain = OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else None
    except (YAMLError, UnicodeDecodeError, TypeError) as error:
        raise ConfigError(f"data: {str(file)!r} is not the YAML of a datamodule ({error})") from error
    if not isinstance(plain, dict) or not ({"class_path", "init_args"} & plain.keys()):
        raise ConfigError(f"data: {str(file)!r} has no class_path and init_args; see configs/data for examples")
    return {"class_path": plain.get("class_path", _CLASS), "init_args": plain.get("init_args") or {}}
