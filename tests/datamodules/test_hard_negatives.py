"""Hard absent names are drawn by company and by words, as often as asked, and nothing else changes."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest
from lasagna.datamodules import HardNegatives
from lasagna.datamodules.co_occurrence import CoOccurrence
from lasagna.datamodules.hard_negatives import likeness
from lasagna.datamodules.shards.index import ShardIndex
from lasagna.errors import ConfigError

NAMES = ("brown bear", "polar bear", "snow", "car", "cup", "fork", "knife", "lamp", "sofa", "table", "tree", "zebra")
MASK = RLEMask.from_array(np.ones((2, 2)))


def index_of(*lists):
    entries = [(row, NAMES.index(name), 0) for row, names in enumerate(lists) for name in names]
    keys = tuple(f"k{row}" for row in range(len(lists)))
    return ShardIndex(keys, NAMES, np.zeros((len(lists), 2), np.int64), np.array(entries, np.int32))


INDEX = index_of(
    *[["brown bear", "tree"]] * 6, *[["brown bear", "snow"]] * 2, *[["brown bear"]] * 2, *[["cup", "fork", "knife"]] * 5
)
SOURCE = SimpleNamespace(manifest=Manifest("made", NAMES), index=INDEX)


def asked(*present):
    return Dialogue("categories", NAMES, tuple(Entry(name, True, MASK) for name in NAMES if name in present))


def chosen(strategy, *present, draws=300):
    """Return how often each absent name is asked for in a draw."""
    counts = Counter()
    for seed in range(draws):
        dialogue = strategy(asked(*present), np.random.default_rng(seed))
        assert [name for name in NAMES if name in dialogue.query] == list(dialogue.query), "names keep their order"
        assert [entry.name for entry in dialogue.entries] == [name for name in NAMES if name in present]
        assert len(dialogue.query) == strategy.limit
        counts.update(name for name in dialogue.query if name not in present)
    return {name: counts[name] / draws for name in NAMES if name not in present}


def test_names_come_in_proportion_to_their_company():
    shares = chosen(HardNegatives(2, company=1.0).for_source(SOURCE), "brown bear")
    assert shares["tree"] == pytest.approx(0.75, abs=0.08)
    assert shares["snow"] == pytest.approx(0.25, abs=0.08)
    three = chosen(HardNegatives(4, company=1.0).for_source(SOURCE), "brown bear", draws=100)
    assert (three["tree"], three["snow"]) == (1, 1), "both, and the third evenly, since no other stands beside it"
    assert sum(three.values()) == pytest.approx(3)
    assert CoOccurrence.of_index(INDEX).likelihoods(["tree", "knife"], ["brown bear"]).tolist() == [0.6, 0]


def test_the_share_of_hard_names_is_a_number():
    half = chosen(HardNegatives(2, company=0.5).for_source(SOURCE), "cup")
    assert half["fork"] + half["knife"] == pytest.approx(0.5 + 0.5 * 2 / 11, abs=0.08)
    none = chosen(HardNegatives(3, company=0.0), "cup")
    assert all(share == pytest.approx(2 / 11, abs=0.08) for share in none.values())


def test_names_with_alike_words_are_drawn_without_any_records():
    shares = chosen(HardNegatives(2, company=0.0, words=1.0), "brown bear", draws=100)
    assert shares["polar bear"] > 0.6
    assert likeness("Brown Bear", "brown bear") == 1 > likeness("brown bear", "polar bear") > likeness("car", "cup")


def test_all_present_names_stay_and_nothing_present_has_no_company():
    strategy = HardNegatives(4, company=0.5, words=0.5).for_source(SOURCE)
    crowded = strategy(asked("cup", "fork", "knife", "table"), np.random.default_rng(0))
    assert set(crowded.query) == {"cup", "fork", "knife", "table"}
    assert len(strategy(asked(), np.random.default_rng(0)).query) == 4
    phrase = Dialogue("referring", ("a dog",), (Entry("a dog", True, MASK),))
    assert strategy(phrase, np.random.default_rng(0)) is phrase


def test_arguments_and_sources_that_cannot_be_used():
    for company, words in ((0.7, 0.4), (-0.1, 0.0), (0.0, 1.2)):
        with pytest.raises(ValueError, match="HardNegatives: `company` and `words` must be shares"):
            HardNegatives(4, company=company, words=words)
    with pytest.raises(ConfigError, match="has no `index` of its records; read them from shards"):
        HardNegatives(4).for_source(SimpleNamespace(manifest=SOURCE.manifest))
    with pytest.raises(ConfigError, match="call `for_source` first"):
        HardNegatives(4)(asked("cup"), np.random.default_rng(0))
