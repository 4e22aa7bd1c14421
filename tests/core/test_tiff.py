"""TIFF files of many channels, and the place of their pixels on a map."""

from __future__ import annotations

import builtins
import struct
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.core.image_files import MOST_PIXELS, apply_pixel_limit, decode_image
from lasagna.core.images import DeepImageWarning, check_channels, check_window, values_to_rgb
from lasagna.core.tiff import Georeference, read_georeference
from lasagna.errors import ConfigError, RecordError

tifffile = pytest.importorskip("tifffile", reason="needs the extra `tiff`")
SIZE = (6, 8)
BANDS = np.random.default_rng(0).integers(0, 3000, (*SIZE, 5), dtype=np.uint16)


def tiff(values, **options):
    buffer = BytesIO()
    usual = {"photometric": "minisblack", "metadata": None, "planarconfig": "contig" if values.ndim == 3 else None}
    tifffile.imwrite(buffer, values, **(usual | options))
    return buffer.getvalue()


def scaled(values, low, high):
    return np.rint(255 * ((values.astype(float) - low) / (high - low)).clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize("planar", ["contig", "separate", None])
@pytest.mark.parametrize("kind", ["<", ">"])
def test_a_choice_of_channels_is_seen_also_of_those_that_are_images_of_their_own(planar, kind):
    values = BANDS if planar == "contig" else np.moveaxis(BANDS, 2, 0)
    data = tiff(values, planarconfig=planar, byteorder=kind)
    pixels = decode_image(data, "a", window=(100, 2500), channels=[3, 0, 4])
    assert np.array_equal(pixels, scaled(BANDS[..., [3, 0, 4]], 100, 2500))
    grey = decode_image(data, "a", window=(100, 2500), channels=[2])
    assert np.array_equal(grey, np.repeat(scaled(BANDS[..., [2]], 100, 2500), 3, 2))


def test_channels_of_eight_bits_are_taken_as_they_are_also_the_fourth_of_pillow():
    values = (BANDS[..., :4] // 12).astype(np.uint8)
    for data in (tiff(values), tiff(values, photometric="rgb", extrasamples=["unassalpha"])):
        assert np.array_equal(decode_image(data, "a", channels=[3, 2, 1]), values[..., [3, 2, 1]])


def test_three_channels_of_16_bits_keep_them_all():
    data = tiff(BANDS[..., :3], photometric="rgb")
    assert np.array_equal(decode_image(data, "a", window=(0, 3000)), scaled(BANDS[..., :3], 0, 3000))


def test_percentages_are_of_each_channel_without_pixels_that_have_no_data():
    values = np.stack([np.arange(101), 1000 + np.arange(101), np.full(101, 7)], -1)[None].astype(np.int16)
    pixels = values_to_rgb(values, ("10%", "90%"))
    assert pixels[0, [0, 10, 50, 90, 100], 0].tolist() == [0, 0, 128, 255, 255]
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert pixels[..., 2].max() == 0
    holes = np.where(np.arange(101) < 60, -9999, values[..., 0]).astype(np.float32)
    holes[0, 60] = np.nan
    assert values_to_rgb(holes, ("0%", "100%"), nodata=-9999)[0, [0, 61, 100], 0].tolist() == [0, 0, 255]
    filled = tiff(values[..., 0], extratags=[(42113, 2, 3, "50", True)])
    assert decode_image(filled, "a", window=("0%", "100%"))[0, 100, 0] == 255


@pytest.mark.parametrize("window", [("2%", "98"), ("98%", "2%"), ("-1%", "98%"), ("2%", "101%"), (2, "98%"), ("2%",)])
def test_percentages_lie_between_0_and_100(window):
    with pytest.raises(RecordError, match=r'window: expected \(low, high\).* or two percentages .*"2%"'):
        check_window(window)


def test_a_window_outside_of_all_values_is_said():
    with pytest.warns(DeepImageWarning, match="lie outside of its window"):
        values_to_rgb(BANDS[..., 0], (5000, 9000))


@pytest.mark.parametrize("channels", [[], [0, 1], [0, 1, -1], [0, 1, True], [0.0, 1, 2]])
def test_channels_are_one_or_three_numbers(channels):
    with pytest.raises(RecordError, match="channels: expected three channels that become red, green and blue, or one"):
        check_channels(channels)


def test_what_is_not_said_or_not_there_is_one_line():
    data = tiff(BANDS)
    with pytest.raises(RecordError, match=r"record a: .*it has 5 channels; say which .* `channels`"):
        decode_image(data, "a", window=(0, 3000))
    with pytest.raises(RecordError, match=r"record a: channels: there is no channel 7 in an image of 5 .* 0 to 4"):
        decode_image(data, "a", window=(0, 3000), channels=[0, 7, 1])
    with pytest.raises(RecordError, match=r"record a: the image has size \(6, 8\), its annotations have \(8, 6\)"):
        decode_image(data, "a", size=(8, 6), channels=[0, 1, 2])
    with pytest.raises(RecordError, match="channels: expected three"):
        decode_image(data, "a", channels=[])
    with pytest.raises(RecordError, match=r"floating point; give its window"):
        decode_image(tiff(BANDS.astype(np.float32)), "a", channels=[0, 1, 2])
    for length in (30, len(data) // 2, len(data) - 9):
        with pytest.raises(RecordError, match="record a: the image cannot be decoded"):
            decode_image(data[:length], "a", window=(0, 3000), channels=[0, 1, 2])


def test_without_tifffile_the_extra_is_named(monkeypatch):
    known = builtins.__import__

    def missing(name, *rest, **options):
        if name == "tifffile":
            raise ImportError(name)
        return known(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RecordError, match=r"5 channels of 16 bits needs tifffile; .* 'lasagna\[tiff\]'"):
        decode_image(tiff(BANDS), "a", channels=[0, 1, 2])
    grey = tiff(BANDS[..., 0] * 20)
    assert np.array_equal(decode_image(grey, "a")[..., 0], scaled(BANDS[..., 0] * 20, 0, 65535))


def test_an_image_of_too_many_pixels_says_the_way_out(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    for data in (tiff(BANDS), tiff((BANDS[..., 0] // 12).astype(np.uint8))):
        with pytest.raises(RecordError, match=r"48 pixels\) exceeds limit of 40 pixels; if you trust it, set LASAGNA_"):
            decode_image(data, "a", channels=[0])
    monkeypatch.setenv(MOST_PIXELS, "48")
    with warnings.catch_warnings(action="ignore"):
        apply_pixel_limit()
        assert decode_image(tiff(BANDS), "a", channels=[0]).shape == (*SIZE, 3)
    for wrong in ("many", "0", "-4"):
        monkeypatch.setenv(MOST_PIXELS, wrong)
        with pytest.raises(ConfigError, match=f"{MOST_PIXELS}: expected the most pixels of an image, .* got '{wrong}'"):
            apply_pixel_limit()


def geo_keys(*entries):
    return (
        34735,
        3,
        4 + 4 * len(entries),
        (1, 1, 0, len(entries), *(x for key, value in entries for x in (key, 0, 1, value))),
        True,
    )


SCALE = (33550, 12, 3, (0.5, 0.25, 0.0), True)
TIE = (33922, 12, 6, (2.0, 4.0, 0.0, 600000.0, 5600000.0, 0.0), True)
MATRIX = (34264, 12, 16, (0.0, 2.0, 0.0, 10.0, 3.0, 0.0, 0.0, 20.0, *[0.0] * 7, 1.0), True)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
def test_the_place_on_a_map_is_read(options):
    data = tiff(BANDS[..., 0], extratags=[SCALE, TIE, geo_keys((1025, 1), (3072, 32633))], **options)
    found = read_georeference(data)
    assert found == Georeference((0.5, 0.0, 599999.0, 0.0, -0.25, 5600001.0), "EPSG:32633")
    assert found.place(np.array([2.0, 4.0])).tolist() == [600000.0, 5600000.0]


def test_points_matrices_and_systems_of_ones_own():
    centred = tiff(BANDS[..., 0], extratags=[SCALE, TIE, geo_keys((1025, 2), (2048, 4326))])
    assert read_georeference(centred).place(np.array([2.5, 4.5])).tolist() == [600000.0, 5600000.0]
    turned = read_georeference(tiff(BANDS[..., 0], extratags=[MATRIX, geo_keys((3072, 32767))]))
    assert (turned.place(np.array([3.0, 4.0])).tolist(), turned.crs) == ([18.0, 29.0], None)


def test_files_without_a_place_have_none():
    assert read_georeference(tiff(BANDS)) is None
    assert read_georeference(b"\x89PNG" + bytes(40)) is None
    assert read_georeference(struct.pack("<2sHI", b"II", 42, 8)) is None


def test_damaged_files_are_read_or_refused():
    rng, found = np.random.default_rng(0), set()
    for data in (tiff(BANDS, extratags=[SCALE, TIE]), tiff((BANDS[..., 0] // 12).astype(np.uint8), bigtiff=True)):
        for _ in range(150):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                broken[place if place % 2 else place % 200] = rng.integers(256)
            read_georeference(bytes(broken))
            try:
                with warnings.catch_warnings(action="ignore"):
                    found.add(decode_image(bytes(broken), "a", window=(0, 3000), channels=[0]).ndim)
            except RecordError as error:
                assert str(error).startswith("record a: ")
                found.add("refused")
    assert found == {3, "refused"}


def test_several_images_of_one_size_are_not_taken_for_the_first():
    pages = np.arange(3 * 48, dtype=np.uint8).reshape(3, *SIZE)
    with pytest.raises(RecordError, match=r"it has 3 images of one size; say which .* `channels`, .* or store each"):
        decode_image(tiff(pages, planarconfig=None), "a")
    assert np.array_equal(decode_image(tiff(pages, planarconfig=None), "a", channels=[1])[..., 0], pages[1])
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(pages[0], photometric="minisblack", metadata=None)
        file.write(pages[1] > 60, photometric="mask", subfiletype=4, metadata=None)
        file.write(pages[2, ::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
        file.write(pages[2, ::3], photometric="minisblack", metadata=None)
    assert np.array_equal(decode_image(buffer.getvalue(), "a")[..., 0], pages[0])
    cut = tiff(pages[0])
    (start,) = struct.unpack_from("<I", cut, 4)
    (count,) = struct.unpack_from("<H", cut, start)
    after = start + 2 + 12 * count
    beyond = cut[:after] + struct.pack("<I", 1 << 30) + cut[after + 4 :]
    assert np.array_equal(decode_image(beyond, "a")[..., 0], pages[0])
