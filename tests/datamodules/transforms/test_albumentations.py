import random
from dataclasses import replace

import numpy as np
import pytest

from lasagna.datamodules.transforms import albumentations as adapter
from lasagna.errors import ConfigError
from tests.datamodules.transforms.test_library import make_objects

library = pytest.importorskip("albumentations", reason="needs the extra `albumentations`")


def test_masks_move_as_albumentations_moves_them():
    record, rng = make_objects(), np.random.default_rng(5)
    chain = [library.Affine(rotate=(-40, 40), scale=(0.5, 1.5), p=1), library.RandomResizedCrop((24, 30), p=1)]
    changed = adapter.Albumentations(chain)(record, np.random.default_rng(5))
    seed = int(rng.integers(1 << 62))
    plain = library.Compose(chain)
    plain.set_random_state(np.random.default_rng(seed), random.Random(seed))
    [region] = record.regions
    masks = [mask.decode().astype(np.uint8) for mask in (*region.masks, *region.crowds)]
    expected = plain(image=record.image(), masks=masks)
    assert np.array_equal(changed.image(), expected["image"])
    [moved] = changed.regions
    kept = [mask.astype(bool) for mask in expected["masks"] if mask.any()]
    assert all(np.array_equal(new.decode(), old) for new, old in zip((*moved.masks, *moved.crowds), kept, strict=True))


def test_results_depend_on_the_record_only():
    record = make_objects()
    record = replace(record, others=(record.image_bytes,))
    transform = adapter.Albumentations(
        library.OneOf([library.HorizontalFlip(p=1), library.CoarseDropout(fill_mask=0, p=1), library.GaussNoise(p=1)])
    )
    first = transform(record, np.random.default_rng(1))
    seen = [transform(record, np.random.default_rng(seed)) for seed in range(2, 9)]
    assert transform(record, np.random.default_rng(1)) == first
    assert first in seen or first != seen[0]
    assert len({one.image_bytes for one in seen}) > 2


def test_what_cannot_be_used_is_said_with_the_way_out(monkeypatch):
    with pytest.raises(ConfigError, match=r"Albumentations: the image becomes torch\.uint8 .* leave Normalize"):
        adapter.Albumentations(library.ToTensorV2())
    with pytest.raises(ConfigError, match="Albumentations: `transforms` takes transforms of albumentations, got 3"):
        adapter.Albumentations(3)
    monkeypatch.setattr(adapter, "Compose", None)
    with pytest.raises(ConfigError, match=r'missing; install it with pip install "lasagna\[albumentations\]"'):
        adapter.Albumentations({"class_path": "albumentations.HorizontalFlip"})
