"""The loss of objects: who learns from whom, and what does not count."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from lasagna.core.batch import Batch, Sample, StepCounts
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import Geometry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.datamodules.streaming.mask_stack import stack_objects
from lasagna.datamodules.streaming.preparation import Row
from lasagna.modules import (
    AssistantOutput,
    FeatureSpec,
    Mask2FormerHead,
    MaskPrediction,
    ObjectLoss,
    Sam3MaskHead,
    SegmentationLoss,
)
from lasagna.modules.mask_terms import mask_terms
from lasagna.modules.object_loss import assigned, object_targets
from tests.helpers.parts import built, maps_of
from tests.helpers.sam3_model import HEAD
from tests.modules.mask2former.test_mask_head import SIZE as DECODERS

SIZE = (6, 8)
GEOMETRY = Geometry(SIZE, SIZE, (8, 8))
LOSS = ObjectLoss()


def pixels(top, left):
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + 2, left : left + 3] = True
    return mask


def entry(name, masks, crowds=()):
    codes, groups = (tuple(map(RLEMask.from_array, part)) for part in (masks, crowds))
    return Entry(name, True, UnionMask((*codes, *groups), shape=SIZE), codes, groups)


def batch_of(*dialogues, geometry=GEOMETRY):
    samples = [Sample("s", "k", 0, dialogue) for dialogue in dialogues]
    rows = [row for row, dialogue in enumerate(dialogues) for one in dialogue.entries if one.present]
    made = [Row(dialogue, [], [], [0] * rows.count(row)) for row, dialogue in enumerate(dialogues)]
    objects, owners = stack_objects(made, geometry)
    return Batch(
        pixels=torch.zeros(1, 3, 8, 8),
        geometries=[geometry],
        input_ids=torch.zeros(len(dialogues), 1, dtype=torch.long),
        labels=torch.zeros(len(dialogues), 1, dtype=torch.long),
        lengths=torch.ones(len(dialogues), dtype=torch.long),
        image_index=torch.zeros(len(dialogues), dtype=torch.long),
        mask_targets=torch.zeros(len(rows), 8, 8, dtype=torch.uint8),
        mask_rows=torch.tensor(rows, dtype=torch.long),
        mask_positions=torch.zeros(len(rows), dtype=torch.long),
        samples=samples,
        images=[],
        objects=[objects],
        object_masks=owners,
    )


def output_of(logits, scores):
    prediction = MaskPrediction(logits, scores)
    return AssistantOutput(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), prediction.union, prediction)


def random_output(count, masks=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, masks, 8, 8, generator=generator).requires_grad_()
    return output_of(logits, torch.rand(count, masks, generator=generator).requires_grad_())


BIRDS = [pixels(0, 0), pixels(3, 4), pixels(2, 1)]
ASKED = Dialogue("instances", ("bird", "cat"), (entry("bird", BIRDS), Entry("dog", False), entry("cat", BIRDS[:1])))


def test_objects_keep_their_prompt_and_only_queries_for_objects_have_them():
    ordinary = Dialogue("categories", ("bird",), (entry("bird", BIRDS),))
    found = list(object_targets(batch_of(ordinary, ASKED)))
    assert [place for place, _ in found] == [1, 2]
    assert [len(targets) for _, targets in found] == [3, 1]
    assert np.array_equal(found[0][1][1, :6].numpy(), BIRDS[1])
    assert (found[0][1][:, 6:] == 255).all()  # padding


def test_crowds_and_ignored_pixels_do_not_count():
    crowded = entry("bird", BIRDS[:1], [pixels(3, 4)])
    dialogue = Dialogue("instances", ("bird",), (crowded,), ignore=RLEMask.from_array(pixels(0, 5)))
    ((_, targets),) = object_targets(batch_of(dialogue))
    assert np.array_equal(targets[0, :6].numpy() == 255, pixels(3, 4) | pixels(0, 5))
    assert (targets == 1).sum() == 6


def test_objects_too_small_for_the_input_keep_a_pixel_and_those_that_are_ignored_are_left_out():
    dot = np.zeros((40, 40), dtype=bool)
    dot[13, 17] = True
    codes = (RLEMask.from_array(dot), RLEMask.from_array(~dot))
    whole = Entry("bird", True, UnionMask(codes, shape=dot.shape), codes)
    asked = Dialogue("instances", ("bird",), (whole,), ignore=RLEMask.from_array(~dot))
    batch = batch_of(asked, geometry=Geometry(dot.shape, (8, 8), (8, 8)))
    ((_, targets),) = object_targets(batch)
    assert (targets == 1).flatten(1).sum(1).tolist() == [1]
    assert targets[0, 2, 3] == 1


def test_the_assignment_is_the_cheapest_of_all():
    output, batch = random_output(2), batch_of(ASKED)
    place, targets = next(object_targets(batch))
    logits, scores = output.masks.logits[place].detach(), output.masks.scores[place].detach()
    costs = LOSS._costs(logits, scores, targets)
    masks, objects = assigned(LOSS._costs(logits, scores, targets))
    best = min(sum(costs[mask, rank] for rank, mask in enumerate(chosen)) for chosen in permutations(range(4), 3))
    assert costs[masks, objects].sum() == pytest.approx(float(best))


def test_the_losses_are_those_of_the_assigned_pairs():
    output, batch = random_output(2), batch_of(ASKED)
    losses = LOSS(output, batch)
    bces, dices, wanted = [], [], torch.zeros(2, 4)
    for place, targets in object_targets(batch):
        logits = output.masks.logits[place].detach()
        for mask, rank in zip(
            *assigned(LOSS._costs(logits, output.masks.scores[place].detach(), targets)), strict=True
        ):
            bce, dice = mask_terms(logits[mask][None], targets[rank][None])
            bces.append(float(bce))
            dices.append(float(dice))
            wanted[place, mask] = 1
    assert len(bces) == 4
    assert float(losses["object_bce"].detach()) == pytest.approx(np.mean(bces))
    assert float(losses["object_dice"].detach()) == pytest.approx(np.mean(dices))
    torch.testing.assert_close(losses["object_score"], binary_cross_entropy(output.masks.scores, wanted))
    ordinary = SegmentationLoss()(output, batch)["loss"]
    parts = 5 * losses["object_bce"] + 2 * losses["object_dice"] + losses["object_score"]
    torch.testing.assert_close(losses["loss"], ordinary + parts)


def test_gradients_are_those_of_means_over_the_step():
    """Two batches of unequal numbers of objects have, averaged as the trainer does, the gradients of the joint one."""
    other = Dialogue("panoptic", ("cat",), (entry("cat", BIRDS[1:2]),))
    first, second, joint = batch_of(ASKED), batch_of(other), batch_of(ASKED, other)
    assert [batch.object_counts for batch in (first, second, joint)] == [(2, 4), (1, 1), (3, 5)]
    loss, whole = ObjectLoss(ce=0), random_output(3)
    loss(whole, joint)["loss"].backward()
    step = StepCounts(tokens=2, masks=3, divisor=2, apart=3, objects=5)
    logits, scores = (part.detach().requires_grad_() for part in (whole.masks.logits, whole.masks.scores))
    for batch, rows in ((first, slice(2)), (second, slice(2, 3))):
        batch.step = step
        (loss(output_of(logits[rows], scores[rows]), batch)["loss"] / 2).backward()
    torch.testing.assert_close(logits.grad, whole.masks.logits.grad)
    torch.testing.assert_close(scores.grad, whole.masks.scores.grad)


def test_more_objects_than_masks_leave_the_smallest_out():
    small = np.zeros(SIZE, dtype=bool)
    small[5, 7] = True
    crowded, largest = (
        batch_of(Dialogue("instances", ("bird",), (entry("bird", m),))) for m in ([small, *BIRDS[:2]], BIRDS[:2])
    )
    output = random_output(1, masks=2)
    torch.testing.assert_close(LOSS(output, crowded), LOSS(output, largest))


def test_heads_with_one_mask_and_batches_without_objects_have_the_ordinary_losses():
    logits = torch.randn(2, 8, 8)
    single = AssistantOutput(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), logits, MaskPrediction.single(logits))
    assert LOSS(single, batch_of(ASKED)).keys() == {"loss", "ce", "bce", "dice"}
    output = random_output(1)
    losses = LOSS(output, batch_of(Dialogue("categories", ("bird",), (entry("bird", BIRDS),))))
    assert float(losses["object_bce"].detach()) == 0
    losses["loss"].backward()
    assert output.masks.logits.grad is not None and output.masks.scores.grad is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "spec"),
    [
        (Sam3MaskHead(size=HEAD), FeatureSpec((16, 16, 16), (2, 1, 0.5), (8, 8))),
        (Mask2FormerHead(size=DECODERS), FeatureSpec((16,), (2,), (8, 8))),
    ],
    ids=["sam3", "mask2former"],
)
def test_heads_with_several_masks_learn_how_many_objects_a_name_has(head, spec):
    head, maps, batch = built(head, spec).train(), maps_of(spec, 1), batch_of(ASKED)
    torch.manual_seed(0)
    prompts = torch.randn(2, head.prompt_dim, requires_grad=True)
    optimiser = torch.optim.Adam([prompts, *(value for value in head.parameters() if value.requires_grad)], lr=3e-3)
    for _ in range(60):
        found = head(maps, prompts, torch.zeros(2, dtype=torch.long))
        losses = LOSS(output_of(found.logits, found.scores), batch)
        optimiser.zero_grad()
        # the batch has no target for the union
        (5 * losses["object_bce"] + 2 * losses["object_dice"] + losses["object_score"]).backward()
        optimiser.step()
    assert (found.scores > 0.5).sum(1).tolist() == [3, 1]
    assert float(losses["object_bce"].detach()) < 0.3  # 0.69 at the start
