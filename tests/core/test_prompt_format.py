import json
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_format import ParsedEntry, PromptFormat, normalise
from lasagna.core.prompt_formats import CHAT, PAPER, PROMPT_FORMATS, RELEASED, TINY
from lasagna.core.query_kind import INSTANCES_BY_TOKEN, QueryKind
from lasagna.errors import ConfigError, QueryError

FORMATS = sorted(PROMPT_FORMATS)
FEW = QueryKind("few", many=True, objects=True, tokens=2)
THEM = QueryKind("them", objects=True, tokens=4)
TRICKY = [
    ".",
    "-",
    "<",
    ">",
    "a.",
    ".a",
    "<SEG",
    "ins>",
    "<no_",
    "SEG>",
    "{query}",
    "\u200ba",
    "\ufeffx",
    "\u00a0b\u2003c",
    "İ",
    "ß",
    "é",
    "e\u0301x",
]

names = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(TRICKY), st.sampled_from(["sky", "red ball", "dog"]))
queries = st.lists(st.tuples(names, st.booleans()), min_size=1, max_size=6)
garbage = st.lists(
    st.one_of(
        st.sampled_from(
            ["<SEG>", "<NEG>", "<ins>", "<no_ins>", "<image>", ", ", " ", ".", "sky", "dog", "Sure, it is "]
        ),
        st.text(max_size=5),
    ),
    max_size=14,
).map("".join)


@given(st.sampled_from(FORMATS), queries)
@example("released", [("a<no_", True), ("b", False), ("ins>", True)])
@example("paper", [(".", True), ("a.", False)])
def test_parse_reads_what_render_wrote(name, decisions):
    form = PROMPT_FORMATS[name]
    query = [name for name, _ in decisions]
    try:
        form.check("categories", query)
    except QueryError:
        assume(False)
    entries, faults = form.parse("categories", query, form.render("categories", decisions))
    assert faults == ()
    assert entries == tuple(ParsedEntry(name, present, k) for k, (name, present) in enumerate(decisions))


@given(st.sampled_from(FORMATS), st.lists(st.tuples(names, st.integers(0, 4)), min_size=1, max_size=6))
@example("released", [("a<no_", 2), ("b", 0), ("ins>", 3)])
def test_parse_reads_a_token_for_each_object(name, decisions):
    form = PROMPT_FORMATS[name]
    query = [name for name, _ in decisions]
    try:
        form.check("categories", query)
    except QueryError:
        assume(False)
    text = form.render(INSTANCES_BY_TOKEN, decisions)
    entries, faults = form.parse(INSTANCES_BY_TOKEN, query, text)
    assert faults == ()
    assert [(entry.name, entry.count * entry.present) for entry in entries] == decisions
    places = [entry.decision for entry in entries]
    assert places == [sum(max(1, count) for _, count in decisions[:rank]) for rank in range(len(decisions))]


@pytest.mark.parametrize(
    ("kind", "text", "found", "faults"),
    [
        (INSTANCES_BY_TOKEN, "sky <SEG> <SEG>, dog <NEG>.", [("sky", 2), ("dog", 0)], ()),
        (INSTANCES_BY_TOKEN, "sky <SEG><NEG><SEG>, dog <SEG>.", [("sky", 1), ("dog", 1)], ("unknown", "unknown")),
        (INSTANCES_BY_TOKEN, "cat <SEG><SEG>, dog <SEG>.", [("dog", 1)], ("unknown", "missing")),
        (FEW, "sky <SEG><SEG><SEG><SEG>, dog <SEG>.", [("sky", 2), ("dog", 1)], ("repeated", "repeated")),
        ("categories", "sky <SEG><SEG>, dog <SEG>.", [("sky", 1), ("dog", 1)], ("unknown",)),
    ],
)
def test_tokens_that_follow_one_another_belong_to_one_name(kind, text, found, faults):
    entries, wrong = PAPER.parse(kind, ["sky", "dog"], text)
    assert [(entry.name, entry.count * entry.present) for entry in entries] == found
    assert wrong == faults


def test_a_phrase_can_have_a_token_for_each_object():
    assert PAPER.render(THEM, [("birds", 3)]) == "Sure, it is <SEG><SEG><SEG>."
    entries, faults = PAPER.parse(THEM, ["birds"], "Sure, it is <SEG><SEG><SEG>.")
    assert (entries, faults) == ((ParsedEntry("birds", True, 0, 3),), ())


@given(st.sampled_from(FORMATS), st.sampled_from(["referring", "reasoning"]), names, st.booleans())
def test_parse_reads_single_answers(name, kind, phrase, present):
    form = PROMPT_FORMATS[name]
    answer = form.render(kind, [(phrase, present)])
    assert form.parse(kind, [phrase], answer) == ((ParsedEntry(phrase, present, 0),), ())


@given(st.sampled_from(FORMATS), st.sampled_from(["categories", "referring", "reasoning", "question"]), garbage)
def test_parse_never_raises_and_accounts_for_every_name(name, kind, text):
    query = ["sky", "dog", "red ball"] if kind == "categories" else ["sky"]
    entries, faults = PROMPT_FORMATS[name].parse(kind, query, text)
    found = [entry.name for entry in entries]
    assert len(set(found)) == len(found)
    assert set(found) <= set(query)
    if kind != "question":
        assert faults.count("missing") == len(query) - len(found)
    decisions = [entry.decision for entry in entries]
    assert decisions == sorted(decisions)


@given(st.text())
@example("ΐ")
@example("\u0345a\u0300")
def test_normalise_is_idempotent(name):
    assert normalise(normalise(name)) == normalise(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Red  Ball", "red\tball\n"), ("STRASSE", "straße"), ("caf\u00e9", "cafe\u0301"), ("\u00a0sky", "sky\u2003")],
)
def test_names_that_count_as_the_same(one, other):
    assert normalise(one) == normalise(other)


TALK = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions. "
)
DECISIONS = [("sky", True), ("red  ball", False), ("dog", True)]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("paper", "sky <SEG>, red ball <NEG>, dog <SEG>."),
        ("released", "sky<ins>red ball<no_ins>dog<ins>"),
        ("tiny", "sky <SEG> red ball <NEG> dog <SEG>"),
    ],
)
def test_answers_as_written(name, answer):
    form = PROMPT_FORMATS[name]
    assert form.render("categories", DECISIONS) == answer
    entries = tuple(Entry(name, present) for name, present in DECISIONS)
    assert form.answer(Dialogue("categories", ("sky",), entries)) == answer


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("paper", "Sure, it is <SEG>.", "Sure, it is <NEG>."),
        ("released", "<ins>.", "<no_ins>."),
        ("tiny", "<SEG>", "<NEG>"),
    ],
)
@pytest.mark.parametrize("kind", ["referring", "reasoning"])
def test_single_answers_as_written(name, kind, present, absent):
    form = PROMPT_FORMATS[name]
    assert form.render(kind, [("the man", True)]) == present
    assert form.render(kind, [("the man", False)]) == absent


@pytest.mark.parametrize(
    ("name", "kind", "prompt"),
    [
        ("paper", "categories", "USER: <image>\nPlease segment the following categories: sky, red ball. ASSISTANT: "),
        ("paper", "referring", "USER: <image>\nPlease segment sky, red ball in this image. ASSISTANT: "),
        ("paper", "reasoning", "USER: <image>\nsky, red ball Please answer with a segmentation mask. ASSISTANT: "),
        ("paper", "question", "USER: <image>\nsky, red ball ASSISTANT: "),
        (
            "released",
            "categories",
            TALK + "USER: <image>\n<semantic>Segment this image.<cat_start> sky, red ball <cat_end> ASSISTANT:",
        ),
        (
            "released",
            "referring",
            TALK + "USER: <image>\n What is sky, red ball in this image? Please output segmentation mask. ASSISTANT:",
        ),
        ("released", "reasoning", TALK + "USER: <image>\n sky, red ball Please output segmentation mask. ASSISTANT:"),
        ("released", "question", TALK + "USER: <image>\nsky, red ball ASSISTANT:"),
        ("tiny", "categories", "<image> list sky red ball answer "),
        ("tiny", "referring", "<image> find sky red ball answer "),
        ("tiny", "reasoning", "<image> show sky red ball answer "),
        ("tiny", "question", "<image> say sky red ball answer "),
    ],
)
def test_prompts_as_written(name, kind, prompt):
    assert PROMPT_FORMATS[name].prompt(kind, ["sky", "red\n ball"]) == prompt


def test_the_original_asks_for_categories_in_eighteen_wordings():
    prompts = [RELEASED.prompt("categories", ["sky"], wording) for wording in range(19)]
    assert len(set(prompts)) == 18
    assert prompts[18] == prompts[0]
    assert all("<semantic>" in prompt and "<cat_start> sky <cat_end> ASSISTANT:" in prompt for prompt in prompts)


def test_questions_are_answered_in_words():
    dialogue = Dialogue("question", ("how many birds?",), text="three")
    assert PAPER.answer(dialogue) == "three"
    assert PAPER.parse("question", dialogue.query, "three") == ((), ())


@pytest.mark.parametrize(
    ("text", "found", "faults"),
    [
        ("sky <SEG>, dog <NEG>.", ["sky", "dog"], ()),
        ("SKY<SEG>dog   <NEG> .", ["sky", "dog"], ()),
        ("sky <SEG>.", ["sky"], ("missing",)),
        ("", [], ("missing", "missing", "trailing")),
        ("sky <SEG>, sky <NEG>, dog <NEG>.", ["sky", "dog"], ("repeated",)),
        ("sky <SEG>, cat <SEG>, dog <NEG>.", ["sky", "dog"], ("unknown",)),
        ("<SEG>, sky <SEG>, dog <NEG>.", ["sky", "dog"], ("unknown",)),
        ("dog <NEG>, sky <SEG>.", ["dog", "sky"], ("order",)),
        ("sky <SEG>, dog <NEG>. And more", ["sky", "dog"], ("trailing",)),
        ("sky <SEG>, do", ["sky"], ("missing", "trailing")),
        ("dog <NEG>, cat <NEG>, dog <SEG>, sky <SEG>!", ["dog", "sky"], ("unknown", "repeated", "order", "trailing")),
    ],
)
def test_faults_of_answers_about_categories(text, found, faults):
    entries, seen = PAPER.parse("categories", ["sky", "dog"], text)
    assert [entry.name for entry in entries] == found
    assert seen == faults


def test_the_first_decision_counts():
    entries, _ = PAPER.parse("categories", ["dog"], "cat <SEG>, dog <NEG>, dog <SEG>.")
    assert entries == (ParsedEntry("dog", False, 1),)


@pytest.mark.parametrize(
    ("text", "count", "faults"),
    [
        ("Sure, it is <SEG>.", 1, ()),
        ("<NEG>.", 1, ()),
        ("I do not know.", 0, ("missing",)),
        ("Sure, it is <SEG> <SEG>.", 1, ("repeated",)),
        ("Sure, it is <SEG>. It is red", 1, ("trailing",)),
    ],
)
def test_faults_of_single_answers(text, count, faults):
    entries, seen = PAPER.parse("referring", ["it"], text)
    assert (len(entries), seen) == (count, faults)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("paper", "Sure, it is <SEG>. It is red."),
        ("released", "<ins>. It is red."),
        ("lisa", "It is [SEG]. It is red."),
    ],
)
def test_explained_answers_are_written_and_read(name, answer):
    kind = "reasoning_with_explanation"
    form = PROMPT_FORMATS[name]
    dialogue = Dialogue(kind, ("what burns?",), (Entry("what burns?", True),), text="It is red.")
    assert form.answer(dialogue) == answer
    assert form.parse(kind, dialogue.query, answer) == (
        (ParsedEntry("what burns?", True, 0),),
        (),
    )
    assert (
        form.parse(
            kind,
            dialogue.query,
            form.render(kind, [("what burns?", False)]),
        )[1]
        == ()
    )
    assert "and explain why" in form.prompt(kind, dialogue.query)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("It is red.", ("missing",)),
        ("Sure, it is <SEG>. Red <SEG>", ("repeated", "trailing")),
        ("Sure, it is <SEG>, red", ("trailing",)),
    ],
)
def test_faults_of_explained_answers(text, faults):
    assert PAPER.parse("reasoning_with_explanation", ["it"], text)[1] == faults


def test_formats_without_explanations_say_so():
    with pytest.raises(
        QueryError, match=r"kind: 'reasoning_with_explanation' is not in .*panoptic, .*grounded_caption; add a line"
    ):
        TINY.check("reasoning_with_explanation", ["it"])
    with pytest.raises(QueryError, match=r"answer: .*<SEG>"):
        PAPER.answer(Dialogue("reasoning_with_explanation", ("it",), (Entry("it", True),), text="a <SEG>"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([], "empty"),
        (["sky", ""], "visible"),
        (["\u200b\n"], "visible"),
        (["dog", "Dog "], "more than once"),
        (["e\u0301", "\u00c9"], "more than once"),
        (["big, dog"], "','"),
        (["<SEG>"], "<SEG>"),
        (["a<image>b"], "<image>"),
    ],
)
def test_queries_that_cannot_be_asked(query, message):
    with pytest.raises(QueryError, match=message):
        PAPER.check("categories", query)


def test_what_is_reserved_depends_on_kind_and_format():
    PAPER.check("referring", ["the dog, the brown one"])
    TINY.check("categories", ["big, dog"])
    RELEASED.check("categories", ["<SEG>"])


def test_many_names_are_checked_quickly():
    PAPER.check("categories", [f"thing {number}" for number in range(20_000)])


def test_names_may_be_compared_as_a_tokeniser_writes_them():
    def spelled(text):
        return " ".join(text.replace("-", " - ").replace("é", "e").split())

    pieces = [("t - shirt", True), (" , cafe", False), (", cafe", True), (", cafe", True)]
    entries, faults = PAPER.read("categories", ["t-shirt", "café", "cafe"], pieces, " .", spelled)
    assert entries == (ParsedEntry("t-shirt", True, 0), ParsedEntry("café", False, 1), ParsedEntry("cafe", True, 2))
    assert faults == ("repeated",)


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        ("foo", ["dog"], "kind: 'foo' is none of .*; choose one of categories, .*QueryKind"),
        ("complex", ["dog"], "kind: 'complex' is called 'categories' now"),
        ("explained", ["dog"], "kind: 'explained' is called 'reasoning_with_explanation' now"),
        ("referring", ["dog", "cat"], "referring.*one.*2"),
        ("categories", "dog", r"\['dog'\]"),
        ("categories", ["dog", 3], "3"),
    ],
)
def test_queries_of_the_wrong_form(kind, query, message):
    with pytest.raises(QueryError, match=message):
        PAPER.check(kind, query)


def test_tokens_of_the_language_model_are_reserved():
    form = replace(TINY, reserved_tokens=("<end>", "<pad>"))
    TINY.check("categories", ["<end>"])
    for kind, name in (("categories", "<end>"), ("categories", "a <pad>"), ("referring", "the <end> dog")):
        with pytest.raises(QueryError, match=r"<end>|<pad>"):
            form.check(kind, [name])
    for text in ("it is <SEG> here", "no<end>"):
        with pytest.raises(QueryError, match=f"answer: '{text}'"):
            form.answer(Dialogue("question", ("where is it",), text=text))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"absent_token": ""}, "absent_token: it is empty"),
        ({"present_token": " "}, "present_token: it is empty"),
        ({"absent_token": "<SEG>"}, "present_token '<SEG>'.*absent_token '<SEG>'"),
        ({"absent_token": "<no><SEG>"}, "'<SEG>'.*'<no><SEG>'"),
        ({"image_token": "<NEG>"}, "absent_token.*image_token"),
        (
            {"prompts": {"categories": "<image> {query}", "refering": "<image> {query}"}},
            r"prompts: there is no kind 'refering'; did you mean 'referring'\? .* list it in `own_kinds`: \[refering\]",
        ),
        ({"prompts": {**PAPER.prompts, "complex": "<image> {query}"}}, "prompts: 'complex' is called 'categories'"),
        (
            {"further_prompts": {"explained": ("<image> {query}",)}},
            "further_prompts: 'explained' is called 'reasoning_with_explanation'",
        ),
        ({"prompts": {**PAPER.prompts, "question": "{query}"}}, "prompts.question: .*'<image>'"),
        ({"prompts": {**PAPER.prompts, "question": "<image><image>{query}"}}, "prompts.question: .*'<image>'"),
        ({"prompts": {**PAPER.prompts, "categories": "<image>"}}, "prompts.categories: .*{query}"),
        ({"own_kinds": ("refering",)}, r"own_kinds: \['refering'\] have no prompt"),
        ({"name_separator": ""}, "name_separator: it is empty"),
        ({"entry_separator": "<SEG>"}, "entry_separator: '<SEG>' contains"),
        ({"tail": " <NEG>"}, "tail: ' <NEG>' contains"),
        ({"absent_token": "", "name_separator": ""}, "absent_token: .*name_separator: "),
        ({"single_answers": ("it",)}, "single_answers: 'it'.*{token}"),
        ({"single_answers": ("<NEG> {token}",)}, "single_answers: '<NEG> {token}'"),
        ({"further_prompts": {"referring": ("<image>",)}}, "further_prompts.referring: .*{query}"),
        ({"further_prompts": {"referring": ("{query}",)}}, "further_prompts.referring: .*'<image>'"),
        ({"further_prompts": {"none": ("<image> {query}",)}}, r"further_prompts: \['none'\]"),
    ],
)
def test_formats_that_cannot_work(changed, message):
    with pytest.raises(ConfigError, match=message):
        replace(PAPER, **changed)


def test_a_kind_of_ones_own_may_be_called_like_one_of_the_package():
    kind = QueryKind("instance", many=True, objects=True)
    own = replace(PAPER, prompts={"instance": "<image> {query}"}, own_kinds=("instance",))
    own.check(kind, ["dog"])
    assert own.prompt(kind, ["dog", "cat"]) == "<image> dog, cat"


def test_a_config_with_a_former_kind_names_the_new_one():
    prompts = {"complex" if kind == "categories" else kind: prompt for kind, prompt in PAPER.prompts.items()}
    tokens = {"present_token": "<SEG>", "absent_token": "<NEG>", "image_token": "<image>"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prompt_format", type=Literal["paper", "tiny"] | PromptFormat)
    with pytest.raises(ValueError, match="prompts: 'complex' is called 'categories' now; rename it"):
        parser.instantiate(parser.parse_object({"prompt_format": {**tokens, "prompts": prompts}}))


def test_a_config_names_a_format_by_its_path():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prompt_format", type=Literal["paper", "tiny"] | PromptFormat)
    named = parser.parse_object({"prompt_format": "lasagna.core.prompt_formats.RELEASED"})
    assert parser.instantiate(named).prompt_format == RELEASED


def test_the_requests_of_a_chat_are_those_of_the_paper():
    assert CHAT.chat_template and CHAT.special_tokens == PAPER.special_tokens
    for kind, text in CHAT.prompts.items():
        assert text.startswith("<image>\n") and f"USER: {text} ASSISTANT: " == PAPER.prompts[kind]


def test_wordings_are_counted_round_and_the_first_is_that_of_evaluation():
    form = replace(
        PAPER, further_prompts={"referring": ("<image> {query}?",)}, single_answers=("{token}.", "It: {token}")
    )
    assert form.prompt("referring", ["it"], 1) == "<image> it?"
    assert form.prompt("referring", ["it"], 2) == form.prompt("referring", ["it"]) == PAPER.prompt("referring", ["it"])
    assert form.prompt("reasoning", ["it"], 1) == PAPER.prompt("reasoning", ["it"])
    dialogue = Dialogue("referring", ("it",), (Entry("it", False),), wording=(0, 3))
    assert form.answer(dialogue) == "It: <NEG>"
    assert form.lead("referring", "it", True) == ""
    for wording in range(2):
        text = form.render("referring", [("it", True)], wording)
        assert form.parse("referring", ["it"], text) == ((ParsedEntry("it", True, 0),), ())
    assert form.render("categories", [("it", True)], 1) == PAPER.render("categories", [("it", True)])


def test_no_name_may_hold_a_marker():
    with pytest.raises(QueryError, match=r"contains \['<cat_end>'\]"):
        RELEASED.check("categories", ["sky <cat_end>"])
    assert RELEASED.special_tokens[3:] == ("<cat_start>", "<cat_end>", "<semantic>")


def test_released_prompts_are_those_of_the_original(shared):
    file = shared / "golden" / "data" / "grammar.json"
    if not file.is_file():
        pytest.skip("there are no golden prompts of the original code in shared/golden")
    grammar = json.loads(file.read_text(encoding="utf-8"))
    assert grammar["evaluation_prompts"]
    for record in grammar["evaluation_prompts"]:
        _, _, names = record["prompt"].partition("<cat_start> ")
        names, _, _ = names.partition(" <cat_end>")
        assert RELEASED.prompt("categories", names.split(", ")) == record["prompt"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ((1, "sun"), r"such as \['1', 'sun'\], got \[1, 'sun'\]"),
        ("sun", r"such as \['sun'\], got the text 'sun'"),
    ],
)
def test_what_is_no_list_of_names_is_shown_as_it_should_be(query, said):
    with pytest.raises(QueryError, match=said):
        PAPER.check("categories", query)
