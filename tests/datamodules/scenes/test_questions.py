"""Riddles, questions, long names and the word list, checked against the maps."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lasagna.datamodules.scenes import (
    CATEGORIES,
    LONG_NAMES,
    RULES,
    THINGS,
    VOID,
    WORDS,
    Question,
    Scene,
    ask,
    describe,
    long_labels,
    riddles,
)

NUMBERS = ("zero", "one", "two", "three", "four")


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("make", [describe, riddles, ask])
def test_same_generator_says_the_same(scenes: list[Scene], make) -> None:
    for k, scene in enumerate(scenes[:20]):
        assert make(scene, rng(k), 5) == make(scene, rng(k), 5)
        assert len(make(scene, rng(k), 5)) == 5


def test_riddles_mean_what_the_table_says(scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        for riddle in riddles(scene, rng(k), 4):
            meant = np.zeros((96, 96), dtype=bool)
            for name in RULES[riddle.text]:
                meant |= scene.labels == CATEGORIES.index(name)
            assert np.array_equal(riddle.mask(scene), meant)
            assert bool(riddle.names) == meant.any()
            assert riddle.targets == tuple(np.unique(scene.instances[meant & (scene.instances > 0)]) - 1)


def test_half_of_the_riddles_fit(scenes: list[Scene]) -> None:
    made = [riddle for k, scene in enumerate(scenes) for riddle in riddles(scene, rng(k), 3)]
    assert 0.42 < np.mean([bool(riddle.names) for riddle in made]) < 0.58
    assert {riddle.text for riddle in made} == set(RULES)


def test_rules_name_categories() -> None:
    assert len(RULES) >= 16
    assert {name for names in RULES.values() for name in names} <= set(CATEGORIES)


def truth(scene: Scene, question: Question) -> str:
    """Answer from the words of the question and the maps alone."""
    words = question.text
    if question.kind == "presence":
        name = next(n for n in sorted(CATEGORIES, key=len, reverse=True) if words.endswith(n))
        return "yes" if (scene.labels == CATEGORIES.index(name)).any() else "no"
    head = next(n for n in sorted(THINGS, key=len, reverse=True) if n in words.replace("colour", "").split("there")[0])
    pixels = scene.instances[scene.labels == CATEGORIES.index(head)]
    found = np.unique(pixels)
    if question.kind == "count":
        return NUMBERS[len(found)]
    assert (len(found) > 1) == words.endswith("s")
    (colour,) = {scene.things[k - 1].colour for k in found}
    return str(colour)


def test_answers_are_true(scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        for question in ask(scene, rng(k), 4):
            assert question.answer == truth(scene, question), question


def test_questions_are_balanced(scenes: list[Scene]) -> None:
    asked = [question for k, scene in enumerate(scenes) for question in ask(scene, rng(k), 2)]
    kinds = Counter(question.kind for question in asked)
    assert min(kinds.values()) > 0.2 * len(asked)
    answers = Counter((question.kind, question.answer) for question in asked)
    assert 0.4 < answers["presence", "yes"] / kinds["presence"] < 0.6
    assert 0.12 < answers["count", "zero"] / kinds["count"] < 0.36
    several = sum(answers["count", word] for word in NUMBERS[2:])
    assert several > 0.25 * kinds["count"]


def test_long_names_share_out_the_picture(scenes: list[Scene]) -> None:
    assert len(set(LONG_NAMES)) == len(LONG_NAMES) >= 150
    for scene in scenes[:150]:
        labels = long_labels(scene)
        assert set(labels) <= set(LONG_NAMES)
        assert all(mask.any() for mask in labels.values())
        assert np.array_equal(sum(mask.astype(int) for mask in labels.values()), scene.labels != VOID)


def test_long_names_say_side_colour_and_category(scenes: list[Scene]) -> None:
    for scene in scenes[:150]:
        labels = long_labels(scene)
        for k, thing in enumerate(scene.things):
            side = "left" if thing.centre[1] < 47.5 else "right"
            name = f"{side} {thing.colour} {thing.name}" if thing.colour else thing.name
            assert labels[name][scene.instances == k + 1].all()


def test_no_other_words_are_used(scenes: list[Scene]) -> None:
    assert list(WORDS) == sorted(set(WORDS))
    for k, scene in enumerate(scenes):
        texts = [item.text for make in (describe, riddles) for item in make(scene, rng(k), 4)]
        texts += [f"{question.text} {question.answer}" for question in ask(scene, rng(k), 4)]
        texts += [*scene.present, *long_labels(scene)]
        assert {word for text in texts for word in text.split(" ")} <= set(WORDS)
