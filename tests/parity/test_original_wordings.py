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


MADE = {
    # what only some of the original's data sets hold: capitals, and questions that are sentences
    "semantic": [
        {
            "conversation": (
                "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
                "detailed, and polite answers to the human's questions. USER: <image>\n<semantic>Segment this image."
                "<cat_start> toilet paper, human eye <cat_end> ASSISTANT: human eye<ins>toilet paper<no_ins></s>"
            ),
            "question": "<image>\n<semantic>Segment this image.<cat_start> toilet paper, human eye <cat_end>",
            "answer": "human eye<ins>toilet paper<no_ins>",
            "positive_classes": ["Human eye"],
        }
    ],
    "validation": [
        {
            "conversations": [
                "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
                "detailed, and polite answers to the human's questions. USER: <image>\n Where can one sit? "
                "Please output segmentation mask. ASSISTANT: <ins>.</s>"
            ]
        }
    ],
}
"""Records in the form of the original's."""


@pytest.fixture(scope="module")
def stored(shared):
    file = shared / "golden" / "data" / "grammar.json"
    if not file.is_file():
        pytest.skip("the original's dialogues are not in this copy of shared/golden")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(params=["stored", "made"])
def grammar(request):
    return MADE if request.param == "made" else request.getfixturevalue("stored")


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
    assert grammar["semantic"]
    for record in grammar["semantic"]:
        names = record["question"].partition("<cat_start> ")[2].removesuffix(" <cat_end>").split(", ")
        parts = record["answer"].replace("<no_ins>", "<no_ins>\n").replace("<ins>", "<ins>\n").split("\n")[:-1]
        entries = tuple(Entry(part.partition("<")[0], part.endswith("<ins>")) for part in parts)
        # the original writes names small, as its data sets do not all
        present = {name.lower() for name in record["positive_classes"]}
        assert {entry.name for entry in entries if entry.present} == present
        check(record["conversation"], [Dialogue("categories", tuple(names), entries)])


def test_referring_dialogues(stored):
    assert any(record["conversations"] for record in stored["referring"]["records"])
    for record in stored["referring"]["records"]:
        for sentence, written in zip(record["sampled_sentences"], record["conversations"], strict=True):
            check(written, [single("referring", sentence.strip().lower())])  # the original writes phrases small


def test_dialogues_of_the_validation(grammar):
    dialogues = list(chain.from_iterable(record["conversations"] for record in grammar["validation"]))
    assert dialogues
    for written in dialogues:
        asked = written.partition("<image>\n ")[2].partition(" Please output segmentation mask.")[0]
        phrase = asked.removeprefix("What is ").removesuffix(" in this image?")
        kind = "referring" if asked == f"What is {phrase} in this image?" else "reasoning"
        assert conversation(single(kind, phrase if kind == "referring" else asked)) == written


def test_reasoning_dialogues(stored):
    [told] = stored["reasoning"]["explanatory"]
    asked = [(source["text"][0], source["is_sentence"]) for source in stored["reasoning"]["source"]]
    possible = [single("reasoning" if whole else "referring", text if whole else text.lower()) for text, whole in asked]
    possible += [
        single("reasoning_with_explanation", told["query"], told["outputs"]),
        Dialogue("question", (told["query"],), text=told["outputs"]),
    ]
    assert stored["reasoning"]["records"]
    for record in stored["reasoning"]["records"]:
        [written] = record["conversations"]
        check(written, possible)


def test_conversations(stored, tmp_path):
    (tmp_path / "llava.json").write_text(json.dumps(stored["vqa"]["source"]), encoding="utf-8")
    [split] = LlavaInstruct(tmp_path / "llava.json", tmp_path).splits().values()
    talks = [conversation.turns for conversation in split.items]
    possible = [Dialogue("question", (first.question,), text=first.answer, later=later) for first, *later in talks]
    assert stored["vqa"]["records"]
    for record in stored["vqa"]["records"]:
        check(record["conversation"], possible)
