import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lasagna.core.batch import Batch
from lasagna.core.geometry import IGNORE_PIXEL, UNSEEN_LOGIT, Geometry, fit_mask, restore_logits
from lasagna.core.packed_masks import PackedMasks, mask_targets
from lasagna.core.processors import FittedImage, Normalisation, normalise
from lasagna.modules.resampling import resample

GEOMETRY = Geometry(original=(10, 20), resized=(16, 32), padded=(32, 32))


def batch():
    ids = torch.arange(6).reshape(2, 3)
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8)
    one = torch.tensor([1])
    return Batch(torch.zeros(1, 3, 4, 4), [GEOMETRY], ids, ids, torch.tensor([3, 3]), one, masks, one, one, [], [])


@given(arrays(bool, (10, 20)))
def test_fit_mask_takes_the_nearest_pixel_and_ignores_padding(mask):
    target = fit_mask(mask, GEOMETRY)
    assert target.dtype == torch.uint8
    assert target.shape == (32, 32)
    assert (target[16:] == IGNORE_PIXEL).all()
    rows = ((np.arange(16) + 0.5) * 10 / 16).astype(int)
    columns = ((np.arange(32) + 0.5) * 20 / 32).astype(int)
    assert np.array_equal(target[:16].numpy(), mask[rows][:, columns])


@given(arrays(bool, (8, 8)), st.sampled_from([(8, 8), (12, 16)]))
def test_fit_mask_without_resize_is_exact(mask, padded):
    target = fit_mask(mask, Geometry((8, 8), (8, 8), padded))
    assert np.array_equal(target[:8, :8].numpy(), mask)
    assert (target == IGNORE_PIXEL).sum() == padded[0] * padded[1] - 64


def test_fit_mask_takes_views():
    mask = np.zeros((20, 10), dtype=bool)
    mask[3, 1] = True
    assert np.array_equal(fit_mask(mask.T, Geometry((10, 20), (10, 20), (10, 20))).numpy(), mask.T)


def test_restore_undoes_fit_on_large_masks():
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:8, 5:15] = True
    target = fit_mask(mask, GEOMETRY).float()
    logits = restore_logits((target * (target != IGNORE_PIXEL))[None] - 0.5, GEOMETRY)
    assert logits.shape == (1, 10, 20)
    assert np.array_equal((logits[0] > 0).numpy(), mask)


@pytest.mark.parametrize("count", [0, 3])
def test_restore_keeps_the_number_of_masks(count):
    assert restore_logits(torch.zeros(count, 8, 8), GEOMETRY).shape == (count, 10, 20)


def test_restore_leaves_padding_out():
    logits = torch.full((1, 32, 32), -1.0)
    logits[:, 16:] = 50
    assert (restore_logits(logits, GEOMETRY)[:, :8] < 0).all()


MIDDLE = Geometry(original=(10, 20), resized=(16, 16), padded=(24, 24), seen=(0, 5, 10, 10))


@given(arrays(bool, (10, 20)))
def test_what_the_input_does_not_show_is_in_no_target(mask):
    target = fit_mask(mask, MIDDLE)
    assert torch.equal(target, fit_mask(mask[:, 5:15], Geometry((10, 10), (16, 16), (24, 24))))
    layers = PackedMasks(torch.from_numpy(mask.astype(np.uint8))[None], [(0, 1), (0, 1)], [None, None], MIDDLE)
    assert all(torch.equal(one, target) for one in mask_targets([layers]))


def test_what_the_input_does_not_show_is_in_no_mask():
    logits = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    restored = restore_logits(logits, MIDDLE)
    assert restored.shape == (2, 10, 20)
    part = Geometry((10, 10), (16, 16), (24, 24))
    assert torch.equal(restored[:, :, 5:15], restore_logits(logits, part))
    assert (restored[:, :, :5] == UNSEEN_LOGIT).all()
    assert (restored[:, :, 15:] == UNSEEN_LOGIT).all()
    torch.testing.assert_close(resample(logits, MIDDLE), restored[:, :, 5:15], atol=1e-5, rtol=0)


def test_a_batch_moves_only_its_tensors():
    moved = batch().to("meta")
    assert moved.pixels.device.type == moved.mask_targets.device.type == "meta"
    assert moved.geometries == [GEOMETRY]
    assert moved.tower_pixels is None


def test_compact_images_and_masks_move_as_they_are_and_become_tensors_where_they_are_asked_for():
    values = torch.randint(0, 256, (3, 10, 20), dtype=torch.uint8)
    image = FittedImage(values, Normalisation((0.5,) * 3, (0.5,) * 3), (32, 32))
    masks = PackedMasks(values[:1], [(0, 7), (0, 8)], [None, (0, 9)], GEOMETRY)
    ids, one = torch.arange(6).reshape(2, 3), torch.tensor([1])
    compact = Batch([image], [GEOMETRY], ids, ids, one, one, [masks], one, one, [], [], [image])
    moved = pickle.loads(pickle.dumps(compact)).to("cpu")
    assert "pixels" not in vars(moved) and "mask_targets" not in vars(moved)
    assert torch.equal(moved.pixels, normalise([image])) and torch.equal(moved.tower_pixels, moved.pixels)
    assert torch.equal(moved.mask_targets, mask_targets([masks]))
    assert moved.pixels is moved.pixels and moved.mask_targets is moved.mask_targets
    assert compact.to("meta").input_ids.device.type == "meta"


def test_what_was_put_in_the_place_of_pixels_and_masks_stays_there_when_the_batch_moves():
    changed = batch()
    changed.pixels, changed.mask_targets = changed.pixels + 1, changed.mask_targets + 1
    moved = changed.to("cpu")
    assert (moved.pixels == 1).all() and (moved.mask_targets == 1).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a CUDA device")
def test_a_batch_can_be_pinned():
    assert batch().pin_memory().pixels.is_pinned()


def test_small_tensors_of_a_batch_travel_with_it_and_large_ones_in_shared_memory():
    large = batch()
    large.pixels = torch.zeros(1, 3, 300, 300)
    state = large.__getstate__()
    assert [name for name, value in state.items() if isinstance(value, torch.Tensor)] == ["pixels"]
    back = pickle.loads(pickle.dumps(large))
    assert torch.equal(back.input_ids, large.input_ids) and back.mask_targets.dtype == torch.uint8
    back.input_ids += 1  # what arrives can be written to
    assert back.pixels.shape == (1, 3, 300, 300)
