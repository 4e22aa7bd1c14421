"""Queries with points, boxes and masks, answered by an assistant with SAM's mask head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import SamImageProcessor, SamProcessor

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Query
from lasagna.core.geometry import restore_logits
from lasagna.core.query_kind import INSTANCES_BY_TOKEN
from lasagna.core.visual_prompt import VisualPrompt
from lasagna.errors import QueryError
from lasagna.modules.decoding.chat import ChatTurn
from tests.helpers.assistants import dictate, random_assistant
from tests.helpers.parts import sam_assistant
from tests.helpers.sam_model import SIDE, sam_model, sam_state

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
CLICK = VisualPrompt([(10, 20), (40, 5, "negative")])


@pytest.fixture(scope="module")
def assistant():
    return sam_assistant()


def drawn(assistant, words, visual):
    """Return the mask that the head draws, by hand."""
    encoded, geometry = assistant.encode_image(IMAGE)
    fitted = visual.fit(geometry)
    with torch.no_grad():
        logits = torch.stack([assistant.mask_head.draw(encoded.features, words, one) for one in fitted]).amax(0)
    return restore_logits(logits[None], geometry)[0].numpy() >= 0


def test_a_query_with_clicks_is_answered_by_its_words_and_them(assistant):
    boxes = replace(CLICK, boxes=[(5, 5, 20, 20), (20, 10, 30, 30)])
    queries = [Query(0, "referring", ("the dog",), visual) for visual in (None, CLICK, boxes)]
    plain, clicked, boxed = assistant.answers(IMAGE, queries, "teacher_forced")
    [alone] = assistant.answers(IMAGE, queries[:1], "teacher_forced")
    assert np.array_equal(plain.entries[0].mask, alone.entries[0].mask)
    encoded, _ = assistant.encode_image(IMAGE)
    [decoded] = assistant.decoder.decode(encoded.image_vectors, queries[:1], "teacher_forced")
    with torch.no_grad():
        [words] = assistant.prompt_projection(decoded.mask_states)
    for answer, visual in ((clicked, CLICK), (boxed, boxes)):
        assert np.array_equal(answer.entries[0].mask, drawn(assistant, words, visual))
        assert not np.array_equal(answer.entries[0].mask, plain.entries[0].mask)


def test_what_is_pointed_at_is_present_whatever_its_score(assistant, monkeypatch):
    monkeypatch.setattr(assistant, "presence_threshold", 1.0)
    plain = assistant.answer(IMAGE, ["dog"]).entries[0]
    pointed = assistant.answer(IMAGE, ["dog"], visual=CLICK)
    assert (plain.present, pointed.entries[0].present) == (False, True)
    assert pointed.entries[0].score == pytest.approx(plain.score)
    assert assistant.format.present_token in pointed.text


def test_a_named_mask_is_mended_by_clicks_one_after_the_other(assistant, monkeypatch):
    monkeypatch.setattr(assistant, "presence_threshold", 0.0)
    chat = assistant.chat(IMAGE)
    first = chat.ask(["dog", "sun"], kind="categories")
    once = chat.mend([(10, 20)], name="dog")
    dog, sun = once.answer.entries
    assert np.array_equal(dog.mask, drawn(assistant, None, VisualPrompt([(10, 20)], mask=first.answer.entries[0].mask)))
    assert sun is first.answer.entries[1]
    assert (once.kind, once.names, once.answer.text) == (first.kind, first.names, first.answer.text)
    twice = chat.mend([(40, 5, "negative")], np.array([[5, 5, 20, 20]]), name="dog")
    both = VisualPrompt([(10, 20), (40, 5, "negative")], [(5, 5, 20, 20)], dog.probability)
    assert np.array_equal(twice.answer.entries[0].mask, drawn(assistant, None, both))
    assert chat.turns == [first, once, twice]


def test_clicks_alone_give_the_masks_of_transformers_from_the_image_on(tmp_path):
    pad_size = {"height": SIDE, "width": SIDE}
    model, processor = sam_model(), SamProcessor(SamImageProcessor(size={"longest_edge": SIDE}, pad_size=pad_size))
    torch.save(sam_state(model), tmp_path / "sam.pth")
    chat = sam_assistant(str(tmp_path / "sam.pth")).chat(IMAGE)
    points, box = [[[10, 20], [40, 5]]], [[[5.0, 5.0, 45.0, 30.0]]]
    given = processor(IMAGE, input_points=points, input_labels=[[1, 0]], input_boxes=box, return_tensors="pt")
    prompts = {name: given[name].float() for name in ("input_points", "input_boxes")}
    with torch.no_grad():
        found = model(
            image_embeddings=chat.encoded.features[0],
            input_labels=given["input_labels"],
            multimask_output=False,
            **prompts,
        )
    sized = given["original_sizes"], given["reshaped_input_sizes"]
    [expected] = processor.image_processor.post_process_masks(found.pred_masks, *sized, pad_size=pad_size)
    turn = chat.segment(VisualPrompt([(10, 20), (40, 5, "negative")], [(5, 5, 40, 25)]))
    mask = turn.answer.entries[0].mask
    assert 0.02 < mask.mean() < 0.98
    assert (mask != expected[0, 0].numpy()).mean() < 0.002


def test_clicks_alone_need_no_words(assistant):
    chat = assistant.chat(IMAGE)
    turn = chat.segment(CLICK, "it")
    assert np.array_equal(turn.answer.entries[0].mask, drawn(assistant, None, CLICK))
    assert chat.mend([(3, 3)]).visual["it"].points == (*CLICK.points, (3.0, 3.0, "positive"))


@pytest.mark.parametrize(
    ("kind", "names", "visual", "message"),
    [
        ("categories", ["dog", "sun"], CLICK, "are for one thing with a mask; the query is for 2 names"),
        ("instances_by_token", ["dog"], CLICK, "the query is for objects one by one"),
        ("grounded_caption", ["the picture"], CLICK, "the query is for a caption, which shows several things"),
        ("question", ["what is it"], CLICK, "the query is for a question, which has no mask"),
        ("referring", ["dog"], VisualPrompt([(50, 3)]), r"points: \(50, 3\) lies outside the image"),
    ],
)
def test_what_cannot_be_pointed_at(assistant, monkeypatch, kind, names, visual, message):
    monkeypatch.setattr(assistant, "encode_image", None)  # before anything is computed
    with pytest.raises(QueryError, match=message):
        assistant.answer(IMAGE, names, kind, visual=visual)


def test_a_mended_phrase_of_a_caption_keeps_its_place_in_the_words(assistant, monkeypatch):
    chat = assistant.chat(IMAGE)
    words = "a [ dog ] <SEG> on the [ road ] <SEG>"
    dictate(monkeypatch, assistant.language_model, assistant.processors.text.answer_ids(words))
    said = chat.ask("the picture", kind="grounded_caption").answer
    mended = chat.mend([(10, 20)], name="road").answer
    assert [entry.span for entry in mended.entries] == [entry.span for entry in said.entries] == [(2, 5), (13, 17)]
    assert (mended.words, mended.entries[0]) == ("a dog on the road", said.entries[0])


def test_of_two_equal_phrases_either_can_be_mended(assistant, monkeypatch):
    chat = assistant.chat(IMAGE)
    words = "a [ dog ] <SEG> on the [ dog ] <SEG>"
    dictate(monkeypatch, assistant.language_model, assistant.processors.text.answer_ids(words))
    first, second = chat.ask("the picture", kind="grounded_caption").answer.entries
    for name in ("dog", None):
        with pytest.raises(
            QueryError, match=r"2 entries called \['dog', 'dog'\]; say which by .* from 0 to 1, .* which=0"
        ):
            chat.mend([(10, 20)], name=name)
    with pytest.raises(QueryError, match="which: got 2, but the last answer has 2 entries"):
        chat.mend([(10, 20)], name="dog", which=2)
    turn = chat.mend([(10, 20)], name="dog", which=1)
    assert turn.answer.entries[0] == first
    assert (turn.answer.entries[1].span, turn.answer.entries[1] is second) == (second.span, False)
    again = chat.mend([(30, 5)], name="dog", which=1)
    assert len(again.visual["dog#1"].points) == 2
    other = chat.mend([(30, 5)], which=0)
    assert (len(other.visual["dog"].points), other.answer.entries[1]) == (1, again.answer.entries[1])


def test_what_cannot_be_mended(assistant, monkeypatch):
    chat = assistant.chat(IMAGE)
    with pytest.raises(QueryError, match="there is no mask to mend yet; ask for a thing first"):
        chat.mend([(1, 1)])
    chat.ask(["dog", "sun"], kind="categories")
    with pytest.raises(QueryError, match=r"name: 'cat' is not one entry of the last answer; give one of \['dog', 'su"):
        chat.mend([(1, 1)], name="cat")
    left, right = np.arange(50) < [[20]] * 40, np.arange(50) > [[30]] * 40
    dogs = AnsweredEntry("dog", True, 0.9, masks=(left, right), scores=(0.8, 0.7))
    monkeypatch.setattr(chat, "turns", [ChatTurn(INSTANCES_BY_TOKEN, ("dog",), Answer("", (dogs,)))])
    with pytest.raises(QueryError, match=r"'dog' has 2 masks.*segment\(VisualPrompt\(points, mask=entry.masks\[0\]\)"):
        chat.mend([(1, 1)])
    with pytest.raises(QueryError, match="point at what is wrong with the mask"):
        chat.mend(name="dog")
    with pytest.raises(QueryError, match="points: expected a list of"):
        chat.segment(VisualPrompt((1, 1)))


def test_a_head_that_takes_no_points_says_so():
    with pytest.raises(QueryError, match="TinyMaskHead takes no points, boxes or masks; leave them out, or ask an ass"):
        random_assistant().answer(IMAGE, ["dog"], visual=CLICK)
