"""Photographs that other shards hold are left out of a conversion."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.coco_stuff import CocoStuff
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.writer import write_shards
from lasagna.errors import ConfigError, ShardError
from tests.datamodules.converters.test_coco_stuff import TestCocoStuff as Release
from tests.helpers.converter_contract import read_records
from tests.helpers.label_files import SIZE, draw, save, values_of


def made(folder, *keys):
    manifest = Manifest("phrases", unannotated="unknown")
    buffer = BytesIO()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(buffer, "PNG")
    phrases = (Phrase("nothing", ()),)
    return write_shards(
        [Record(key, buffer.getvalue(), SIZE, manifest, phrases=phrases) for key in keys], folder, manifest
    )


def test_photographs_that_are_scored_elsewhere_are_left_out_and_counted(tmp_path):
    Release().release(tmp_path / "coco")
    labels = values_of([0, 1])
    for key in ("000000000010", "000000000011", "000000000012"):
        draw(tmp_path / "coco" / "train2017" / f"{key}.jpg")
        save(labels, tmp_path / "coco" / "stuffthingmaps_trainval2017" / "train2017" / f"{key}.png")
    made(tmp_path / "val", "COCO_train2014_000000000010")
    made(tmp_path / "test", "COCO_train2014_000000000011", "COCO_train2014_000000000099")
    others = f"{tmp_path / 'val'},{tmp_path / 'test'}"
    options = ["--source", str(tmp_path / "coco"), "--target", str(tmp_path / "shards"), "--splits", "train"]
    main(["convert", "coco_stuff", *options, "--without", others, "--processes", "0"])
    assert set(read_records(tmp_path / "shards" / "train")) == {"000000000009", "000000000012"}
    written = read_manifest(tmp_path / "shards" / "train")
    assert written.tally.left_out == {"photograph that other shards have (`--without`)": 2}
    assert written.settings["without"][:2] == others.split(",")
    made(tmp_path / "streets", "aachen_000001_000019")
    for folder, kind, message in (
        ("streets", ConfigError, "streets has no photographs of COCO"),
        ("coco", ShardError, "manifest"),
    ):
        with pytest.raises(kind, match=message):
            convert(CocoStuff(tmp_path / "coco"), tmp_path / "not", without=[str(tmp_path / folder)])
    assert not (tmp_path / "not").exists()
