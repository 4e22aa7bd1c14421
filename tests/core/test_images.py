"""Pictures of every mode and of odd shapes."""

from __future__ import annotations

import json
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.cli.answered_images import answer_images
from lasagna.core.batch import Query
from lasagna.core.image_files import checked_size, decode_image
from lasagna.core.images import DeepImageWarning, to_rgb
from lasagna.errors import RecordError
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.image_processors import (
    CropImageProcessor,
    PadImageProcessor,
    SamImageProcessor,
    SquashImageProcessor,
)

MEAN, DEVIATION = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
RAMP = np.linspace(0, 255, 12 * 20).reshape(12, 20).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(pixels):
    return np.repeat(pixels[..., None], 3, 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_window_spreads_the_values_that_a_deep_picture_uses(kind):
    scan = np.array([[0, 1000, 1007, 3000, 4095]], dtype=np.uint16)
    data = encoded(Image.fromarray(scan), kind)
    with pytest.warns(DeepImageWarning, match=r"a quarter .* give its window"):
        assert decode_image(data, "a")[0, :, 0].tolist() == [0, 4, 4, 12, 16]
    with warnings.catch_warnings(action="error"):
        assert decode_image(data, "a", window=(1000, 3000))[0, :, 0].tolist() == [0, 0, 1, 255, 255]
        assert decode_image(encoded(Image.fromarray(scan * 16), kind), "a").max() == 255
        assert np.array_equal(decode_image(encoded(Image.fromarray(RAMP)), "a", window=(1000, 3000)), grey(RAMP))


def test_a_window_gives_values_of_any_range_a_meaning():
    for values in (np.array([[-1024, 0, 3071]], np.int32), np.array([[-1024, 0, 3071]], np.float32)):
        data = encoded(Image.fromarray(values), "TIFF")
        assert decode_image(data, "a", window=(-160, 240))[0, :, 0].tolist() == [0, 102, 255]
        with pytest.raises(RecordError, match="window"):
            decode_image(data, "a")


@pytest.mark.parametrize("window", [(5, 5), (9, 2), (0, np.inf), (np.nan, 2)])
def test_a_window_has_a_lower_and_an_upper_end(window):
    with pytest.raises(ValueError, match=r"window: expected \(low, high\)"):
        to_rgb(Image.fromarray(RAMP), window)


def test_grey_black_and_white_and_16_bits():
    assert np.array_equal(decode_image(encoded(Image.fromarray(RAMP)), "a"), grey(RAMP))
    bits = Image.fromarray(RAMP > 100)
    assert np.array_equal(decode_image(encoded(bits), "a"), grey((RAMP > 100) * np.uint8(255)))
    deep = RAMP.astype(np.uint16) * 257
    assert np.array_equal(decode_image(encoded(Image.fromarray(deep)), "a"), grey(RAMP))
    assert decode_image(encoded(Image.fromarray(np.array([[0, 65535, 300]], np.uint16))), "a")[0, :, 0].tolist() == [
        0,
        255,
        1,
    ]


def test_a_large_picture_is_copied_in_parts(monkeypatch):
    monkeypatch.setattr("lasagna.core.images._AT_ONCE", 50)
    colours = np.random.default_rng(0).integers(0, 256, (13, 20, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(encoded(Image.fromarray(colours)), "a"), colours)
    scan = np.random.default_rng(0).integers(0, 65536, (13, 20), dtype=np.uint16)
    assert np.array_equal(
        decode_image(encoded(Image.fromarray(scan)), "a")[..., 0], np.rint(scan / 257).astype(np.uint8)
    )


def test_palettes_are_applied():
    image = Image.fromarray(RAMP % 3)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    assert np.array_equal(decode_image(encoded(image), "a"), colours[RAMP % 3])
    clear = decode_image(encoded(image, transparency=1), "a")
    assert (clear[RAMP % 3 == 1] == 255).all()
    assert np.array_equal(clear[RAMP % 3 == 0], colours[RAMP % 3][RAMP % 3 == 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_shines_through_is_on_white(mode):
    image = Image.fromarray(RAMP).convert(mode)
    alpha = np.zeros_like(RAMP)
    alpha[:6] = 255
    image.putalpha(Image.fromarray(alpha))
    pixels = decode_image(encoded(image), "a")
    assert np.array_equal(pixels[:6], grey(RAMP)[:6])
    assert (pixels[6:] == 255).all()


def test_four_inks_and_several_frames():
    inks = Image.fromarray(grey(RAMP)).convert("CMYK")
    assert np.abs(decode_image(encoded(inks, "TIFF"), "a").astype(int) - grey(RAMP)).max() <= 1
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(moving, "a")[0, 0].tolist() == [10, 10, 10]


def test_what_has_no_known_range_is_an_error():
    floats = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(RecordError, match=r"record a: .*floating point; give its window \(low, high\), or save it"):
        decode_image(floats, "a")
    with pytest.raises(ValueError, match="more than 16 bits"):
        to_rgb(Image.fromarray(np.full((2, 2), 70000, np.int32)))


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(grey(RAMP)), "PNG", exif=exif)


def test_records_stay_as_they_lie_and_photographs_are_turned():
    assert np.array_equal(decode_image(rotated(), "a"), grey(RAMP))
    assert np.array_equal(decode_image(rotated(), "a", upright=True), np.rot90(grey(RAMP), -1))


@pytest.fixture(scope="module")
def assistant():
    made = Assistant(
        TinyVisionEncoder((32, 32), weights="random"),
        TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2)),
        TinyMaskHead(weights="random"),
        "tiny",
        presence_threshold=0.0,
    ).eval()
    made.configure_model()
    return made


def test_predict_answers_about_the_turned_photograph(assistant, tmp_path):
    (tmp_path / "side.png").write_bytes(rotated())
    Image.new("RGB", (9, 8)).save(tmp_path / "other.png")
    shown, query = [tmp_path / "side.png", tmp_path / "other.png"], Query(0, "categories", ("sun",))
    assert answer_images(assistant, [shown[:1]], [query], tmp_path / "out", "ordered") == []
    answer = json.loads((tmp_path / "out" / "side.json").read_text())
    assert answer["size"] == [20, 12]
    assert "images" not in answer
    assert answer_images(assistant, [shown], [query], tmp_path / "out", "ordered", masks_on=0) == []
    together = json.loads((tmp_path / "out" / "side.json").read_text())
    assert together["images"] == ["side.png", "other.png"]
    assert together["size"] == [20, 12]
    assert together["answers"][0]["entries"][0]["score"] != answer["answers"][0]["entries"][0]["score"]
    assert Image.open(tmp_path / "out" / "side-categories.png").height > 0


SHAPES = [(1, 1), (1, 2000), (2000, 3), (3, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_come_back_in_any_shape(assistant, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    (entry,) = assistant.answer(image, ["sun"]).entries
    assert entry.mask.shape == shape


@pytest.mark.parametrize("shape", [*SHAPES, (1, 60000)])
@pytest.mark.parametrize(
    "processors",
    [
        SquashImageProcessor((32, 48), MEAN, DEVIATION),
        PadImageProcessor((32, 48), MEAN, DEVIATION),
        SamImageProcessor(64),
        CropImageProcessor(28, MEAN, DEVIATION),
    ],
    ids=lambda processors: type(processors).__name__,
)
def test_every_preparation_takes_any_shape(processors, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    geometry = processors.geometry(shape)
    pixels = processors.pixels(image)
    assert tuple(pixels.shape) == (3, *geometry.padded)
    assert pixels.isfinite().all()
    assert geometry.original == shape
    assert min(geometry.resized) >= 1


def test_the_quick_check_of_a_file_refuses_what_decoding_refuses():
    rng, pixels = np.random.default_rng(0), np.kron(RAMP, np.ones((4, 5), np.uint8))
    files = [encoded(Image.fromarray(pixels), kind, **options) for kind, options in JPEGS]
    found = set()
    for data in [file for file in files for _ in range(40)]:
        broken = bytearray(data[: rng.integers(2, len(data) + 1)])
        broken[rng.integers(2, len(broken))] = rng.integers(256)
        for file in (data, bytes(broken)):
            sizes = [size_or_error(decode, file) for decode in (checked_size, decode_image)]
            assert sizes[0] == sizes[1]
            found.add(type(sizes[0]))
    assert found == {tuple, str}


JPEGS = [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})]


def size_or_error(decode, data):
    try:
        found = decode(data, "a")
    except RecordError as error:
        return str(error)
    return found if isinstance(found, tuple) else found.shape[:2]
