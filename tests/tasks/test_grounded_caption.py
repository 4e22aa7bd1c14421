"""Captions of records become words with masks among them, and are scored by their masks and their words."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_formats import PAPER
from lasagna.core.query_kind import GROUNDED_CAPTION
from lasagna.core.record import Caption, CaptionPhrase
from lasagna.datamodules import prepare_sample
from lasagna.tasks import GroundedCaption
from lasagna.tasks.evaluation.predictions import to_json
from lasagna.tasks.evaluation.scoring import quality, rows_of
from lasagna.tasks.visualization.answer import truth_entries
from tests.helpers.assistants import dictate, random_assistant
from tests.helpers.made_records import mask, record

BOAT, BIRDS, SEA = mask("##..", "...."), (mask("...#", "...."), mask("....", "...#")), mask("....", "##..")
TEXT = "a red boat and two birds on the sea"
CAPTION = Caption(
    TEXT, (CaptionPhrase((0, 10), (BOAT,)), CaptionPhrase((15, 24), BIRDS), CaptionPhrase((32, 35), (SEA,)))
)


def asked(item, captions=1):
    return GroundedCaption(captions).dialogues(item, np.random.default_rng(0))


def claimed(*phrases, words="", faults=()):
    entries = (AnsweredEntry(name, True, 0.9, pixels.decode(), 0.8, span=(0, len(name))) for name, pixels in phrases)
    return Answer("", tuple(entries), faults, words=words)


def scores(*answers):
    [dialogue] = asked(record(captions=(CAPTION,)))
    metrics = GroundedCaption().metrics(())
    for answer in answers:
        for metric in metrics.values():
            metric.update(dialogue, answer)
    return {key: float(value) for key, value in metrics.compute().items()}


def test_phrases_have_the_union_of_their_masks_and_ignored_ones_none():
    [dialogue] = asked(record(captions=(CAPTION,)))
    assert (dialogue.kind, dialogue.query, dialogue.text) == (GROUNDED_CAPTION, ("the picture",), TEXT)
    assert [(entry.name, entry.mask.decode().sum()) for entry in dialogue.entries] == [
        ("a red boat", 2),
        ("two birds", 2),
        ("sea", 2),
    ]
    assert PAPER.answer(dialogue) == ("<p>a red boat</p> <SEG> and <p>two birds</p> <SEG> on the <p>sea</p> <SEG>")
    [partly] = asked(record(captions=(CAPTION,), ignore=mask("##..", "...#")))
    assert [entry.name for entry in partly.entries] == ["two birds", "sea"]
    assert asked(record()) == []
    both = (CAPTION, Caption("nothing to see"))
    assert [len(found.entries) for found in asked(record(captions=both), captions=2)] == [3, 0]


def test_a_perfect_answer_and_an_empty_one():
    [dialogue] = asked(record(captions=(CAPTION,)))
    truth = [(entry.name, entry.mask) for entry in dialogue.entries]
    best, worst = scores(claimed(*truth, words=TEXT)), scores(claimed())
    keys = ["mask_recall/lasagna-v1", "ap50/glamm", "ap/glamm", "matched_iou/glamm", "bleu/lasagna-v1"]
    assert [best[key] for key in keys] == pytest.approx([1, 1, 1, 1, 1])
    assert [worst[key] for key in keys] == [0, 0, 0, 0, 0]
    assert (quality(dialogue, claimed(*truth)), quality(dialogue, claimed())) == (1, 0)


def test_masks_are_matched_one_to_one_and_recall_asks_for_the_words():
    half = mask("#...", "....")
    found = scores(claimed(("the red boat", BOAT), ("a boat", half), ("a dog", SEA), words="a red boat and sea"))
    assert found["mask_recall/lasagna-v1"] == pytest.approx(1 / 3)
    assert found["matched_iou/glamm"] == 1  # GLaMM's rule: pairs count whatever their phrases say, others do not
    assert 0 < found["bleu/lasagna-v1"] < 1
    [dialogue] = asked(record(captions=(CAPTION,)))
    assert quality(dialogue, claimed(("a boat", half), ("a boat", BOAT), ("sea", SEA))) == pytest.approx(2 / 3)
    assert scores(claimed(("boat", half), words="a boat"))["matched_iou/glamm"] == 0.5


def test_metrics_begin_again():
    metrics = GroundedCaption().metrics(())
    [dialogue] = asked(record(captions=(CAPTION,)))
    for metric in metrics.values():
        metric.update(dialogue, claimed(words=TEXT))
    metrics.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert all(torch.isnan(value) for value in metrics.compute().values())


def test_a_caption_is_learned_answered_and_stored(monkeypatch):
    assistant = random_assistant()
    image = np.zeros((20, 24, 3), np.uint8)
    boat = mask(*["#" * 24] * 20)
    entries = (Entry("a red boat", True, boat, span=(0, 10)), Entry("sea", True, boat, span=(18, 21)))
    dialogue = Dialogue(GROUNDED_CAPTION, ("the picture",), entries, text="a red boat on the sea")
    text = assistant.processors.text
    [row] = prepare_sample(image, [dialogue], assistant.processors).rows
    learned = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label >= 0]
    assert text.text(learned) == "[ a red boat ] <SEG> on the [ sea ] <SEG>"
    assert [text.text([row.input_ids[place]]) for place in row.mask_positions] == ["<SEG>", "<SEG>"]

    dictate(monkeypatch, assistant.language_model, learned)
    turn = assistant.chat(image).ask("the picture", GROUNDED_CAPTION)
    answer = turn.answer
    assert (answer.words, answer.faults) == ("a red boat on the sea", ())
    assert [(entry.name, entry.span, entry.mask.shape) for entry in answer.entries] == [
        ("a red boat", (0, 10), (20, 24)),
        ("sea", (18, 21), (20, 24)),
    ]
    stored = {"kind": "grounded_caption", "query": ["the picture"], "answers": {"ordered": to_json(answer)}}
    line = json.loads(json.dumps({"size": [20, 24], "dialogues": [stored]}))
    run = SimpleNamespace(name="captions", decodings=("ordered",))
    sample = SimpleNamespace(record=SimpleNamespace(key="one", size=(20, 24)), dialogues=(dialogue,))
    [(_, answers)] = rows_of(run, sample, line, Path("here"))
    back = answers["ordered"]
    assert (back.words, [entry.span for entry in back.entries]) == (answer.words, [(0, 10), (18, 21)])
    assert [(entry.name, entry.span) for entry in truth_entries(dialogue)] == [
        ("a red boat", (0, 10)),
        ("sea", (18, 21)),
    ]
