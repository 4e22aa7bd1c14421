"""Losses against plain computations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lasagna.core.batch import Batch, Sample
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import Geometry, fit_mask
from lasagna.core.masks import RLEMask
from lasagna.errors import ConfigError
from lasagna.modules.losses import AssistantOutput, MaskTerm, SegmentationLoss
from lasagna.modules.mask_terms import mask_terms
from lasagna.modules.resampling import resample


def plain(logits, targets):
    bces, dices = [], []
    for logit, target in zip(logits.numpy(), targets.numpy(), strict=True):
        terms, overlap, mass, truth = [], 0.0, 0.0, 0.0
        for value, wanted in zip(logit.ravel(), target.ravel(), strict=True):
            if wanted == 255:
                continue
            probability = 1 / (1 + math.exp(-value))
            terms.append(-math.log(probability if wanted else 1 - probability))
            overlap, mass, truth = overlap + probability * wanted, mass + probability, truth + wanted
        bces.append(sum(terms) / max(len(terms), 1))
        dices.append(1 - (2 * overlap / 1000 + 1e-6) / (mass / 1000 + truth / 1000 + 1e-6))
    return np.mean(bces), np.mean(dices)


def batch_of(sizes, counts, padded=(8, 8), ignore=None):
    """Images of some sizes with some random masks each, one dialogue an image."""
    random = np.random.default_rng(0)
    geometries = [Geometry(size, tuple(min(8, 2 * side) for side in size), padded) for size in sizes]
    masks = [[random.random(size) < 0.4 for _ in range(count)] for size, count in zip(sizes, counts, strict=True)]
    dialogues = [
        Dialogue(
            "categories",
            ("sun",) * len(own),
            tuple(Entry("sun", True, RLEMask.from_array(mask)) for mask in own),
            ignore=None if ignore is None else RLEMask.from_array(ignore(size)),
        )
        for own, size in zip(masks, sizes, strict=True)
    ]
    targets = [fit_mask(mask, geometry) for own, geometry in zip(masks, geometries, strict=True) for mask in own]
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    batch = Batch(
        pixels=torch.zeros(len(sizes), 3, *padded),
        geometries=geometries,
        input_ids=torch.zeros(len(sizes), 1, dtype=torch.long),
        labels=torch.zeros(len(sizes), 1, dtype=torch.long),
        lengths=torch.ones(len(sizes), dtype=torch.long),
        image_index=torch.arange(len(sizes)),
        mask_targets=torch.stack(targets) if targets else torch.zeros(0, *padded, dtype=torch.uint8),
        mask_rows=torch.tensor(rows, dtype=torch.long),
        mask_positions=torch.zeros(len(rows), dtype=torch.long),
        samples=[Sample("scenes", str(row), row, dialogue) for row, dialogue in enumerate(dialogues)],
        images=[],
    )
    return batch, masks


def output_of(batch, side=4):
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(len(batch.mask_rows), side, side, generator=generator, requires_grad=True)
    return AssistantOutput(torch.randn(3, 5, generator=generator), torch.tensor([0, 1, 4]), masks)


def test_mask_terms_equal_the_plain_ones():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 5, generator=generator)
    targets = torch.randint(0, 3, (3, 6, 5), generator=generator).to(torch.uint8)
    targets[targets == 2] = 255
    bce, dice = mask_terms(logits, targets)
    wanted = plain(logits, targets)
    assert bce.mean().item() == pytest.approx(wanted[0], rel=1e-5)
    assert dice.mean().item() == pytest.approx(wanted[1], rel=1e-5)


def terms_of_operators(logits, targets):
    """The same of plain operators, which autograd takes back by itself."""
    counted = (targets != 255).flatten(1).to(logits.dtype)
    truth = (targets == 1).flatten(1).to(logits.dtype)
    logits = logits.flatten(1)
    pixels = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * counted
    probability = logits.sigmoid() * counted
    overlap, mass = (probability * truth).sum(1) / 1000, (probability.sum(1) + truth.sum(1)) / 1000
    return pixels.sum(1) / counted.sum(1).clamp(min=1), 1 - (2 * overlap + 1e-6) / (mass + 1e-6)


def targets_of(ignored, size=(5, 6, 7)):
    targets = torch.randint(0, 2, size, generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    if ignored:
        targets[1, 2:] = 255
        targets[2] = 255
    targets[3] = 0
    return targets


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("pixels", [1, 84, 2**18])
def test_gradients_of_mask_terms_are_those_of_plain_operators(monkeypatch, ignored, pixels):
    monkeypatch.setattr("lasagna.modules.mask_terms.CHUNK_PIXELS", pixels)
    targets = targets_of(ignored)
    logits = (3 * torch.randn(5, 6, 7, dtype=torch.float64)).requires_grad_()
    worth = torch.rand(2, 5, dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad(
            sum((of * each).sum() for of, each in zip(worth, terms(logits, targets), strict=True)), logits
        )
        for terms in (mask_terms, terms_of_operators)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(lambda given: mask_terms(given, targets), logits)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_full_precision(precision):
    logits = torch.randn(5, 60, 70).to(precision).requires_grad_()
    targets = targets_of(True, (5, 60, 70))
    wide = logits.detach().double().requires_grad_()
    for found, wanted in zip(mask_terms(logits, targets), terms_of_operators(wide, targets), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    sum(mask_terms(logits, targets)).sum().backward()
    sum(terms_of_operators(wide, targets)).sum().backward()
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=0.01, atol=1e-7)


@pytest.mark.parametrize("resolution", ["input", "image"])
def test_autocast_changes_no_loss_and_no_gradient(resolution):
    batch, _ = batch_of([(40, 30), (60, 50)], [2, 1])
    found = []
    for enabled in (False, True):
        output = output_of(batch)
        with torch.autocast("cpu", torch.bfloat16, enabled):
            losses = SegmentationLoss(resolution=resolution)(output, batch)
        (losses["bce"] + losses["dice"]).backward()
        found.append((losses["bce"].detach(), losses["dice"].detach(), output.mask_logits.grad))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("original", [(5, 90), (70, 50), (300, 200)])
def test_resampled_logits_and_their_gradients_are_those_of_resizing_twice(original):
    geometry = Geometry(original, tuple(round(side * 128 / max(original)) for side in original), (128, 128))
    logits = torch.randn(3, 32, 32, dtype=torch.float64, requires_grad=True)
    found, wanted = resample(logits, geometry), restore(logits, geometry)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    worth = torch.randn_like(found)
    gradients = [torch.autograd.grad((of * worth).sum(), logits)[0] for of in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)
    assert torch.autograd.gradcheck(
        lambda given: resample(given, geometry)[:, ::7, ::7], logits[:1, ::4, ::4].detach().requires_grad_()
    )


def restore(logits, geometry):
    whole = torch.nn.functional.interpolate(logits[None], geometry.padded, mode="bilinear")
    height, width = geometry.resized
    return torch.nn.functional.interpolate(whole[..., :height, :width], geometry.original, mode="bilinear")[0]


def test_ignored_pixels_get_no_gradient():
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    targets = torch.ones(1, 4, 4, dtype=torch.uint8)
    targets[:, :2] = 255
    bce, dice = mask_terms(logits, targets)
    (bce + dice).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, :2] == 0).all()
    assert (logits.grad[:, 2:] != 0).all()


def test_wholly_ignored_mask_is_finite():
    bce, dice = mask_terms(torch.ones(1, 4, 4), torch.full((1, 4, 4), 255, dtype=torch.uint8))
    assert bce == 0
    assert torch.isfinite(dice)


@pytest.mark.parametrize("resolution", ["input", "image"])
def test_no_masks_cost_nothing_and_still_have_a_gradient(resolution):
    batch, _ = batch_of([(4, 4)], [0])
    output = output_of(batch)
    losses = SegmentationLoss(resolution=resolution)(output, batch)
    assert losses["bce"] == losses["dice"] == 0
    assert losses["loss"] == losses["ce"]
    losses["loss"].backward()
    assert output.mask_logits.grad is not None


def test_weights():
    batch, _ = batch_of([(4, 4)], [2])
    losses = SegmentationLoss(ce=0.3, bce=1.7, dice=0.9)(output_of(batch), batch)
    parts = 0.3 * losses["ce"] + 1.7 * losses["bce"] + 0.9 * losses["dice"]
    assert losses["loss"].item() == pytest.approx(parts.item())


def test_decisions_and_absent_names_have_weights_among_the_tokens():
    batch, _ = batch_of([(4, 4)], [1])
    labels = torch.tensor([5, 6, 2, 6])
    output = replace(output_of(batch), token_logits=torch.randn(4, 8), token_labels=labels, decision_ids=(5, 6))
    each = torch.nn.functional.cross_entropy(output.token_logits, labels, reduction="none")
    losses = SegmentationLoss(decision=3.0, absent=0.5)(output, batch)
    assert losses["ce"].item() == pytest.approx((each @ torch.tensor([3.0, 1.5, 1.0, 1.5])).item() / 4)
    with pytest.raises(ConfigError, match="decision, absent: the output does not name these tokens"):
        SegmentationLoss(absent=0.5)(replace(output, decision_ids=None), batch)


@pytest.mark.parametrize("resolution", ["input", "image"])
def test_further_losses_of_masks_count_with_their_weight(resolution):
    batch, _ = batch_of([(4, 4), (4, 6)], [2, 1])
    output = output_of(batch)

    def each(logits, targets):
        return (logits.sigmoid() - targets).square().mean((1, 2))

    terms = {"each": MaskTerm(each, 2.0), "mean": MaskTerm(lambda *masks: each(*masks).mean())}
    losses = SegmentationLoss(resolution=resolution, mask_losses=terms)(output, batch)
    assert losses["each"].item() == pytest.approx(losses["mean"].item()) and losses["each"] > 0
    known = SegmentationLoss(resolution=resolution)(output, batch)
    assert losses["loss"].item() == pytest.approx((known["loss"] + 3 * losses["each"]).item())
    empty, _ = batch_of([(4, 4)], [0])
    assert SegmentationLoss(mask_losses=terms)(output_of(empty), empty)["each"] == 0
    wrong = SegmentationLoss(mask_losses={"wide": MaskTerm(lambda logits, targets: logits)})
    nothing = SegmentationLoss(mask_losses={"none": MaskTerm(lambda logits, targets: None)})
    with pytest.raises(ConfigError, match=r"mask_losses.none: expected a tensor .* got a NoneType"):
        nothing(output, batch)
    with pytest.raises(ConfigError, match=r"mask_losses.wide: expected a loss for each of 3 masks, or their mean"):
        wrong(output, batch)


def test_padding_counts_nowhere():
    batch, masks = batch_of([(4, 3)], [1])
    output = output_of(batch, side=8)
    for ignored in ("left_out", "background"):
        losses = SegmentationLoss(ignored=ignored)(output, batch)
        seen = torch.from_numpy(masks[0][0].repeat(2, 0).repeat(2, 1).astype(np.uint8))[None]
        bce, dice = mask_terms(output.mask_logits[:, :, :6], seen)
        assert losses["bce"].item() == pytest.approx(bce.item(), rel=1e-6)
        assert losses["dice"].item() == pytest.approx(dice.item(), rel=1e-6)


def test_ignored_pixels_are_background_if_asked():
    batch, _ = batch_of([(4, 3)], [1])
    batch.mask_targets[0, 0, 0] = 255
    as_background = batch.mask_targets.clone()
    as_background[0, 0, 0] = 0
    output = output_of(batch)
    found = SegmentationLoss(ignored="background")(output, batch)["bce"]
    assert found != SegmentationLoss()(output, batch)["bce"]
    batch.mask_targets = as_background
    assert found == SegmentationLoss()(output, batch)["bce"]


def test_at_the_images_own_resolution_each_mask_meets_its_logits_there():
    sizes = [(4, 3), (6, 5)]
    batch, masks = batch_of(sizes, [2, 1])
    output = output_of(batch)
    losses = SegmentationLoss(resolution="image")(output, batch)
    bces, dices = [], []
    for place, (row, mask) in enumerate((row, mask) for row, own in enumerate(masks) for mask in own):
        whole = torch.nn.functional.interpolate(output.mask_logits[place][None, None], (8, 8), mode="bilinear")
        height, width = batch.geometries[row].resized
        own = torch.nn.functional.interpolate(whole[..., :height, :width], sizes[row], mode="bilinear")[0]
        bce, dice = plain(own.detach(), torch.from_numpy(mask.astype(np.uint8))[None])
        bces.append(bce)
        dices.append(dice)
    assert losses["bce"].item() == pytest.approx(np.mean(bces), rel=1e-5)
    assert losses["dice"].item() == pytest.approx(np.mean(dices), rel=1e-5)


def test_at_the_images_own_resolution_ignored_pixels_are_left_out_or_background():
    def half(size):
        return np.arange(size[0])[:, None].repeat(size[1], 1) < 2

    batch, masks = batch_of([(8, 8)], [1], ignore=half)
    output = output_of(batch, side=8)
    found = SegmentationLoss(resolution="image")(output, batch)["bce"]
    truth = torch.from_numpy(masks[0][0].astype(np.uint8))[None]
    assert found.item() == pytest.approx(mask_terms(output.mask_logits[:, 2:], truth[:, 2:])[0].item(), rel=1e-6)
    found = SegmentationLoss(resolution="image", ignored="background")(output, batch)["bce"]
    assert found.item() == pytest.approx(mask_terms(output.mask_logits, truth)[0].item(), rel=1e-6)


def test_at_the_images_own_resolution_dialogues_without_masks_may_be_about_the_same_image():
    batch, _ = batch_of([(4, 3)], [2])
    output = output_of(batch)
    alone = SegmentationLoss(resolution="image")(output, batch)
    absent = Dialogue("categories", ("dog",), (Entry("dog", False),))
    batch.samples = [Sample("scenes", "0", 0, absent), *batch.samples, Sample("scenes", "0", 0, absent)]
    assert SegmentationLoss(resolution="image")(output, batch) == alone


@pytest.mark.parametrize("ignored", ["left_out", "background"])
def test_at_the_images_own_resolution_what_the_input_does_not_show_counts_nowhere(ignored):
    batch, masks = batch_of([(4, 8)], [2])
    batch.geometries = [Geometry((4, 8), (8, 8), (8, 8), seen=(0, 3, 4, 4))]
    output = output_of(batch, side=8)
    losses = SegmentationLoss(resolution="image", ignored=ignored)(output, batch)
    shown = torch.nn.functional.interpolate(output.mask_logits[None], (4, 4), mode="bilinear")[0]
    bce, dice = mask_terms(shown, torch.from_numpy(np.stack(masks[0])[..., 3:7].astype(np.uint8)))
    assert losses["bce"].item() == pytest.approx(bce.mean().item(), rel=1e-5)
    assert losses["dice"].item() == pytest.approx(dice.mean().item(), rel=1e-5)
