from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lasagna.core.image_files import decode_image
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record, Region, check_size
from lasagna.errors import RecordError

MANIFEST = Manifest("tiny", ("sky", "grass", "ball"), labels={0: "sky", 1: "grass", 2: "ball", 3: "ball"}, void=(255,))
LABELS = np.array([[0, 0, 0], [1, 2, 255]], dtype=np.uint8)
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def encoded(array, kind="PNG"):
    stream = BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


def record(labels=LABELS, **changes):
    data = encoded(labels) if isinstance(labels, np.ndarray) else labels
    return Record(
        **{"key": "k7", "image_bytes": encoded(PIXELS), "size": (2, 3), "manifest": MANIFEST, "label_bytes": data}
        | changes
    )


def test_image_is_decoded_as_it_was():
    assert np.array_equal(record().image(), PIXELS)


def test_grey_images_become_rgb():
    assert decode_image(encoded(LABELS), "k").shape == (2, 3, 3)


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded(PIXELS)[:40], encoded(np.zeros((40, 40, 3), np.uint8), "JPEG")[:-80]]
)
def test_broken_images_are_named(data):
    with pytest.raises(RecordError, match=r"k7.*cannot be decoded"):
        record(image_bytes=data).image()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=6),
    st.sampled_from(["PNG", "BMP", "JPEG"]),
)
def test_damaged_images_are_decoded_or_refused(damage, kind):
    data = bytearray(encoded(PIXELS, kind))
    for place, value in damage:
        data[place] = value
    with suppress(RecordError):
        assert decode_image(bytes(data), "k").ndim == 3


def test_images_that_claim_to_be_huge_are_refused():
    data = bytearray(encoded(PIXELS, "BMP"))
    data[18:26] = (2**30).to_bytes(4, "little") * 2
    with pytest.raises(RecordError, match="cannot be decoded"):
        decode_image(bytes(data), "k")


def test_an_image_of_another_size_is_no_broken_image():
    said = r"^record \w+: the image has size \(2, 3\), its annotations have \(9, 9\)"
    with pytest.raises(RecordError, match=said):
        decode_image(encoded(PIXELS), "k7", size=(9, 9))
    with pytest.raises(RecordError, match=said):
        check_size(record(size=(9, 9)))


def test_category_masks_in_the_manifests_order():
    masks = record().category_masks()
    assert list(masks) == ["sky", "grass", "ball"]
    assert np.array_equal(masks["ball"].decode(), LABELS == 2)


def test_several_values_of_one_category_are_joined():
    labels = np.array([[2, 3, 0]], dtype=np.uint8)
    masks = record(labels, size=(1, 3)).category_masks()
    assert masks["ball"].decode().tolist() == [[True, True, False]]


def test_regions_join_the_label_map_and_unlisted_names_come_last():
    extra = np.zeros((2, 3), dtype=bool)
    extra[0, 0] = True
    regions = (Region("dragon", RLEMask.from_array(extra)), Region("ball", RLEMask.from_array(extra)))
    masks = record(regions=regions).category_masks()
    assert list(masks) == ["sky", "grass", "ball", "dragon"]
    assert np.array_equal(masks["ball"].decode(), (LABELS == 2) | extra)


def pixel(*places):
    pixels = np.zeros((2, 3), dtype=bool)
    for place in places:
        pixels[place] = True
    return RLEMask.from_array(pixels)


def test_objects_of_a_category_are_united_where_no_label_map_has_its_pixels():
    one, two, group = pixel((0, 0)), pixel((0, 0), (0, 1)), pixel((1, 2))
    apart = record(regions=(Region.of_objects("dragon", [one, two], [group]), Region.of_objects("ball", [one])))
    masks = apart.category_masks()
    assert masks["dragon"].decode().tolist() == [[True, True, False], [False, False, True]]
    assert np.array_equal(masks["ball"].decode(), LABELS == 2)  # the label map has it
    assert list(apart.objects()) == ["ball", "dragon"]
    assert (apart.objects()["dragon"].masks, apart.objects()["dragon"].crowds) == ((one, two), (group,))


def test_pixels_without_objects_are_a_crowd_beside_objects_of_the_same_name():
    regions = (Region("dragon", pixel((1, 2))), Region.of_objects("dragon", [pixel((0, 0))]), Region("orc", pixel()))
    objects = record(regions=regions).objects()
    assert list(objects) == ["dragon"]
    assert (objects["dragon"].masks, objects["dragon"].crowds) == ((pixel((0, 0)),), (pixel((1, 2)),))


def test_a_region_of_no_object_is_refused():
    with pytest.raises(RecordError, match="'dragon' has neither an object nor a crowd"):
        Region.of_objects("dragon", [])


def test_void_and_ignore_are_joined():
    ignore = np.zeros((2, 3), dtype=bool)
    ignore[0, 0] = True
    both = record(ignore=RLEMask.from_array(ignore)).ignored()
    assert np.array_equal(both.decode(), (LABELS == 255) | ignore)
    assert np.array_equal(record().ignored().decode(), LABELS == 255)
    assert record(np.zeros((2, 3), np.uint8)).ignored() is None
    assert record(None).ignored() is None


def test_no_label_map():
    assert record(None).label_map is None
    assert record(None).category_masks() == {}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((2, 3), 9, dtype=np.uint8), r"label values \[9\].*'tiny'"),
        (np.zeros((3, 2), dtype=np.uint8), r"\(3, 2\).*\(2, 3\)"),
        (np.zeros((2, 3, 3), dtype=np.uint8), "one value per pixel"),
        (b"nonsense", "label map cannot be decoded"),
    ],
)
def test_bad_label_maps_are_named(labels, message):
    with pytest.raises(RecordError, match=f"k7.*{message}"):
        record(labels).label_map  # noqa: B018 - computed on access


def test_sixteen_bit_label_maps():
    manifest = Manifest("wide", ("far",), labels={0: "far", 700: "near"})
    labels = np.array([[0, 700]], dtype=np.uint16)
    assert list(record(labels, size=(1, 2), manifest=manifest).category_masks()) == ["far", "near"]
