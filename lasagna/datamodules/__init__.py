"""Data: records from shards, the training strategies, and batches."""

from lasagna.datamodules.datamodule import ShardDataModule
from lasagna.datamodules.scenes.writer import SceneWriter
from lasagna.datamodules.shards.manifest import ShardSet, read_manifest
from lasagna.datamodules.shards.transport import RemoteOptions
from lasagna.datamodules.shards.writer import write_parallel, write_shards
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import (
    AnswerSampling,
    ClassSampling,
    NegativeInjection,
    OrderRandomization,
    RandomWording,
    Strategy,
)
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.sample import PreparedSample, prepare_sample
from lasagna.datamodules.transforms import RecordTransform
from lasagna.datamodules.writers import DataWriter

__all__ = [
    "AnswerSampling",
    "ClassSampling",
    "DataWriter",
    "NegativeInjection",
    "OrderRandomization",
    "PreparedSample",
    "RandomWording",
    "RecordTransform",
    "RemoteOptions",
    "SceneWriter",
    "ShardDataModule",
    "ShardSet",
    "Source",
    "Strategy",
    "collate",
    "prepare_sample",
    "read_manifest",
    "write_parallel",
    "write_shards",
]
