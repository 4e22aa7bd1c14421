"""The contract of mask heads, which every one of them keeps.

A test class of a new head inherits ``MaskHeadContract`` and says how to make one.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.errors import ConfigError
from lasagna.modules import FeatureSpec, ObjectMaskHead, TinyMaskHead
from lasagna.modules.base import MaskHead
from lasagna.modules.mask_heads.dot import DotMaskHead
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.mask_head import Sam2MaskHead
from tests.helpers.parts import built, maps_of


class MaskHeadContract:
    """What holds for every mask head."""

    specs = (
        FeatureSpec((96, 48, 32), (8, 4, 2), (96, 96)),
        FeatureSpec((40,), (14,), (70, 98)),
        FeatureSpec((40, 24), (16, 8), (64, 96)),
    )

    def make(self):
        raise NotImplementedError

    def build(self, spec):
        return built(self.make(), spec)

    def prompts(self, head, count):
        return torch.randn(count, head.prompt_dim, generator=torch.Generator().manual_seed(2))

    def test_masks_cover_the_input_in_its_shape(self):
        for spec in self.specs:
            head = self.build(spec)
            masks = head(maps_of(spec, 2), self.prompts(head, 3), torch.tensor([0, 1, 1]))
            assert masks.shape[0] == 3
            assert masks.shape[1] / masks.shape[2] == spec.grid[0] / spec.grid[1]
            assert masks.shape[1] >= spec.grid[0]

    def test_each_prompt_sees_its_own_image_whatever_the_order(self):
        spec = self.specs[0]
        head, maps, index = self.build(spec), maps_of(spec, 2), torch.tensor([1, 0, 1])
        prompts = self.prompts(head, 3)
        together = head(maps, prompts, index)
        for place, image in enumerate(index.tolist()):
            own = [features[image : image + 1] for features in maps]
            alone = head(own, prompts[place : place + 1], torch.tensor([0]))
            torch.testing.assert_close(together[place : place + 1], alone, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(head(maps, prompts, 1 - index), together, atol=1e-3)

    def test_no_prompts_give_no_masks(self):
        spec = self.specs[0]
        head = self.build(spec)
        some = head(maps_of(spec, 1), self.prompts(head, 1), torch.tensor([0]))
        none = head(maps_of(spec, 1), self.prompts(head, 0), torch.zeros(0, dtype=torch.long))
        assert none.shape == (0, *some.shape[1:])

    def test_a_batch_without_masks_leaves_no_parameter_without_gradient(self):
        """Processes that train together wait for each other's gradients, of every parameter."""
        spec = self.specs[0]
        head = self.build(spec).train()
        maps = [features.requires_grad_() for features in maps_of(spec, 2)]
        prompts = self.prompts(head, 0).requires_grad_()
        (head(maps, prompts, torch.zeros(0, dtype=torch.long)).sum() * 0).backward()
        trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
        assert all(given.grad is not None and not given.grad.any() for given in (*maps, prompts, *trained))

    def test_gradients_reach_prompts_and_what_is_trained(self):
        spec = self.specs[0]
        head = self.build(spec).train()
        prompts = self.prompts(head, 2).requires_grad_()
        head(maps_of(spec, 2), prompts, torch.tensor([0, 1])).square().mean().backward()
        assert (prompts.grad.abs().sum(1) > 0).all()
        trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
        assert trained
        assert all(parameter.grad is not None for parameter in trained)

    def test_half_precision_is_close(self):
        spec = self.specs[0]
        head = self.build(spec)
        prompts, index = self.prompts(head, 2), torch.tensor([0, 1])
        whole = head(maps_of(spec, 2), prompts, index)
        with torch.autocast("cpu", torch.bfloat16):
            half = head(maps_of(spec, 2), prompts, index)
        assert (half.float() - whole).abs().mean() < 0.05 * whole.abs().mean().clamp(min=1)

    def test_a_checkpoint_can_say_how_to_make_it(self):
        head = self.make()
        assert type(rebuild(config_of(head), MaskHead)) is type(head)


class TestTinyMaskHead(MaskHeadContract):
    def make(self):
        return TinyMaskHead(weights="random")


class TestDotMaskHead(MaskHeadContract):
    def make(self):
        return DotMaskHead(width=32)


class United(ObjectMaskHead):
    """The union of the masks, which keeps the contract of heads with one mask a prompt."""

    def forward(self, features, prompts, image_index):
        return super().forward(features, prompts, image_index).union


class TestObjectMaskHead(MaskHeadContract):
    def make(self):
        return United(DotMaskHead(width=32), masks=3)

    def test_each_prompt_has_masks_with_scores(self):
        spec = self.specs[0]
        head = built(ObjectMaskHead(DotMaskHead(width=32), masks=3), spec)
        found = head(maps_of(spec, 2), self.prompts(head, 5), torch.tensor([0, 1, 1, 0, 1]))
        assert found.logits.shape == (5, head.most_masks, 48, 48) == (5, 3, 48, 48)
        assert found.scores.shape == (5, 3)
        assert ((found.scores > 0) & (found.scores < 1)).all()

    def test_numbers_are_checked(self):
        with pytest.raises(ConfigError, match="masks: expected a whole number of at least 1, got 0"):
            ObjectMaskHead(DotMaskHead(), masks=0)


class TestSamMaskHead(MaskHeadContract):
    specs = (FeatureSpec((32,), (8,), (64, 64)), FeatureSpec((32,), (16,), (64, 96)))

    def make(self):
        return SamMaskHead(size=SamHeadSize(32, 2, 4, 48, 4, 8, 24, 2))


class TestSam2MaskHead(MaskHeadContract):
    specs = (FeatureSpec((32, 8, 4), (16, 8, 4), (64, 64)), FeatureSpec((32, 8, 4), (16, 8, 4), (64, 96)))

    def make(self):
        return Sam2MaskHead(size=SamHeadSize(32, 2, 4, 48))


class TestSam2MaskHeadWithNeck(MaskHeadContract):
    specs = (FeatureSpec((40, 24), (8, 4), (96, 96)), FeatureSpec((40,), (14,), (112, 112)))

    def make(self):
        return Sam2MaskHead(size=SamHeadSize(32, 2, 4, 48), neck=True)


def test_a_neck_fits_any_encoder_to_the_decoder_of_sam():
    spec = FeatureSpec((40, 24), (8, 4), (64, 96))
    head = built(SamMaskHead(size=SamHeadSize(32, 2, 4, 48, 4, 8, 24, 2), neck=True), spec)
    maps, prompts, index = maps_of(spec, 2), torch.randn(3, 32), torch.tensor([0, 1, 1])
    fitted = head.neck(maps)
    assert [level.shape for level in fitted] == [(2, 32, 4, 6)]
    plain = SamMaskHead(size=head.size)
    plain.build(head.neck.spec)
    plain.load_state_dict({name: value for name, value in head.state_dict().items() if not name.startswith("neck.")})
    torch.testing.assert_close(head(maps, prompts, index), plain.eval()(fitted, prompts, index))


@pytest.mark.parametrize(
    ("contract", "spec"),
    [(TestDotMaskHead, FeatureSpec((96, 48, 32), (8, 4, 2), (96, 96))), (TestSam2MaskHead, TestSam2MaskHead.specs[1])],
)
def test_finer_maps_are_read(contract, spec):
    head = contract().build(spec)
    maps, prompts, index = maps_of(spec, 1), torch.randn(1, head.prompt_dim), torch.tensor([0])
    before = head(maps, prompts, index)
    for place in (0, 1, 2):
        changed = [features * (1 + (rank == place)) for rank, features in enumerate(maps)]
        assert not torch.allclose(head(changed, prompts, index), before, atol=1e-4)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    ("kind", "spec"), [(SamMaskHead, TestSamMaskHead.specs[1]), (Sam2MaskHead, TestSam2MaskHead.specs[1])]
)
def test_nothing_is_computed_more_than_twice(kind, spec, recompute):
    head = kind(size=SamHeadSize(32, 2, 4, 48), chunk=2, recompute=recompute)
    head.build(spec)
    norms = {"upscaling": head.mask_decoder.output_upscaling[1], "transformer": head.mask_decoder.transformer.layers[1]}
    runs = Counter()
    norms["transformer"].register_forward_hook(lambda *_: runs.update(["transformer"]))
    last = norms["upscaling"].last
    norms["upscaling"].last = lambda cells: runs.update(["upscaling"]) or last(cells)
    head.train()(
        maps_of(spec, 1), torch.randn(4, 32, requires_grad=True), torch.zeros(4, dtype=torch.long)
    ).sum().backward()
    assert runs == {"upscaling": 2 * 4, "transformer": 2 * (1 + recompute)}  # by prompt, and by chunk


def test_dot_head_refuses_a_width_that_norms_cannot_split():
    with pytest.raises(ConfigError, match="multiple of 8, got 12"):
        DotMaskHead(width=12)
