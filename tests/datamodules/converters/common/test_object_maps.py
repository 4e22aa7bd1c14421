"""Masks of numbered objects come from runs of equal numbers, and label maps are written as PNG without filters."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.datamodules.converters.common.files import png_of
from lasagna.datamodules.converters.common.object_maps import Runs, majority_regions, object_regions


def made_map(seed, shape, most):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, most, (shape[0] // 2, shape[1])), np.ones((2, 1), dtype=int))


@pytest.mark.parametrize(("shape", "most"), [((2, 1), 2), ((6, 7), 3), ((40, 30), 9), ((8, 8), 1 << 24)])
def test_runs_give_the_masks_areas_and_values_of_every_number(shape, most):
    numbers = made_map(most, shape, most)
    runs, found = Runs.of(numbers), np.unique(numbers).tolist()
    assert runs.areas() == {number: int((numbers == number).sum()) for number in found}
    masks = runs.masks([*found, most])
    # also the same code, so that shards do not change by a byte
    assert masks == {number: RLEMask.from_array(numbers == number) for number in found}
    values = {number: rank % 256 for rank, number in enumerate(found)}
    assert (runs.mapped(values) == np.vectorize(values.get)(numbers)).all()


def test_objects_and_crowds_keep_the_order_of_their_numbers():
    numbers = np.array([[3, 3, 1, 0], [2, 2, 1, 0]])
    (cups, forks) = object_regions(numbers, {2: "cup", 1: "cup", 9: "spoon"}, {3: "fork"})
    assert (cups.name, forks.name, forks.masks) == ("cup", "fork", ())
    assert [mask.decode().tolist() for mask in cups.masks] == [(numbers == 2).tolist(), (numbers == 1).tolist()]
    assert [mask.decode().tolist() for mask in forks.crowds] == [(numbers == 3).tolist()]


def test_an_object_has_the_class_of_most_of_its_pixels_and_no_pixels_of_others():
    numbers, labels = made_map(1, (40, 30), 6), made_map(2, (40, 30), 4)
    names = {1: "cup", 2: "fork", 300: "spoon"}
    labels[labels == 3] = 300
    expected = {}
    for number in range(1, 6):
        counts = {value: int(((numbers == number) & (labels == value)).sum()) for value in names}
        best = max(counts, key=lambda value: (counts[value], -value))
        mask = RLEMask.from_array((numbers == number) & (labels == best))
        expected.setdefault(names[best], []).append(mask)
    assert {region.name: list(region.masks) for region in majority_regions(numbers, labels, names)} == expected


@pytest.mark.parametrize(("kind", "mode"), [(np.uint8, "L"), (np.uint16, "I;16")])
@pytest.mark.parametrize("order", ["C", "F"])
def test_label_maps_come_back_from_png(kind, mode, order):
    labels = np.asarray(made_map(0, (20, 13), np.iinfo(kind).max + 1), kind, order=order)
    with Image.open(BytesIO(png_of(labels))) as image:
        assert (image.mode, image.size) == (mode, (13, 20))
        assert (np.asarray(image) == labels).all()
