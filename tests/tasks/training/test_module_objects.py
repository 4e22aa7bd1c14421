"""Instances from the query to the gradient and the answer, through the tiny parts."""

import numpy as np
import torch

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.modules import (
    ObjectLoss,
    ObjectMaskHead,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.tasks import AssistantTraining
from tests.helpers.parts import joined

SIZE = (32, 32)


def assistant():
    encoder = TinyVisionEncoder(image_size=SIZE, weights="random")
    language_model = TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2))
    return joined(encoder, language_model, ObjectMaskHead(TinyMaskHead(weights="random"), masks=3))


def batch_of(model, kind="instances"):
    masks = np.zeros((2, *SIZE), dtype=bool)
    masks[0, 2:12, 2:12], masks[1, 18:30, 15:28] = True, True
    objects = tuple(map(RLEMask.from_array, masks))
    bird = Entry("bird", True, UnionMask(objects, shape=SIZE), objects)
    dialogues = [
        Dialogue(kind, ("bird", "cat"), (bird, Entry("cat", False))),
        Dialogue("categories", ("bird",), (Entry("bird", True, objects[0]),)),
    ]
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    sample = prepare_sample(image, dialogues, model.processors, source="s", key="k", keep_image=False)
    return collate([sample], model.processors), image


def test_training_has_the_losses_of_objects_besides_the_ordinary_ones():
    model = assistant()
    training = AssistantTraining(model, ObjectLoss(dice=0.7, object_dice=3.0))
    batch, _ = batch_of(model)
    output = model.train()(batch)
    assert output.masks.logits.shape[:2] == (2, 3)
    losses = training.loss(output, batch)
    losses["loss"].backward()
    assert float(losses["object_bce"].detach()) > 0
    trained = [weight for weight in model.mask_head.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in trained)


def test_a_token_for_each_object_takes_the_ordinary_loss_and_a_head_with_one_mask():
    model = assistant()
    model.mask_head = model.mask_head.head
    batch, image = batch_of(model, "instances_by_token")
    output = model.train()(batch)
    assert output.mask_logits.shape[0] == 3
    losses = AssistantTraining(model, ObjectLoss()).loss(output, batch)
    assert losses.keys() == {"loss", "ce", "bce", "dice"}
    losses["loss"].backward()
    model.presence_threshold, model.object_threshold, model.mask_threshold, model.object_overlap = 0.0, 0.0, 1e-6, 2.0
    (objects,) = model.answer(image, ["bird"], "instances_by_token").entries
    assert len(objects.masks) == 16
    assert objects.scores[0] < objects.score
    assert list(objects.scores) == sorted(objects.scores, reverse=True)


def test_both_kinds_of_queries_are_answered():
    model = assistant()
    model.presence_threshold, model.object_threshold, model.mask_threshold = 0.0, 0.0, 1e-6
    model.object_overlap = 2.0  # untrained masks are alike
    _, image = batch_of(model)
    (objects,) = model.answer(image, ["bird"], "instances").entries
    (whole,) = model.answer(image, ["bird"], "categories").entries
    assert (len(objects.masks), objects.apart, whole.apart) == (3, True, False)
    assert max(objects.scores) < objects.score
