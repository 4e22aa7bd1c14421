"""Shards of large pictures become shards of tiles, with the same pixels and masks."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.annotations import Caption, Phrase, Question, Region, Turn
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record
from lasagna.core.tiles import Tiles
from lasagna.datamodules import read_manifest, write_shards
from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.existing_shards import index
from lasagna.datamodules.converters.tiles import ShardTiles
from lasagna.errors import ConfigError, LasagnaError
from tests.helpers.converter_contract import read_records
from tests.helpers.exports import write_webdataset
from tests.helpers.made_records import png

SIZE = (30, 44)
RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
LABELS = np.repeat(np.repeat(RANDOM.integers(0, 3, (6, 11)), 5, 0), 4, 1).astype(np.uint8)
LEFT, RIGHT, DOT, NONE = (np.zeros(SIZE, bool) for _ in range(4))
LEFT[2:20, 1:18] = True
RIGHT[5:9, 30:40] = True
DOT[3, 5] = True
MANIFEST = Manifest("large", ("sea", "field", "ship", "pier", "buoy"), {1: "sea", 2: "field"}, void=(0,))


def coded(pixels):
    return RLEMask.from_array(pixels)


def large(**changes):
    regions = (
        Region.of_objects("ship", [coded(LEFT), coded(RIGHT)], [coded(DOT)]),
        Region("pier", coded(RIGHT)),
    )
    parts = {
        "regions": regions,
        "label_bytes": png(LABELS),
        "phrases": (Phrase("a small ship", (coded(RIGHT),)), Phrase("a whale", ()), Phrase("a ship", (coded(LEFT),))),
        "questions": (Question("how many", "two"),),
        "conversation": (Turn("hello", "hello"),),
        "captions": (Caption("two ships"),),
        "ignore": coded(DOT),
    }
    return Record("a.b", png(PICTURE), SIZE, **({"manifest": MANIFEST} | parts | changes))


def tiled(folder, record, **options):
    write_shards([record], folder / "shards" / "train", record.manifest)
    convert(ShardTiles(folder / "shards", size=16, overlap=4, **options), folder / "tiles", processes=0)
    return read_records(folder / "tiles" / "train")


def test_tiles_have_the_pixels_of_the_picture_and_of_its_masks(tmp_path):
    record, found = large(), tiled(tmp_path, large())
    tiles = Tiles(16, 4).of(SIZE)
    assert set(found) == {f"a.b-{tile.top}-{tile.left}" for tile in tiles}
    for tile in tiles:
        cut = found[f"a.b-{tile.top}-{tile.left}"]
        assert np.array_equal(cut.image(), PICTURE[tile.slices])
        assert np.array_equal(cut.label_map.pixels, LABELS[tile.slices])
        expected = {name: mask.decode()[tile.slices] for name, mask in record.category_masks().items()}
        masks = {name: mask.decode() for name, mask in cut.category_masks().items()}
        assert set(masks) == {name for name, pixels in expected.items() if pixels.any()}
        assert all(np.array_equal(pixels, expected[name]) for name, pixels in masks.items())
        ships = [pixels[tile.slices] for pixels in (LEFT, RIGHT) if pixels[tile.slices].any()]
        assert [mask.decode().tolist() for mask in getattr(cut.objects().get("ship"), "masks", ())] == [
            ship.tolist() for ship in ships
        ]
        assert np.array_equal(cut.ignored().decode(), record.ignored().decode()[tile.slices])
        assert not (cut.phrases or cut.questions or cut.conversation or cut.captions)
    assert read_manifest(tmp_path / "tiles" / "train").manifest == MANIFEST


def test_a_name_without_a_pixel_in_a_tile_is_absent_and_an_empty_one_is_unclear(tmp_path):
    manifest = Manifest("large", MANIFEST.categories, MANIFEST.labels, void=(0,), unannotated="unknown")
    buoy = Region("buoy", coded(NONE))
    record = large(manifest=manifest, regions=(*large().regions, buoy), absent=())
    for cut in tiled(tmp_path, record).values():
        present = set(cut.category_masks())
        assert cut.unclear == ("buoy",)
        assert set(cut.absent) == set(MANIFEST.categories) - {"buoy"} - present
        assert not present & set(cut.absent)


def test_phrases_stay_where_their_objects_are_whole(tmp_path):
    found = tiled(tmp_path, large(), phrases="whole")
    kept = {key: [phrase.text for phrase in cut.phrases] for key, cut in found.items()}
    assert kept["a.b-0-28"] == ["a small ship", "a whale"]
    assert kept["a.b-0-0"] == ["a whale"]


def test_tiles_without_annotations_can_be_left_out_and_jpeg_is_smaller(tmp_path):
    record = large(label_bytes=None, ignore=None)
    found = tiled(tmp_path, record, empty="drop", image_format="jpeg")
    assert all(cut.category_masks() for cut in found.values())
    assert 0 < len(found) < len(Tiles(16, 4).of(SIZE))
    assert all(Image.open(BytesIO(cut.image_bytes)).format == "JPEG" for cut in found.values())
    tally = read_manifest(tmp_path / "tiles" / "train").tally
    assert tally.left_out == {"tile in which nothing is annotated": len(Tiles(16, 4).of(SIZE)) - len(found)}


def test_the_same_picture_gives_the_same_tiles_in_several_processes(tmp_path):
    first = tiled(tmp_path, large())
    convert(ShardTiles(tmp_path / "shards", size=16, overlap=4), tmp_path / "again", processes=2)
    again = read_records(tmp_path / "again" / "train")
    assert {key: cut.image_bytes for key, cut in first.items()} == {key: cut.image_bytes for key, cut in again.items()}


def test_what_cannot_be_cut_says_why(tmp_path):
    with pytest.raises(ConfigError, match="overlap: expected 0 to 15, less than the tile's side of 16 pixels, got 16"):
        ShardTiles(tmp_path, size=16, overlap=16)
    with pytest.raises(OSError, match=r"source: there is no manifest\.json in .*; expected shards"):
        ShardTiles(tmp_path).splits()
    with pytest.raises(LasagnaError, match="only records of one image are cut into tiles"):
        tiled(tmp_path, large(others=(png(PICTURE),)))
    write_webdataset(tmp_path / "theirs")
    index(tmp_path / "theirs", "PNG", masks="json:objects.mask", names="json:objects.category")
    with pytest.raises(ConfigError, match=r"theirs is an index of shards that others wrote.* `[\w.]+write_shards\(.*`"):
        convert(ShardTiles(tmp_path / "theirs"), tmp_path / "tiles", processes=0)
    records = lasagna.records(tmp_path / "theirs")
    write_shards(records, tmp_path / "own", records.manifest)
    assert convert(ShardTiles(tmp_path / "own"), tmp_path / "cut", processes=0)["own"].records == 4
