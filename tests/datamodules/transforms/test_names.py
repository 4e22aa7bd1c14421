"""Mixed data sets agree on names, and do not teach that what nobody drew is absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.record import Region
from lasagna.datamodules import HardNegatives, MergedNames, Source, UnknownNames, write_shards
from lasagna.datamodules.protocols import read_records
from lasagna.datamodules.streaming.sample import ask_record
from lasagna.errors import ConfigError
from lasagna.tasks import Instances, Semantic
from tests.helpers.made_records import manifest, mask, record

ANIMALS = MergedNames({"dog": "animal", "cat": "animal"})
PIXELS = [[1, 3, 3, 255], [1, 1, 4, 4]]


def rng():
    return np.random.default_rng(0)


def asked(changed, task=Semantic):
    [dialogue] = task().dialogues(changed, rng())
    return dialogue.query, {entry.name: entry for entry in dialogue.entries}


def test_categories_of_one_name_are_one_in_label_maps_objects_and_lists():
    dogs = Region.of_objects("dog", [mask(".#..", "...."), mask("..#.", "....")])
    cat = Region.of_objects("cat", [mask("....", "..##")])
    changed = ANIMALS(record(PIXELS, regions=(dogs, cat)), rng())
    query, entries = asked(changed)
    assert query == ("sky", "sea", "animal") and list(entries) == ["sky", "animal"]
    assert np.array_equal(entries["animal"].mask.decode(), [[0, 1, 1, 0], [0, 0, 1, 1]])
    assert len(asked(changed, Instances)[1]["animal"].masks) == 3
    assert changed.manifest.aliases == {"animal": ("dog", "cat")}
    assert MergedNames({"dog": "sea"}).of_manifest(manifest()).aliases == {"sea": ("dog",)}


def test_a_name_is_absent_if_all_its_categories_are_and_unclear_if_one_is():
    about = manifest(unannotated="unknown", labels={})
    base = record(about=about, regions=(Region("sky", mask("####", "....")),))
    assert asked(ANIMALS(replace(base, absent=("dog", "sea")), rng()))[0] == ("sky", "sea")
    assert asked(ANIMALS(replace(base, absent=("dog", "cat")), rng()))[0] == ("sky", "animal")
    assert asked(ANIMALS(replace(record(PIXELS), unclear=("cat",)), rng()))[0] == ("sky", "sea")


def test_unannotated_names_are_neither_asked_nor_absent():
    shown = record([[1, 1, 3, 3], [1, 1, 3, 3]])
    assert asked(shown)[0] == ("sky", "sea", "dog", "cat")
    assert asked(UnknownNames(["sea", "dog"])(shown, rng()))[0] == ("sky", "dog", "cat")
    assert asked(UnknownNames()(shown, rng()))[0] == ("sky", "dog")
    assert asked(UnknownNames()(replace(shown, absent=("cat",)), rng()))[0] == ("sky", "dog", "cat")
    assert asked(ANIMALS(UnknownNames(["cat"])(shown, rng()), rng()))[0] == ("sky", "sea"), "a cat may be there too"


def test_a_source_has_the_new_names_in_training_and_in_scores(tmp_path):
    write_shards([record(PIXELS)], tmp_path, manifest())
    source = Source(str(tmp_path), Semantic(), transforms=[UnknownNames(["sea"]), ANIMALS])
    [raw] = read_records(source)
    _, [dialogue] = ask_record(raw, source, lambda dialogue, _: dialogue, seed=0)
    assert dialogue.query == ("sky", "animal")
    assert source.manifest.categories == ("sky", "sea", "animal")
    hard = HardNegatives(2).for_source(source)
    assert hard.counts.likelihoods(["animal", "sea"], ["sky"]).tolist() == [1, 0]
    assert [found.manifest.categories for found in source.records()] == [manifest().categories]


def test_nothing_to_merge_and_no_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"MergedNames: `names` is empty; .* leave the transform out"):
        MergedNames({})
    with pytest.raises(ValueError, match=r"UnknownNames: `names` is empty; .* null for all .* leave the transform"):
        UnknownNames([])


@pytest.mark.parametrize(("new", "error"), [("", "blank"), ("a, b", "','"), ("Sea", "categories name 'sea' more than")])
def test_new_names_that_cannot_be_asked_for_are_refused(tmp_path, new, error):
    write_shards([record(PIXELS)], tmp_path, manifest())
    with pytest.raises(ConfigError, match=f"MergedNames: new names of 'made': .*{error}"):
        MergedNames({"dog": new}).for_source(Source(str(tmp_path), Semantic()))


@pytest.mark.parametrize(
    "transform", [MergedNames({"cow": "animal"}), UnknownNames(["cow"])], ids=["merged", "unknown"]
)
def test_names_that_are_no_categories_are_refused(tmp_path, transform):
    write_shards([record(PIXELS)], tmp_path, manifest())
    source = Source(str(tmp_path), Semantic(), transforms=[transform])
    with pytest.raises(ConfigError, match=r"`names` are no categories of 'made': \['cow'\]; .*has sky, sea, dog, cat"):
        _ = source.bound_transforms
