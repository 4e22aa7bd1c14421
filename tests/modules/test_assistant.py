"""The assistant: what it computes for a batch, and that masks stay with their names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lasagna.core.batch import IGNORE_LABEL, Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import restore_logits
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_format import ParsedEntry
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.modules import Assistant
from lasagna.modules.decoding.answers import DecodedAnswer
from tests.helpers.assistants import dictate, random_assistant


def picture(size=(40, 56), seed=0):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def batch_of(assistant, dialogues):
    sample = prepare_sample(picture(), dialogues, assistant.processors, source="s", key="k", keep_image=False)
    return collate([sample], assistant.processors)


def disc(row, column, size=(40, 56)):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return RLEMask.from_array((rows - row) ** 2 + (columns - column) ** 2 < 60)


def complex_dialogue():
    entries = (Entry("sky", True, disc(10, 10)), Entry("road", False), Entry("sea", True, disc(30, 40)))
    return Dialogue("categories", ("sky", "road", "sea"), entries)


def test_forward_is_supervised_on_the_answer_only(assistant):
    batch = batch_of(assistant, [complex_dialogue()])
    output = assistant(batch)
    text = assistant.processors.text
    assert output.token_labels.tolist() == [*text.answer_ids("sky <SEG> road <NEG> sea <SEG>"), text.end_token_id]
    assert output.token_logits.shape == (len(output.token_labels), len(assistant.language_model.tokenizer))
    assert output.mask_logits.shape[0] == 2


def test_masks_are_prompted_by_the_state_that_predicts_their_token(assistant):
    """The same row without its last tokens gives the same first mask: nothing behind the token is looked at."""
    batch = batch_of(assistant, [complex_dialogue()])
    whole = assistant(batch).mask_logits[0]
    place = int(batch.mask_positions[0])
    batch.input_ids, batch.labels = batch.input_ids[:, :place], batch.labels[:, :place]
    batch.lengths = torch.tensor([place])
    batch.mask_rows, batch.mask_positions = batch.mask_rows[:1], batch.mask_positions[:1]
    torch.testing.assert_close(assistant(batch).mask_logits[0], whole, atol=1e-4, rtol=1e-4)


def test_question_alone_has_no_mask_and_trains(assistant):
    batch = batch_of(assistant, [Dialogue("question", ("how many balls are there",), text="two")])
    output = assistant(batch)
    assert len(output.mask_logits) == 0
    assert output.token_labels.tolist()[-1] == assistant.processors.text.end_token_id


def test_rows_of_one_batch_do_not_touch_each_other(assistant):
    dialogues = [complex_dialogue(), Dialogue("question", ("is there sea",), text="yes")]
    together = assistant(batch_of(assistant, dialogues))
    alone = [assistant(batch_of(assistant, [dialogue])) for dialogue in dialogues]
    joined = torch.cat([output.token_logits for output in alone])
    torch.testing.assert_close(together.token_logits, joined, atol=1e-3, rtol=1e-3)


def test_answer_has_one_entry_a_name_in_order_and_masks_of_the_image_size(assistant):
    image = picture((50, 30))
    answer = assistant.answer(image, ["sun", "dog", "brick wall", "sea"])
    assert [entry.name for entry in answer.entries] == ["sun", "dog", "brick wall", "sea"]
    assert answer.faults == ()
    for entry in answer.entries:
        assert entry.present == (entry.score >= 0.5) == (entry.mask is not None)
        assert entry.mask is None or entry.mask.shape == (50, 30)


@pytest.mark.parametrize("kind", ["categories", "referring"])
def test_names_with_an_empty_mask_can_be_called_absent(assistant, monkeypatch, kind):
    monkeypatch.setattr(assistant, "mask_threshold", 1.0)
    monkeypatch.setattr(assistant, "presence_threshold", 0.0)
    plain = assistant.answer(picture(), ["sun"], kind)
    monkeypatch.setattr(assistant, "empty_masks", "absent")
    strict = assistant.answer(picture(), ["sun"], kind)
    assert [(one.present, one.empty) for answer in (plain, strict) for one in answer.entries] == [
        (True, True),
        (False, False),
    ]
    assert strict.entries[0].mask is None
    assert (strict.text, strict.entries[0].score) == (plain.text, plain.entries[0].score)


def test_empty_masks_are_called_one_of_two(assistant):
    with pytest.raises(ConfigError, match="empty_masks: expected 'present' or 'absent', got 'gone'"):
        Assistant(assistant.vision_encoder, assistant.language_model, assistant.mask_head, empty_masks="gone")


def test_a_limit_of_tokens_is_a_count(assistant):
    parts = (assistant.vision_encoder, assistant.language_model, assistant.mask_head)
    for name in ("max_new_tokens", "longest_list"):
        with pytest.raises(ConfigError, match=f"{name}: expected a whole number of at least 1, got 0"):
            Assistant(*parts, **{name: 0})


def test_probabilities_come_on_request(assistant, monkeypatch):
    monkeypatch.setattr(assistant, "presence_threshold", 0.0)
    names = ["sun", "dog", "sea"]
    entries = assistant.answer(picture(), names, probabilities=True).entries
    for entry, plain in zip(entries, assistant.answer(picture(), names).entries, strict=True):
        assert plain.probability is None
        assert (entry.probability.dtype, entry.probability.shape) == (np.float16, entry.mask.shape)
        assert np.array_equal(entry.mask, entry.probability >= 0.5)
        if entry.mask.any():
            assert entry.probability[entry.mask].mean(dtype=float) == pytest.approx(entry.confidence, abs=1e-3)


def test_masks_follow_their_own_tokens_when_the_answer_is_faulty(assistant, monkeypatch):
    """An unknown name before a known one must not shift the masks."""
    encoded = assistant.encode(assistant.processors.image.pixels(picture())[None])
    geometry = assistant.processors.image.geometry((40, 56))
    hidden = torch.randn(3, 128, generator=torch.Generator().manual_seed(3))
    written = DecodedAnswer(
        "moon <SEG> sea <SEG> sky <NEG>",
        (ParsedEntry("sea", True, 1), ParsedEntry("sky", False, 2)),
        ("unknown", "order"),
        (True, True, False),
        torch.tensor([0.9, 0.8, 0.1]),
        hidden,
        3,
    )
    monkeypatch.setattr("lasagna.modules.assistant.Decoder.free", lambda *_, **__: [written])
    query = Query(0, "categories", ("sky", "sea"))
    answer = assistant.answer_batch(encoded, [geometry], [query], "free")[0]
    assert answer.faults == ("unknown", "order")
    assert [(entry.name, entry.present) for entry in answer.entries] == [("sea", True), ("sky", False)]
    prompt = assistant.prompt_projection(hidden[1:2])
    logits = assistant.mask_head(encoded.features, prompt, torch.tensor([0]))
    wanted = restore_logits(logits, geometry)[0].sigmoid() >= 0.5
    assert np.array_equal(answer.entries[0].mask, wanted.numpy())


def test_free_answers_to_phrases_have_room_for_every_wording_and_a_limit_of_their_own(monkeypatch):
    assistant = random_assistant(prompt_format="released")
    longest = max(assistant.format.single_answers, key=len).format(token="<ins>")
    written = assistant.processors.text.answer_ids(longest)
    dictate(monkeypatch, assistant.language_model, written)
    assert [entry.present for entry in assistant.answer(picture(), ["dog"], "referring", "free").entries] == [True]
    monkeypatch.setattr(assistant, "max_new_tokens", 3)
    for kind in ("referring", "question", "categories"):
        dictate(monkeypatch, assistant.language_model, written)
        text = assistant.answer(picture(), ["dog"], kind, "free").text
        assert text == assistant.processors.text.text(written[:3])


def test_tokens_that_only_look_like_decisions_are_none(monkeypatch):
    """Pieces of words can spell a decision token; the masks stay with the tokens themselves."""
    assistant = random_assistant(prompt_format="released")
    ids = assistant.language_model.tokenizer.convert_tokens_to_ids
    spelled = [ids(piece) for piece in ("<", "##i", "##n", "##s", "##>")]
    assert assistant.processors.text.text(spelled) == "<ins>"
    dog, cat = (assistant.processors.text.answer_ids(name) for name in ("dog", "cat"))
    dictate(monkeypatch, assistant.language_model, [*dog, *spelled, *cat, ids("<ins>")])
    answer = assistant.answer(picture(), ["dog", "cat"], decoding="free")
    assert answer.entries == ()
    assert answer.faults == ("unknown", "missing", "missing")
    dictate(monkeypatch, assistant.language_model, [*dog, *spelled, ids("<ins>"), *cat, ids("<ins>"), *spelled])
    answer = assistant.answer(picture(), ["dog", "cat"], decoding="free")
    assert [(entry.name, entry.present) for entry in answer.entries] == [("cat", True)]
    assert answer.entries[0].mask.shape == (40, 56)
    assert answer.faults == ("unknown", "missing", "trailing")


NAMES_THAT_CHANGE = ("t-shirt", "dog's bed", "U.S. flag", "stop_sign", "café", "犬", "猫", "Sky")


@pytest.mark.parametrize("prompt_format", ["tiny", "paper", "released"])
def test_names_survive_the_tokeniser_in_free_decoding(monkeypatch, prompt_format):
    assistant = random_assistant(prompt_format=prompt_format)
    text, present = assistant.processors.text, [len(name) % 2 == 0 for name in NAMES_THAT_CHANGE]
    perfect = assistant.format.render("categories", list(zip(NAMES_THAT_CHANGE, present, strict=True)))
    dictate(monkeypatch, assistant.language_model, text.answer_ids(perfect))
    answer = assistant.answer(picture(), NAMES_THAT_CHANGE, decoding="free")
    assert answer.faults == ()
    assert [(entry.name, entry.present) for entry in answer.entries] == list(
        zip(NAMES_THAT_CHANGE, present, strict=True)
    )


def test_what_the_language_model_reserves_is_refused(assistant):
    for kind, name in (("categories", "a <pad>"), ("categories", "<end>"), ("referring", "the <end> dog")):
        with pytest.raises(QueryError, match=r"<pad>|<end>"):
            assistant.answer(picture(), [name], kind)
        with pytest.raises(QueryError, match=r"<pad>|<end>"):
            batch_of(assistant, [Dialogue(kind, (name,), (Entry(name, False),))])
    for text in ("it is <SEG> here", "two<end>"):
        with pytest.raises(QueryError, match="answer:"):
            batch_of(assistant, [Dialogue("question", ("where is it",), text=text)])


@pytest.mark.parametrize(
    "image",
    [
        picture()[..., 0],
        np.dstack([picture(), picture()[..., :1]]),
        picture().astype(np.float32),
        picture()[:0],
        torch.zeros(40, 56, 3, dtype=torch.uint8),
        "picture.png",
    ],
    ids=["grey", "rgba", "float", "empty", "tensor", "path"],
)
def test_images_of_the_wrong_form_are_refused(assistant, image):
    with pytest.raises(RecordError, match=r"image: expected .*uint8 \[H, W, 3\]"):
        assistant.answer(image, ["sky"])


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        ("dog", {}, r"\['dog'\]"),
        (["dog"], {"kind": "foo"}, "kind: 'foo'"),
        (["dog", "cat"], {"kind": "referring"}, "one"),
        (["dog"], {"decoding": "greedy"}, "decoding: .*'greedy'"),
        ([3], {}, "3"),
    ],
)
def test_queries_of_the_wrong_form_are_refused(assistant, names, settings, message):
    with pytest.raises(QueryError, match=message):
        assistant.answer(picture(), names, **settings)


def test_no_queries_get_no_answers(assistant):
    assert assistant.answers(picture(), []) == []


@pytest.mark.parametrize("way", ["answer", "answers", "chat", "stream"])
def test_answers_in_evaluation_mode_and_returns_to_the_mode_before(way):
    assistant, query = random_assistant(3), Query(0, "categories", ("sky", "sea"))
    assistant.train()
    assistant.vision_encoder.eval()  # as a frozen part
    modes, seen = [module.training for module in assistant.modules()], set()
    parts = {"vision_encoder", "language_model", "mask_head", "prompt_projection"}
    for name in parts:
        part = getattr(assistant, name)
        part.register_forward_pre_hook(lambda part, _, name=name: seen.add((name, part.training)))
    if way in ("answer", "answers"):
        assistant.answers(picture(), [query]) if way == "answers" else assistant.answer(picture(), query.names)
    else:
        chat = assistant.chat(picture())
        pieces = chat.stream("what is it?") if way == "stream" else [chat.ask("what is it?").answer.text]
        for _ in pieces:
            assert [module.training for module in assistant.modules()] == modes
    # an answer to a question has no mask, but the head is still run
    assert seen >= {("vision_encoder", False), ("language_model", False)}
    assert not any(training for _, training in seen)
    assert [module.training for module in assistant.modules()] == modes


def test_building_twice_changes_nothing():
    assistant = random_assistant(4)
    before = {name: tensor.clone() for name, tensor in assistant.state_dict().items()}
    assistant.configure_model()
    assert all(torch.equal(before[name], tensor) for name, tensor in assistant.state_dict().items())


def test_labels_outside_the_answer_are_ignored(assistant):
    batch = batch_of(assistant, [complex_dialogue()])
    prompt = assistant.format.prompt("categories", ("sky", "road", "sea"))
    assert (batch.labels[0, : len(assistant.processors.text.prompt_ids(prompt))] == IGNORE_LABEL).all()


@pytest.mark.parametrize("part", ["vision_encoder", "mask_head"])
def test_parts_of_two_precisions_train_together(part):
    """A frozen encoder in half precision, beside a mask head in float32."""
    assistant = random_assistant()
    batch = batch_of(assistant, [complex_dialogue()])
    expected = assistant(batch)
    getattr(assistant, part).bfloat16()
    found = assistant(batch)
    torch.testing.assert_close(found.token_logits, expected.token_logits, atol=0.5, rtol=0.05)
    assert found.mask_logits.dtype == (torch.bfloat16 if part == "mask_head" else torch.float32)
    found.mask_logits.float().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in assistant.prompt_projection.parameters())
