"""The presence head learns from the names that answers decide on, at their places in the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lasagna.core.batch import StepCounts
from lasagna.core.config import build, config_of
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import ConfigError
from lasagna.modules import (
    Assistant,
    PresenceHead,
    SegmentationLoss,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from tests.helpers.assistants import places_of, presence_head, random_assistant

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
MASK = RLEMask.from_array(np.ones((40, 50), bool))
DIALOGUES = [
    Dialogue(
        "categories", ("sun", "dog", "house", "tree"), (Entry("dog", False), Entry("tree", True, MASK)), wording=(1, 0)
    ),
    Dialogue("question", ("what is it",), text="a dog"),
    Dialogue("referring", ("the red ball",), (Entry("the red ball", True, MASK),)),
    Dialogue("grounded_caption", ("the picture",), (Entry("dog", True, MASK, span=(2, 5)),), text="a dog"),
    Dialogue("instances_by_token", ("dog", "sun"), (Entry("dog", True, MASK, (MASK,)), Entry("sun", False))),
]
DECIDED = [[None, False, None, True], [None], [True], [None], [True, False]]
"""Whether each name is present; none where an answer says nothing about it."""


def batch_of(assistant, *dialogues):
    samples = [
        prepare_sample(IMAGE, [dialogue], assistant.processors, source="s", key=str(rank))
        for rank, dialogue in enumerate(dialogues)
    ]
    return collate(samples, assistant.processors)


@pytest.fixture
def assistant():
    made = random_assistant(scale=2.0)
    made.presence_head = presence_head(128)
    return made


def test_names_are_decided_on_where_the_rows_have_them(assistant):
    batch = batch_of(assistant, *DIALOGUES)
    output, text = assistant(batch), assistant.processors.text
    assert [list(dialogue.decisions) for dialogue in DIALOGUES] == DECIDED
    assert batch.decided_names == len(output.presence.logits) == 5
    assert output.presence.present.tolist() == [False, True, True, True, False]
    wanted = []
    for row, (dialogue, known) in enumerate(zip(DIALOGUES, DECIDED, strict=True)):
        alone = batch_of(assistant, dialogue)  # a row without padding
        vectors = assistant.encode(alone.pixels).image_vectors
        model = assistant.language_model
        length = alone.input_ids.shape[1]
        hidden = model(model.embed(alone.input_ids, vectors), alone.attention_mask, torch.arange(length)[None])[0]
        places = [] if set(known) == {None} else places_of(text, alone.input_ids[0].tolist(), dialogue.query)
        wanted += [hidden[place] for place, one in zip(places, known, strict=False) if one is not None]
        assert batch.input_ids[row, :length].equal(alone.input_ids[0])
    logits = assistant.presence_head(torch.stack(wanted))
    torch.testing.assert_close(output.presence.logits, logits, atol=1e-3, rtol=1e-3)


def test_the_loss_is_a_mean_over_names_and_reaches_the_head(assistant):
    batch = batch_of(assistant, *DIALOGUES)
    output = assistant(batch)
    losses = SegmentationLoss(ce=0, bce=0, dice=0, presence=3.0)(output, batch)
    expected = binary_cross_entropy_with_logits(output.presence.logits, output.presence.present.float())
    torch.testing.assert_close(losses["presence"], expected)
    torch.testing.assert_close(losses["loss"], 3 * expected)
    losses["loss"].backward()
    reached = assistant.language_model.llama.model.layers[0].self_attn.q_proj.weight
    assert all(value.grad.any() for value in assistant.presence_head.parameters()) and reached.grad.any()
    whole = assistant.presence_head.layers[0].weight.grad.clone()
    # two batches of one step, of which the first has 4 of 5 names
    assistant.zero_grad()
    for part in (DIALOGUES[:4], DIALOGUES[4:]):
        batch = batch_of(assistant, *part)
        batch.step = StepCounts(tokens=9, masks=9, divisor=2, names=5)
        (SegmentationLoss(ce=0, bce=0, dice=0, presence=3.0)(assistant(batch), batch)["loss"] / 2).backward()
    torch.testing.assert_close(assistant.presence_head.layers[0].weight.grad, whole, atol=1e-4, rtol=1e-3)


def test_a_detached_head_learns_alone(assistant):
    assistant.presence_head.detached = True
    batch = batch_of(assistant, DIALOGUES[0])
    SegmentationLoss(ce=0, bce=0, dice=0)(assistant(batch), batch)["presence"].backward()
    reached = [name for name, value in assistant.named_parameters() if value.grad is not None]
    assert reached and all(name.startswith("presence_head.") for name in reached)


def test_batches_without_decisions_have_a_gradient_of_zeros(assistant):
    batch = batch_of(assistant, DIALOGUES[1], DIALOGUES[3])
    losses = SegmentationLoss()(assistant(batch), batch)
    assert losses["presence"] == 0
    losses["loss"].backward()
    assert all(value.grad is not None and not value.grad.any() for value in assistant.presence_head.parameters())


def test_other_weights_are_the_same_with_a_head_and_losses_without_one_are():
    def made(**more):
        parts = TinyVisionEncoder((32, 32), weights="random"), TinyLanguageModel(weights="random"), TinyMaskHead()
        torch.manual_seed(0)
        assistant = Assistant(*parts, "tiny", **more)
        assistant.configure_model()
        return assistant

    plain, with_head = made(), made(presence_head=PresenceHead(width=8))
    theirs = with_head.state_dict()
    own = {name for name in theirs if name.startswith("presence_head.")}
    assert theirs["presence_head.layers.0.weight"].shape == (8, 128)
    assert theirs.keys() - own == plain.state_dict().keys()
    assert all(torch.equal(value, theirs[name]) for name, value in plain.state_dict().items())
    again = build(config_of(with_head), Assistant)
    assert config_of(again.presence_head) == config_of(with_head.presence_head)
    batch = batch_of(plain, DIALOGUES[0])
    assert "presence" not in SegmentationLoss()(plain(batch), batch)
    with pytest.raises(ConfigError, match="width: expected a whole number of at least 1, got 0"):
        PresenceHead(width=0)
