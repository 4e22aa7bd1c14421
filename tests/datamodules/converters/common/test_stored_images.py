"""TIFF files, deep images and images of many channels become PNG files of what is seen."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.folder import Folder
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.errors import LasagnaError, RecordError
from tests.helpers.converter_contract import read_records

BANDS = np.random.default_rng(0).integers(0, 200, (6, 8, 4), dtype=np.uint8)
DEEP = np.linspace(0, 4000, 48).reshape(6, 8).astype(np.uint16)


def write(folder, **pictures):
    folder.mkdir()
    lines = []
    for stem, picture in pictures.items():
        suffix = "tif" if stem.startswith("tif") else "png"
        picture.save(folder / f"{stem}.{suffix}")
        lines.append({"image": f"{stem}.{suffix}", "absent": ["ship"]})
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return Folder(folder)


def test_tiff_becomes_png_and_all_else_keeps_its_bytes(tmp_path):
    rgb = Image.fromarray(BANDS[..., :3])
    convert(write(tmp_path / "own", tif=rgb, png=rgb), tmp_path / "shards", processes=0)
    found = read_records(tmp_path / "shards" / "train")
    assert found["png"].image_bytes == (tmp_path / "own" / "png.png").read_bytes()
    assert Image.open(BytesIO(found["tif"].image_bytes)).format == "PNG"
    assert np.array_equal(found["tif"].image(), BANDS[..., :3])
    assert "window" not in read_manifest(tmp_path / "shards" / "train").settings


def test_a_window_and_a_choice_of_channels_are_options_of_every_conversion(tmp_path):
    own = write(tmp_path / "own", deep=Image.fromarray(DEEP), plain=Image.fromarray(BANDS[..., :3]))
    convert(own, tmp_path / "shards", processes=0, window=("0%", "100%"))
    found = read_records(tmp_path / "shards" / "train")
    assert Image.open(BytesIO(found["deep"].image_bytes)).mode == "L"
    assert found["deep"].image()[[0, -1], [0, -1], 0].tolist() == [0, 255]
    assert found["plain"].image_bytes == (tmp_path / "own" / "plain.png").read_bytes()
    assert read_manifest(tmp_path / "shards" / "train").settings["window"] == ["0%", "100%"]
    bands = write(tmp_path / "bands", bands=Image.fromarray(BANDS, "RGBA"))
    convert(bands, tmp_path / "chosen", processes=0, channels=[3, 0, 1])
    assert np.array_equal(read_records(tmp_path / "chosen" / "train")["bands"].image(), BANDS[..., [3, 0, 1]])


def test_own_data_says_its_window_in_percentages_too(tmp_path):
    own = write(tmp_path / "own", deep=Image.fromarray(DEEP), tif=Image.fromarray(DEEP))
    (tmp_path / "own" / "dataset.json").write_text(json.dumps({"window": ["50%", "100%"]}))
    convert(own, tmp_path / "shards", processes=0)
    for record in read_records(tmp_path / "shards" / "train").values():
        assert (record.image()[:3] == 0).all()
        assert record.image()[-1, -1, 0] == 255


def test_wrong_options_end_before_anything_is_read(tmp_path):
    with pytest.raises(RecordError, match="window: expected"):
        convert(Folder(tmp_path / "nowhere"), tmp_path / "shards", window=(5.0, 2.0))
    with pytest.raises(RecordError, match="channels: expected three"):
        convert(Folder(tmp_path / "nowhere"), tmp_path / "shards", channels=[0, 1])
    bands = write(tmp_path / "bands", tif=Image.fromarray(BANDS[..., :3]))
    with pytest.raises(LasagnaError, match=r"record tif: channels: there is no channel 3 in an image of 3 channels"):
        convert(bands, tmp_path / "shards", processes=0, channels=[3, 0, 1])
