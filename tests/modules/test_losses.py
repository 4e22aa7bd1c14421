"""Losses against plain computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lasagna.modules.losses import AssistantOutput, SegmentationLoss, mask_losses


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


def test_mask_losses_equal_the_plain_ones():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 5, generator=generator)
    targets = torch.randint(0, 3, (3, 6, 5), generator=generator).to(torch.uint8)
    targets[targets == 2] = 255
    bce, dice = mask_losses(logits, targets)
    wanted = plain(logits, targets)
    assert bce.item() == pytest.approx(wanted[0], rel=1e-5)
    assert dice.item() == pytest.approx(wanted[1], rel=1e-5)


def test_ignored_pixels_get_no_gradient():
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    targets = torch.ones(1, 4, 4, dtype=torch.uint8)
    targets[:, :2] = 255
    bce, dice = mask_losses(logits, targets)
    (bce + dice).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :2] == 0).all()
    assert (logits.grad[:, 2:] != 0).all()


def test_wholly_ignored_mask_is_finite():
    bce, dice = mask_losses(torch.ones(1, 4, 4), torch.full((1, 4, 4), 255, dtype=torch.uint8))
    assert bce == 0
    assert torch.isfinite(dice)


def test_no_masks_cost_nothing():
    output = AssistantOutput(torch.zeros(2, 4), torch.tensor([0, 1]), torch.zeros(0, 4, 4))
    losses = SegmentationLoss()(output, torch.zeros(0, 8, 8, dtype=torch.uint8))
    assert losses["bce"] == losses["dice"] == 0
    assert losses["loss"].item() == pytest.approx(math.log(4))


def test_weights():
    generator = torch.Generator().manual_seed(1)
    output = AssistantOutput(torch.randn(3, 5, generator=generator), torch.tensor([0, 1, 4]), torch.randn(2, 4, 4))
    targets = torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8, generator=generator)
    losses = SegmentationLoss(ce=0.3, bce=1.7, dice=0.9)(output, targets)
    parts = 0.3 * losses["ce"] + 1.7 * losses["bce"] + 0.9 * losses["dice"]
    assert losses["loss"].item() == pytest.approx(parts.item())
