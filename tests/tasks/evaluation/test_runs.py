"""Lists that words alone cannot answer."""

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.datamodules import MergedNames, Source, write_shards
from lasagna.datamodules.co_occurrence import CoOccurrence
from lasagna.tasks import Semantic
from lasagna.tasks.evaluation.runs import EvaluationRun, balanced, noise
from tests.helpers.made_records import manifest, record

NAMES = ("sky", "sea", "ship", "dog", "cat", "sofa")


def asked(*present, names=NAMES):
    return Dialogue("categories", tuple(names), tuple(Entry(name, True) for name in present))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_as_many_absent_names_as_present_ones():
    for seed in range(20):
        query = balanced(asked("sky", "sea"), rng(seed)).query
        assert len(query) == len(set(query)) == 4
        assert {"sky", "sea"} < set(query) <= set(NAMES)
    assert len({balanced(asked("sky"), rng(seed)).query for seed in range(40)}) > 5


def test_co_occurring_names_are_the_likeliest_beside_the_present_ones():
    lists = [
        ["Sky", "Sea", "ship"],
        ["sky", "sea", "ship", "dog"],
        ["sea", "ship"],
        ["sea"],
        ["sky", "cat"],
        ["sky", "dog"],
    ]
    co_occurrence = CoOccurrence.of_lists(lists)
    assert co_occurrence.likelihoods(["ship", "sofa"], ["sky", "sea"]) == pytest.approx([(2 / 4 + 3 / 4) / 2, 0])
    assert co_occurrence.likelihoods(["ship"], ["unheard"]) == [0]
    for seed in range(5):
        assert set(balanced(asked("sky", "sea"), rng(seed), co_occurrence).query) == {"sky", "sea", "ship", "dog"}


@pytest.mark.parametrize(
    "dialogue", [asked(), asked("sky", names=["sky"]), Dialogue("referring", ("a dog",), (Entry("a dog", True),))]
)
def test_lists_that_cannot_be_balanced_are_not_asked(dialogue):
    assert balanced(dialogue, rng()) is None


def test_noise_shows_nothing_of_the_picture():
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    assert noise(image, rng()).shape == image.shape
    assert (noise(image, rng()) == noise(image + 255, rng())).all()
    assert noise(image, rng()).std() > 40


def test_company_is_counted_by_the_names_that_transforms_give(tmp_path):
    write_shards([record([[1, 3, 3, 1], [1, 1, 4, 4]])], tmp_path, manifest())
    animals = MergedNames({"dog": "animal", "cat": "animal"})
    run = EvaluationRun(Source(str(tmp_path), Semantic(), transforms=[animals]), Semantic(), (), 0, ("ordered",))
    assert list(run._shown()) == [["sky", "animal"]]
