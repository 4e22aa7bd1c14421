from .chosen_names import OnlyNames, TwinNames
from .converters.common.base import Converter
from .datamodule import ShardDataModule
from .hard_negatives import HardNegatives
from .protocols import DataWithSources, RecordSource
from .samplers import RecordSampler, RepeatFactors
from .scenes.writer import SceneWriter
from .shards.manifest import ShardSet, read_manifest
from .shards.transport import RemoteOptions, RemoteWarning
from .shards.writer import write_parallel, write_shards
from .source import Source
from .strategies import AnswerSampling, ClassSampling, NegativeInjection, OrderRandomization, Strategy
from .streaming.collate import collate
from .streaming.preparation import PreparedSample, prepare_record, prepare_sample
from .streaming.skipped import SkippedRecordWarning
from .transforms.albumentations import Albumentations
from .transforms.base import RecordTransform
from .transforms.colours import ColourJitter
from .transforms.copy_paste import CopyPaste
from .transforms.geometric import HorizontalFlip, LargeScaleJitter, RandomCrop
from .transforms.names import MergedNames, UnknownNames
from .transforms.remnants import IgnoreSmall
from .transforms.torchvision import Torchvision
from .wordings import FixedWording, RandomWording
from .writers import DataWriter

__all__ = [
    "Albumentations",
    "AnswerSampling",
    "ClassSampling",
    "ColourJitter",
    "Converter",
    "CopyPaste",
    "DataWithSources",
    "DataWriter",
    "FixedWording",
    "HardNegatives",
    "HorizontalFlip",
    "IgnoreSmall",
    "LargeScaleJitter",
    "MergedNames",
    "NegativeInjection",
    "OnlyNames",
    "OrderRandomization",
    "PreparedSample",
    "RandomCrop",
    "RandomWording",
    "RecordSampler",
    "RecordSource",
    "RecordTransform",
    "RemoteOptions",
    "RemoteWarning",
    "RepeatFactors",
    "SceneWriter",
    "ShardDataModule",
    "ShardSet",
    "SkippedRecordWarning",
    "Source",
    "Strategy",
    "Torchvision",
    "TwinNames",
    "UnknownNames",
    "collate",
    "prepare_record",
    "prepare_sample",
    "read_manifest",
    "write_parallel",
    "write_shards",
]
