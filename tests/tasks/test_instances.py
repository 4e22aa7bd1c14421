"""Instances asks for what is told apart, and for what is absent."""

import numpy as np
import pytest

from lasagna.core.prompt_formats import TINY
from lasagna.core.record import Region
from lasagna.tasks import Instances, Panoptic
from tests.helpers.made_records import manifest, mask, record


def asked(item):
    return Instances().dialogues(item, np.random.default_rng(0))


def test_it_asks_for_what_is_told_apart_or_absent():
    one, two, group = mask("#...", "...."), mask("..#.", "...."), mask("...#", "...#")
    regions = (Region.of_objects("dog", [one, two], [group]), Region("sea", mask("....", "##..")))
    (dialogue,) = asked(record(regions=regions))
    assert (dialogue.kind, dialogue.query) == ("instances", ("sky", "dog", "cat"))
    (entry,) = dialogue.entries
    assert (entry.name, entry.masks, entry.crowds) == ("dog", (one, two), (group,))
    assert entry.mask.decode().sum() == 4


def test_crowds_alone_unclear_and_ignored_names_are_left_out():
    dog = Region.of_objects("dog", [mask("#...", "....")])
    (alone,) = asked(record(regions=(Region.of_objects("dog", [], [mask("#...", "....")]),)))
    assert "dog" not in alone.query
    (unclear,) = asked(record(regions=(dog,), unclear=("dog", "cat")))
    assert unclear.query == ("sky", "sea")
    (ignored,) = asked(record(regions=(dog,), ignore=mask("#...", "....")))
    assert "dog" not in ignored.query and not ignored.entries


@pytest.mark.parametrize("task", [Instances(), Panoptic()])
def test_objects_without_a_pixel_that_counts_are_none(task):
    one, hidden, empty = mask("##..", "...."), mask("...#", "...."), mask("....", "....")
    dogs, cats = Region.of_objects("dog", [hidden, one, empty]), Region.of_objects("cat", [empty])
    item = record(regions=(dogs, cats), ignore=mask("..##", "...."))
    (dialogue,) = task.dialogues(item, np.random.default_rng(0))
    assert [(entry.name, entry.masks) for entry in dialogue.entries] == [("dog", (one,))]
    assert "cat" not in dialogue.query


def test_where_not_annotated_means_unknown_only_known_names_are_asked_for():
    dog = Region.of_objects("dog", [mask("#...", "....")])
    about = manifest(unannotated="unknown")
    assert asked(record(about=about)) == []
    (dialogue,) = asked(record(about=about, regions=(dog,), absent=("cat",)))
    assert dialogue.query == ("dog", "cat")


def test_the_label_map_has_the_pixels_of_objects():
    dog = Region.of_objects("dog", [mask("#...", "....")])
    (dialogue,) = asked(record([[3, 3, 1, 1], [2, 2, 1, 255]], regions=(dog,)))
    assert dialogue.query == ("dog", "cat")  # the sky and the sea are there, and not told apart
    assert dialogue.entries[0].mask.decode().sum() == 2


def test_each_object_can_have_a_token():
    dog = Region.of_objects("dog", [mask("#...", "...."), mask("..##", "....")])
    (dialogue,) = Instances(by_token=True).dialogues(record(regions=(dog,)), np.random.default_rng(0))
    assert (dialogue.query, TINY.answer(dialogue)) == (("sky", "sea", "dog", "cat"), "dog <SEG><SEG>")


def test_its_scores_are_named():
    assert sorted(Instances().metrics(("dog",))) == ["AveragePrecision_0", "ConceptF1_2", "ObjectCount_1", "Presence_3"]
