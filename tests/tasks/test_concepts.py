"""Concepts asks for every object that a noun phrase fits, and for what each annotator drew."""

import numpy as np

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.record import Phrase
from lasagna.tasks import Concepts
from tests.helpers.made_records import mask, record

ONE, TWO = mask("#...", "...."), mask("..#.", "....")


def asked(*phrases, limit=None, **parts):
    return Concepts(limit).dialogues(record(phrases=phrases, **parts), np.random.default_rng(0))


def test_each_phrase_is_a_list_of_one_name_with_its_objects_and_those_of_all_annotators():
    phrases = (Phrase("red dog", (ONE, TWO), annotators=((ONE,),)), Phrase("cow", (), annotators=((TWO,), ())))
    dog, cow = asked(*phrases)
    assert (dog.kind, dog.query, dog.entries[0].masks) == ("instances", ("red dog",), (ONE, TWO))
    assert not cow.entries[0].present and cow.entries[0].annotators == ((TWO,), ())
    assert asked(Phrase("cow", ()))[0].entries == ()
    assert asked(Phrase("dog", (ONE,)), ignore=ONE) == []
    assert Concepts(by_token=True).kind == "instances_by_token"


def test_phrases_that_a_list_cannot_hold_are_left_out_and_scores_say_so():
    listed = record(phrases=(Phrase("a red, round ball", (ONE,)), Phrase("dog", (TWO,))))
    assert [one.query for one in asked(*listed.phrases)] == [("dog",)]
    assert not Concepts().asks_all(listed) and Concepts().asks_all(record(phrases=listed.phrases[1:]))
    assert not Concepts(1).asks_all(record(phrases=(Phrase("dog", (TWO,)), Phrase("cat", ()))))


def test_an_answer_is_scored_by_the_annotator_who_agrees_best():
    [dialogue] = asked(Phrase("dog", (ONE, TWO), annotators=((TWO,),)))
    metrics = Concepts().metrics(())
    claim = AnsweredEntry("dog", True, 0.9, TWO.decode())
    for metric in metrics.values():
        metric.update(dialogue, Answer("", (claim,)))
    assert metrics.compute()["pmf1/sa-co"].item() == 1
