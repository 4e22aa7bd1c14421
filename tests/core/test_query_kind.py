"""Kinds of queries: what their forms allow, and that they travel."""

import json
import pickle
from copy import deepcopy
from dataclasses import replace
from itertools import product

import pytest

from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_formats import PAPER
from lasagna.core.query_kind import KINDS, QueryKind, kind_of, kinds_of_forms
from lasagna.errors import ConfigError, QueryError

COUNTING = QueryKind("counting", words=True)
FORMAT = replace(PAPER, prompts={**PAPER.prompts, "counting": "<image> count {query}: "})


def test_only_forms_that_can_be_answered_exist():
    allowed = set()
    for many, masks, words in product((False, True), repeat=3):
        try:
            QueryKind("own", many=many, masks=masks, words=words)
            allowed.add((many, masks, words))
        except ConfigError:
            continue
    assert allowed == {(kind.many, kind.masks, kind.words) for kind in KINDS.values()}
    with pytest.raises(ConfigError, match="objects are told apart by masks"):
        QueryKind("own", masks=False, words=True, objects=True)
    for form in ({"tokens": 2}, {"objects": True, "tokens": -1}, {"objects": True, "words": True, "tokens": 2}):
        with pytest.raises(ConfigError, match="is the most objects of a name"):
            QueryKind("own", **form)
    for form in ({"many": "yes"}, {"words": 1}):
        with pytest.raises(ConfigError, match=f"own: {next(iter(form))}=.*expected true or false"):
            QueryKind("own", **form)
    with pytest.raises(ConfigError, match="identifier"):
        QueryKind("two words")


@pytest.mark.parametrize("travelled", [lambda kind: pickle.loads(pickle.dumps(kind)), deepcopy])
def test_kinds_keep_their_form_in_copies_and_other_processes(travelled):
    for kind in (*KINDS.values(), COUNTING):
        copy = travelled(kind)
        assert (copy, vars(copy)) == (kind, vars(kind))
    assert json.dumps({"kind": COUNTING}) == '{"kind": "counting"}'


def test_a_kind_is_made_again_from_its_name_and_form():
    forms = {kind: kind.form for kind in (*KINDS.values(), COUNTING)}
    made = kinds_of_forms(json.loads(json.dumps(forms)))
    assert {name: vars(kind) for name, kind in made.items()} == {name: vars(name) for name in forms}
    assert (KINDS["referring"].form, COUNTING.form) == ({}, {"words": True})
    for form in ({"many": 1}, {"tokens": True}, {"wide": True}, [], {"words": "yes"}):
        with pytest.raises(ConfigError, match="kind 'own': expected values of many, masks, words"):
            kinds_of_forms({"own": form})


def test_names_of_the_packages_kinds_stand_for_them():
    assert Dialogue("question", ("why",)).kind is KINDS["question"]
    assert Query(0, "categories", ("sky",)).kind.many
    assert kind_of(COUNTING) is kind_of("counting", {"counting": COUNTING}) is COUNTING
    with pytest.raises(QueryError, match="'counting' is none of"):
        Dialogue("counting", ("birds",))


def test_own_kinds_are_asked_and_answered_where_the_format_has_a_prompt():
    dialogue = Dialogue(COUNTING, ("birds",), (Entry("birds", True),), text="three")
    FORMAT.check(COUNTING, dialogue.query)
    assert FORMAT.prompt(COUNTING, dialogue.query) == "<image> count birds: "
    text = FORMAT.answer(dialogue)
    assert text == "Sure, it is <SEG>. three"
    entries, faults = FORMAT.parse(COUNTING, ["birds"], text)
    assert [(entry.name, entry.present) for entry in entries] == [("birds", True)]
    assert faults == ()
    with pytest.raises(QueryError, match=r"'counting' is not in .*add a line to its prompts, such as counting: "):
        PAPER.check(COUNTING, ["birds"])
