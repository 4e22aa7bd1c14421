"""Referring phrases: read back from their words and checked against the maps."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from lasagna.datamodules.scenes import COLOURS, THINGS, Phrase, Scene, describe
from lasagna.datamodules.scenes.phrases import Form, resolve

NOUN = "|".join(sorted(THINGS, key=len, reverse=True))
GRAMMAR = re.compile(
    rf"the (?P<first>leftmost|rightmost|highest|lowest|largest|smallest)? ?(?P<colour>{'|'.join(COLOURS)})? ?"
    rf"(?P<name>{NOUN})(?P<plural>s)?(?P<half> on the left| on the right)?"
    rf"(?: (?P<relation>left of|right of|above|below) the (?P<reference>{NOUN}))?"
)


def spot(scene: Scene, k: int) -> tuple[float, float, int]:
    """Return row, column and area of a thing from the instance map."""
    rows, cols = np.where(scene.instances == k + 1)
    return float(rows.mean()), float(cols.mean()), len(rows)


def truth(scene: Scene, text: str) -> tuple[int, ...]:
    """Say which things a phrase fits, without margins."""
    said = GRAMMAR.fullmatch(text)
    assert said, text
    spots = [spot(scene, k) for k in range(len(scene.things))]
    found = [k for k, t in enumerate(scene.things) if t.name == said["name"] and said["colour"] in (None, t.colour)]
    if said["first"] and found:
        axis = {"l": 1, "r": 1, "h": 0}.get(said["first"][0], 2)
        axis = {"lowest": 0, "largest": 2}.get(said["first"], axis)
        last = max if said["first"] in ("rightmost", "lowest", "largest") else min
        return (last(found, key=lambda k: spots[k][axis]),)
    if said["half"]:
        return tuple(k for k in found if (spots[k][1] < 47.5) == said["half"].endswith("left"))
    if said["relation"]:
        (place,) = (spots[k] for k, t in enumerate(scene.things) if t.name == said["reference"])
        axis = 1 if said["relation"].endswith("of") else 0
        before = said["relation"] in ("left of", "above")
        return tuple(k for k in found if (spots[k][axis] < place[axis]) == before)
    return tuple(found)


def phrases_of(scenes: list[Scene], count: int) -> list[tuple[Scene, Phrase]]:
    return [(s, p) for k, s in enumerate(scenes) for p in describe(s, np.random.default_rng(k), count)]


def test_phrases_are_true(scenes: list[Scene]) -> None:
    for scene, phrase in phrases_of(scenes, 6):
        assert phrase.targets == truth(scene, phrase.text), phrase
        assert (phrase.kind == "absent") == (not phrase.targets)


def test_number_agrees(scenes: list[Scene]) -> None:
    for _, phrase in phrases_of(scenes, 4):
        if phrase.targets:
            assert bool(GRAMMAR.fullmatch(phrase.text)["plural"]) == (len(phrase.targets) > 1)


def test_shares_are_as_stated(scenes: list[Scene]) -> None:
    made = phrases_of(scenes, 3)
    assert 0.2 < np.mean([not p.targets for _, p in made]) < 0.31
    rich = [p for s, p in made if len({t.name for t in s.things}) < len(s.things)]
    assert 0.12 < np.mean([len(p.targets) > 1 for p in rich]) < 0.21
    kinds = Counter(p.kind for _, p in made)
    assert set(kinds) == {"name", "colour", "side", "size", "relation", "absent"}
    assert min(kinds.values()) > 0.03 * len(made)


def test_absent_phrases_also_name_present_categories(scenes: list[Scene]) -> None:
    absent = [(s, GRAMMAR.fullmatch(p.text)["name"]) for s, p in phrases_of(scenes, 3) if not p.targets]
    assert 0.4 < np.mean([name in s.present for s, name in absent]) < 0.75


def test_phrases_do_not_repeat_in_rich_scenes(scenes: list[Scene]) -> None:
    for k, scene in enumerate(s for s in scenes if len(s.things) >= 4):
        texts = [p.text for p in describe(scene, np.random.default_rng(k), 6)]
        assert len(set(texts)) == len(texts)


def test_margins(scenes: list[Scene]) -> None:
    for scene, phrase in phrases_of(scenes, 4):
        said = GRAMMAR.fullmatch(phrase.text)
        if said["half"]:
            assert all(abs(spot(scene, k)[1] - 47.5) >= 0.08 * 96 for k in phrase.targets)
        if said["first"] in ("largest", "smallest") and phrase.targets:
            areas = [t.area for t in scene.things if t.name == said["name"] and said["colour"] in (None, t.colour)]
            low, high = (sorted(areas, reverse=said["first"] == "largest"))[:2]
            assert max(low / high, high / low) >= 1.3


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form("ball"), "the ball"),
        (Form("ball", "red", several=True), "the red balls"),
        (Form("ball", "red", "leftmost"), "the leftmost red ball"),
        (Form("ball", None, "on the left"), "the ball on the left"),
        (Form("ball", "blue", "left of", "house"), "the blue ball left of the house"),
    ],
)
def test_wording(form: Form, text: str) -> None:
    assert form.text == text


def test_unclear_forms_are_refused(scenes: list[Scene]) -> None:
    scene = next(s for s in scenes if Counter(t.name for t in s.things)["ball"] == 1)
    assert resolve(Form("ball", several=True), scene) is None
    assert resolve(Form("ball", modifier="leftmost"), scene) is None
    missing = next(name for name in THINGS if name not in scene.present)
    assert resolve(Form("ball", modifier="above", reference=missing), scene) is None
