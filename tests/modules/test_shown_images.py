"""Several images that are shown together: every one is read, in order, and masks belong to the one that is named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.image_prompts import prompt_ids
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import QueryError, RecordError
from lasagna.modules.language_models.text_processor import TokenizerTextProcessor
from tests.modules.test_assistant import complex_dialogue, picture

NAMES = ("sky", "road", "sea")


def scores(assistant, images, **settings):
    return [entry.score for entry in assistant.answer(images, NAMES, **settings).entries]


def test_every_image_and_their_order_count(assistant):
    first, second = picture(seed=1), picture(seed=2)
    alone, pair = scores(assistant, second), scores(assistant, [first, second])
    assert scores(assistant, [second]) == alone
    assert pair != alone
    assert scores(assistant, [second, first]) != pair
    assert scores(assistant, [picture(seed=3), second]) != pair
    assert assistant.chat([first, second]).ask(NAMES, "categories").answer.entries[0].score == pytest.approx(pair[0])


def test_masks_belong_to_the_last_image_unless_another_is_named(assistant, monkeypatch):
    monkeypatch.setattr(assistant, "presence_threshold", 0.0)
    shown = [picture((40, 56), 1), picture((24, 32), 2), picture((48, 20), 3)]
    for masks_on, place in ((-1, 2), (0, 0), (1, 1)):
        query = Query(0, "categories", NAMES)
        [answer] = assistant.answers(shown, [query], masks_on=masks_on)
        encoded, geometry = assistant.encode_image(shown[place])
        assert answer.entries[0].mask.shape == shown[place].shape[:2] == geometry.original
        together, _ = assistant.encode_image(shown, masks_on)
        torch.testing.assert_close(together.features[0], encoded.features[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(RecordError, match="image: `masks_on` is 3, expected -3 to 2 for 3 images"):
        assistant.answers(shown, [query], masks_on=3)
    with pytest.raises(RecordError, match=r"image: expected an array uint8 \[H, W, 3\], got str"):
        assistant.answer(["a.png", "b.png"], NAMES)


def test_a_batch_of_single_and_several_images_is_what_each_is_by_itself(assistant):
    several = [picture((30, 30), 5), picture((20, 40), 6)]
    made = [
        prepare_sample(picture(seed=seed), [complex_dialogue()], assistant.processors, others=others, masks_on=masks_on)
        for seed, others, masks_on in ((0, [], -1), (1, several, 1), (2, several[:1], -1))
    ]
    whole = assistant(collate(made, assistant.processors))
    apart = [assistant(collate([one], assistant.processors)) for one in made]
    torch.testing.assert_close(whole.token_logits, torch.cat([one.token_logits for one in apart]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.mask_logits, torch.cat([one.mask_logits for one in apart]), atol=1e-4, rtol=1e-4)
    batch = collate(made, assistant.processors)
    assert batch.shown.tolist() == [[0, 0, 0], [3, 1, 4], [5, 2, 0]]
    assert [sample.images for sample in batch.samples] == [1, 3, 2]
    assert len(batch.pixels) == 6
    assert len(batch.geometries) == 3
    assert collate(made[:1], assistant.processors).shown is None


@dataclass(frozen=True)
class OneImage(TokenizerTextProcessor):
    """Takes only the first image of a prompt."""

    def prompt_ids(self, text):
        before, token, after = text.partition(self.image_token)
        return super().prompt_ids(before + token + after.replace(self.image_token, ""))


def test_what_takes_one_image_says_so(assistant):
    text, form = assistant.processors.text, assistant.format
    limited = OneImage(**{name: getattr(text, name) for name in OneImage.__dataclass_fields__})
    ask = {"kind": "categories", "names": NAMES}
    with pytest.raises(QueryError, match="images: the text processor OneImage takes one image, got 2"):
        prompt_ids(limited, form, **ask, images=2)
    with pytest.raises(QueryError, match="images: the prompt format takes one image, got 2; set its `image_separator`"):
        prompt_ids(text, replace(form, image_separator=None), **ask, images=2)
    assert np.array_equal(prompt_ids(limited, form, **ask), prompt_ids(text, form, **ask))
