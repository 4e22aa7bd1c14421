"""What a config can name is exported by the package of its kind, and a checkpoint names it by that path."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pkgutil import walk_packages

import pytest
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger

import lasagna
from lasagna.cli.class_names import PACKAGES
from lasagna.core.config import public_path
from lasagna.core.processors import ImageProcessor, TextProcessor
from lasagna.datamodules import DataWriter, RecordSampler, RecordTransform, Source, Strategy
from lasagna.modules import Assistant, LanguageModel, LoRA, MaskHead, SegmentationLoss, VisionEncoder
from lasagna.tasks import DialogueMetric, Optimiser, Task

BASES = (
    *(VisionEncoder, LanguageModel, MaskHead, Assistant, LoRA, SegmentationLoss),
    *(ImageProcessor, TextProcessor),
    *(LightningDataModule, Source, Strategy, RecordTransform, RecordSampler, DataWriter),
    *(LightningModule, Task, DialogueMetric, Optimiser, Callback, Logger),
)
"""Base classes of what a config can name."""

INTERNAL = ("lasagna.cli.", "lasagna.tasks.pretrain.", "lasagna.modules.sam.mask_head.PromptedMaskHead")
"""Beginnings of the paths of subclasses that only the package itself makes or derives from."""


def nameable():
    """Return all classes of the package that a config can name."""
    for module in walk_packages(lasagna.__path__, "lasagna."):
        # adapters for other tools, which need those tools, are named by no config
        if not module.name.endswith("__main__") and not module.name.startswith("lasagna.integrations"):
            import_module(module.name)
    left, found = list(BASES), set()
    while left:
        kind = left.pop()
        if kind not in found:
            found.add(kind)
            left += kind.__subclasses__()
    ours = [kind for kind in found if kind.__module__.startswith("lasagna.") and not kind.__name__.startswith("_")]
    concrete = [kind for kind in ours if not inspect.isabstract(kind) and not getattr(kind, "_is_protocol", False)]
    return sorted(
        (kind for kind in concrete if not f"{kind.__module__}.{kind.__qualname__}".startswith(INTERNAL)),
        key=lambda kind: kind.__name__,
    )


def test_what_a_config_can_name_is_exported():
    public = {package.__name__ for package in PACKAGES}
    hidden = [public_path(kind) for kind in nameable() if public_path(kind).rpartition(".")[0] not in public]
    assert hidden == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_exports_are_there_and_named_by_their_package(package):
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, type) and value.__module__.startswith(package.__name__):
            assert public_path(value) == f"{package.__name__}.{name}"


BARE = """
from jsonargparse import _typehints
from jsonargparse._util import import_object
from lasagna.cli.class_names import PACKAGES, bare_class_names
from tests.integration.test_exports import BASES
BASES = [base for base in BASES if not getattr(base, "_is_protocol", False)]
with bare_class_names():
    for package in PACKAGES:
        for name in package.__all__:
            paths = {base: _typehints.resolve_class_path_by_name(base, name) for base in BASES}
            kind = getattr(package, name)
            for base, path in paths.items():
                fits = isinstance(kind, type) and issubclass(kind, base)
                assert not fits or import_object(path) is kind, (name, base, path)
                print(name, base.__name__) if fits else None
"""


@pytest.mark.slow
def test_a_bare_name_is_enough_for_what_nothing_has_imported_yet():
    printed = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True, text=True).stdout
    pairs = [tuple(line.split()) for line in printed.splitlines()]
    for pair in (("TimmEncoder", "VisionEncoder"), ("Semantic", "Task"), ("RunCheckpoint", "Callback")):
        assert pair in pairs
