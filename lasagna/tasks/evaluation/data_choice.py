"""Which records an evaluation asks about: a data config, a folder of shards, or the data of the training."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.config import Config, build
from lasagna.datamodules import ShardDataModule
from lasagna.datamodules.shards.manifest import MANIFEST_FILE
from lasagna.datamodules.shards.remote import is_remote, refuse_commands
from lasagna.errors import CheckpointError, ConfigError, ShardError

SPLITS = ("train", "val", "test", "predict")
"""Splits that a data config may have."""

TASKS = ("Semantic", "Referring", "Reasoning", "VQA")
"""Tasks that a folder of shards is asked; those that find nothing there drop out."""

_CLASS = "lasagna.datamodules.ShardDataModule"


@dataclass(frozen=True)
class DataChoice:
    """The data of an evaluation, as plain data.

    Args:
        recipe: The datamodule: class_path and init_args.
        split: Which of its splits is evaluated.
    """

    recipe: Config
    split: str

    def make(self) -> ShardDataModule:
        """Make the datamodule, write shards that it can write, and check that the split is whole.

        Raises:
            ConfigError: If the datamodule cannot be made, or has no such split.
            ShardError: If a manifest or shard is missing, empty or truncated; names all of them.
        """
        try:
            data = build(deepcopy(self.recipe), ShardDataModule)
        except CheckpointError as error:
            raise ConfigError(f"data: {error}") from error
        if not data.sources.get(self.split):
            there = [split for split, sources in data.sources.items() if sources]
            raise ConfigError(f"split: the data has no {self.split!r}; choose one of {', '.join(there) or 'none'}")
        data.prepare_data()
        if errors := [error for source in data.sources[self.split] for error in source.shard_set.errors()]:
            raise ShardError("\n".join(dict.fromkeys(errors)))
        return data


def choose_data(data: str | None, split: str, trained: Config | None) -> DataChoice:
    """Find out what is evaluated.

    Args:
        data: A YAML file of the datamodule (or of a whole run, with a part ``data``), a folder of shards, or one
            whose folders are the splits, or the address of a folder of shards; None for the data of the training.
        split: Which split.
        trained: The config that the checkpoint was trained with, or None.

    Raises:
        ConfigError: If there is no such file, folder or split, nothing says what the data is, or the training's would
            run a command.
    """
    if data is None:
        if not trained or "data" not in trained:
            raise ConfigError("data: the checkpoint does not say what it was trained on; give --data")
        refuse_commands(trained["data"], "the checkpoint", "--data")
        return DataChoice(trained["data"], split)
    if is_remote(data):
        return _shards(data)
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(path, split)
    if not path.is_file():
        raise ConfigError(f"data: there is no file or folder {data!r}; give a data config or a folder of shards")
    return DataChoice(_read(path), split)


def _folder(data: Path, split: str) -> DataChoice:
    inner = sorted(path.parent.name for path in data.glob(f"*/{MANIFEST_FILE}"))
    if (data / MANIFEST_FILE).is_file():
        shards = data
    elif split in inner:
        shards = data / split
    else:
        there = f"its splits are {', '.join(inner)}" if inner else f"it holds no {MANIFEST_FILE}, so no shards"
        raise ConfigError(f"split: the folder {str(data)!r} has no {split!r}; {there}")
    return _shards(str(shards))


def _shards(shards: str) -> DataChoice:
    sources = [{"shards": shards, "task": {"class_path": f"lasagna.tasks.{task}"}} for task in TASKS]
    sources[-1]["task"] = {"class_path": "lasagna.tasks.VQA", "init_args": {"talk": False}}
    return DataChoice({"class_path": _CLASS, "init_args": {"test": sources}}, "test")


def _read(file: Path) -> Config:
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        config = OmegaConf.load(file)
        part: Any = config.get("data", config) if OmegaConf.is_dict(config) else {}  # type: ignore[arg-type]
        plain = OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else None
    except (YAMLError, UnicodeDecodeError, TypeError) as error:
        raise ConfigError(f"data: {str(file)!r} is no YAML of a datamodule ({error})") from error
    if not isinstance(plain, dict) or not ({"class_path", "init_args"} & plain.keys()):
        raise ConfigError(f"data: {str(file)!r} has no class_path and init_args; see configs/data for examples")
    return {"class_path": plain.get("class_path", _CLASS), "init_args": plain.get("init_args") or {}}
