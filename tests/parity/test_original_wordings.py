"""Every dialogue that the original's data code made is written by the format "released", and read back."""

from __future__ import annotations

import json
from itertools import chain, product

import pytest

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_formats import RELEASED
from lasagna.datamodules.converters.llava_instruct import LlavaInstruct

pytestmark = pytest.mark.shared
WORDINGS = tuple(
    product(range(1 + max(map(len, RELEASED.further_prompts.values()))), range(len(RELEASED.single_answers)))
)


@pytest.fixture(scope="module")
def grammar(shared):
    file = shared / "golden" / "data" / "grammar.json"
    if not file.is_file():
        pytest.skip("there are no golden dialogues of the original code in shared/golden")
    return json.loads(file.read_text(encoding="utf-8"))


def conversation(dialogue, wording=(0, 0)):
    """A dialogue as the original writes one down."""
    rounds = [(RELEASED.prompt(dialogue.kind, dialogue.query, wording[0]), RELEASED.answer(worded(dialogue, wording)))]
    rounds += map(RELEASED.later, dialogue.later)
    return "".join(f"{prompt} {answer}</s>" for prompt, answer in rounds)


def worded(dialogue, wording):
    return Dialogue(dialogue.kind, dialogue.query, dialogue.entries, dialogue.text, wording=wording)


def check(written, dialogues):
    """One of the dialogues, in some wording, is written like this, and is read back without a fault."""
    found = [(one, wording) for one in dialogues for wording in WORDINGS if conversation(one, wording) == written]
    assert found, written
    dialogue, wording = found[0]
    if dialogue.kind == "question":
        return
    order = [entry.name for entry in dialogue.entries]
    entries, faults = RELEASED.parse(dialogue.kind, order, RELEASED.answer(worded(dialogue, wording)))
    assert faults == ()
    assert [(entry.name, entry.present) for entry in entries] == [(one.name, one.present) for one in dialogue.entries]


def single(kind, text, words=""):
    return Dialogue(kind, (text,), (Entry(text, True),), words)


def test_complex_dialogues(grammar):
    for record in grammar["semantic"]:
        names = record["question"].partition("<cat_start> ")[2].removesuffix(" <cat_end>").split(", ")
        parts = record["answer"].replace("<no_ins>", "<no_ins>\n").replace("<ins>", "<ins>\n").split("\n")[:-1]
        entries = tuple(Entry(part.partition("<")[0], part.endswith("<ins>")) for part in parts)
        assert {entry.name for entry in entries if entry.present} == set(record["positive_classes"])
        check(record["conversation"], [Dialogue("categories", tuple(names), entries)])


def test_referring_dialogues(grammar):
    for record in grammar["referring"]["records"]:
        for sentence, written in zip(record["sampled_sentences"], record["conversations"], strict=True):
            check(written, [single("referring", sentence.lower())])  # the original writes phrases small
    for written in chain.from_iterable(record["conversations"] for record in grammar["validation"]):
        phrase = written.partition("What is ")[2].partition(" in this image?")[0]
        assert conversation(single("referring", phrase)) == written


def test_reasoning_dialogues(grammar):
    [told] = grammar["reasoning"]["explanatory"]
    asked = [(source["text"][0], source["is_sentence"]) for source in grammar["reasoning"]["source"]]
    possible = [single("reasoning" if whole else "referring", text if whole else text.lower()) for text, whole in asked]
    possible += [
        single("reasoning_with_explanation", told["query"], told["outputs"]),
        Dialogue("question", (told["query"],), text=told["outputs"]),
    ]
    for record in grammar["reasoning"]["records"]:
        [written] = record["conversations"]
        check(written, possible)


def test_talks(grammar, tmp_path):
    (tmp_path / "llava.json").write_text(json.dumps(grammar["vqa"]["source"]), encoding="utf-8")
    [split] = LlavaInstruct(tmp_path / "llava.json", tmp_path).splits().values()
    talks = [conversation.turns for conversation in split.items]
    possible = [Dialogue("question", (first.question,), text=first.answer, later=later) for first, *later in talks]
    for record in grammar["vqa"]["records"]:
        check(record["conversation"], possible)
