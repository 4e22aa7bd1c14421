"""Converters: read data sets as they were released, and write them as shards of records."""

from __future__ import annotations

from lasagna.datamodules.converters.camvid import CamVid
from lasagna.datamodules.converters.common.base import Converter, ItemFiles, LazySplits, Split
from lasagna.datamodules.converters.common.conversion import convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.label_maps import labelled_split
from lasagna.datamodules.converters.common.stored_items import StoredItems

__all__ = [
    "CamVid",
    "Converter",
    "ItemFiles",
    "LayoutError",
    "LazySplits",
    "Split",
    "StoredItems",
    "convert",
    "labelled_split",
]
