"""The losses of masks from libraries that a page of the docs names are what it says (extra `losses`)."""

from importlib import import_module

import pytest
import torch
import yaml

from lasagna.modules import SegmentationLoss
from lasagna.modules.losses import MaskTerm
from tests.helpers.documented import ROOT, blocks, write_named

PAGE = ROOT / "docs" / "how_to" / "loss.md"


def library_losses():
    """Return the losses of the page's config, by name."""
    [config] = [yaml.safe_load(block) for block in blocks(PAGE, "yaml") if "mask_losses" in block]
    losses = {}
    for name, term in config["model"]["init_args"]["loss"]["mask_losses"].items():
        module, kind = term["loss"]["class_path"].rsplit(".", 1)
        made = getattr(import_module(module), kind)(**term["loss"].get("init_args", {}))
        losses[name] = MaskTerm(made, term.get("weight", 1.0))
    return losses


def masks():
    """Return logits, and targets of which some pixels do not count."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 12, 12, generator=generator).requires_grad_()
    targets = (torch.rand(1, 12, 12, generator=generator) < 0.4).to(torch.uint8)
    targets[:, :2] = 255
    return logits, targets


def focal(logits, positive):
    sure = torch.where(positive, logits, -logits).sigmoid()
    return (-((1 - sure) ** 2) * sure.log()).mean()


def lovasz(logits, positive):
    errors = 1 - torch.where(positive, logits, -logits)
    order = errors.argsort(descending=True)
    wrong, missed = positive[order].logical_not().cumsum(0), positive[order].cumsum(0)
    jaccard = 1 - (positive.sum() - missed) / (positive.sum() + wrong)
    return (errors[order].clamp(min=0) * jaccard.diff(prepend=jaccard.new_zeros(1))).sum()


def test_focal_and_lovasz_losses_of_the_page():
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra `losses`")
    losses = library_losses()
    assert losses.keys() == {"lovasz", "focal"}
    for name, plain in (("focal", focal), ("lovasz", lovasz)):
        logits, targets = masks()
        loss = losses[name].loss(logits, targets)
        counted = targets != 255
        torch.testing.assert_close(loss, plain(logits[counted], targets[counted] == 1))
        loss.backward()
        assert logits.grad[counted].any() and not logits.grad[~counted].any()
    assert SegmentationLoss(mask_losses=losses).mask_losses["focal"].weight == 5.0


@pytest.mark.docs  # the import of monai takes seconds
def test_boundary_loss_of_the_page(tmp_path, monkeypatch):
    pytest.importorskip("monai", reason="needs the extra `losses`")
    write_named(PAGE, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    boundary = import_module("boundary_loss").Boundary()
    targets = torch.zeros(3, 16, 16, dtype=torch.uint8)
    targets[:, 4:8, 4:8] = 1
    targets[:, 15] = 255
    logits = torch.stack([torch.full((16, 16), -9.0), *(targets[:2] == 1).float() * 18 - 9])
    logits[0, 4:8, 4:8] = 9.0
    logits[1, 4:8, 5:9], logits[1, 4:8, 4] = 9.0, -9.0
    logits[2, 4:8, 9:13], logits[2, 4:8, 4:8] = 9.0, -9.0
    logits[:, 15] = 9.0
    exact, near, far = boundary(logits.requires_grad_(), targets)
    assert exact < 0.01 < near < far
    far.backward()
    assert not logits.grad[:, 15].any() and logits.grad[2].any()
