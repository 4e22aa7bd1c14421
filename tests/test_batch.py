import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lasagna.batch import IGNORE_PIXEL, UNSEEN_LOGIT, Batch, Geometry, fit_mask, restore_logits
from lasagna.datamodules.mask_fitting import MaskFitting
from lasagna.dialogue import Dialogue, Entry
from lasagna.masks import LabelMap
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
    label_map = LabelMap(mask.astype(np.uint8))
    fitted = torch.empty(2, 24, 24, dtype=torch.uint8)
    entries = (Entry("a", True, label_map.mask([1])), Entry("b", True, label_map.mask([1, 7])))
    MaskFitting(MIDDLE).fill(Dialogue("complex", ("a", "b"), entries), fitted)
    assert all(torch.equal(one, target) for one in fitted)


def test_what_the_input_does_not_show_is_in_no_mask():
    logits = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    restored = restore_logits(logits, MIDDLE)
    assert restored.shape == (2, 10, 20)
    part = Geometry((10, 10), (16, 16), (24, 24))
    assert torch.equal(restored[:, :, 5:15], restore_logits(logits, part))
    assert (restored[:, :, :5] == UNSEEN_LOGIT).all()
    assert (restored[:, :, 15:] == UNSEEN_LOGIT).all()
    torch.testing.assert_close(resample(logits, MIDDLE), restored[:, :, 5:15], atol=1e-5, rtol=0)


def test_a_batch_moves_its_tensors_alone():
    moved = batch().to("meta")
    assert moved.pixels.device.type == moved.mask_targets.device.type == "meta"
    assert moved.geometries == [GEOMETRY]
    assert moved.tower_pixels is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a CUDA device")
def test_a_batch_can_be_pinned():
    assert batch().pin_memory().pixels.is_pinned()
