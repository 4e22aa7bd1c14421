"""The protocols of label maps against a plain count of pixels, one by one, on odd cases of all kinds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.tasks.metrics import MeanIoU, MMSegMeanIoU, ReferenceMeanIoU

SIZE = (3, 4)
NAMES = ("sky", "traffic light", "dog", "Sea")
FOREIGN = ("zeppelin", "light")
NONE = "none of them"


def odd_case(rng, categories):
    """Overlaps, empty masks, nothing true or answered, all ignored, names borrowed, repeated, in other letters."""
    asked = [name for name in (*categories, *FOREIGN) if rng.random() < 0.7] or [categories[0]]
    there = [name for name in asked if name in categories and rng.random() < rng.choice([0.0, 0.7])]
    entries = [Entry(name, True, RLEMask.from_array(random_mask(rng))) for name in there]
    said = [name for name in asked if rng.random() < rng.choice([0.0, 0.9])]
    said += [str(name).upper() for name in said if rng.random() < 0.3]
    answered = [random_entry(rng, name) for name in said]
    if rng.random() < 0.5:
        answered = with_probabilities(rng, answered)
    ignore = rng.random(SIZE) < rng.choice([0.2, 1.0]) if rng.random() < 0.6 else None
    void = None if ignore is None else RLEMask.from_array(ignore)
    return Dialogue("categories", tuple(asked), tuple(entries), ignore=void), Answer("", tuple(answered))


def random_mask(rng):
    return rng.random(SIZE) < rng.choice([0.0, 0.3, 0.6, 1.0])


def random_entry(rng, name):
    if rng.random() < 0.25:
        return AnsweredEntry(name, False, 0.1)
    return AnsweredEntry(name, True, 0.5 + rng.random() / 2, random_mask(rng), 0.5 + rng.random() / 2)


def with_probabilities(rng, answered):
    """Give each mask probabilities, no two of a pixel alike."""
    ranks = rng.permuted(np.tile(np.arange(len(answered))[:, None, None], (1, *SIZE)), axis=0)
    return [
        AnsweredEntry(one.name, one.present, one.score, one.mask, one.confidence, (ranks[place] + 1).astype("f2") / 32)
        if one.present
        else one
        for place, one in enumerate(answered)
    ]


def labels_of(case, categories, last_of_a_name=False):
    """Yield for each pixel its true and predicted name, and whether it is void."""
    asked, answer = case
    known = {name.casefold(): name for name in categories}
    true = [(entry.name, entry.mask.decode()) for entry in asked.entries]
    claims = [entry for entry in answer.entries if entry.present]
    if last_of_a_name:
        claims = list({entry.name.casefold(): entry for entry in claims}.values())
    void = np.zeros(SIZE, bool) if asked.ignore is None else asked.ignore.decode()
    for pixel in np.ndindex(SIZE):
        over = [(mask.sum(), -categories.index(name), name) for name, mask in true if mask[pixel]]
        found = [entry for entry in claims if entry.mask[pixel]]
        best = max(found, key=lambda entry: priority(entry, pixel), default=None)
        truth = min(over)[2] if over else NONE
        yield truth, NONE if best is None else known.get(best.name.casefold(), NONE), void[pixel]


def priority(entry, pixel):
    return float(entry.confidence if entry.probability is None else entry.probability[pixel])


def ious(pairs, categories):
    """The IoU of each category that occurs, from pairs of a true and a predicted name."""
    both = Counter(truth for truth, found in pairs if truth == found)
    either = Counter(name for truth, found in pairs for name in {truth, found})
    return [both[name] / either[name] for name in categories if either[name]]


def mean(values):
    return sum(values) / len(values) if values else np.nan


def ours(cases, categories):
    pairs = [(truth, found) for case in cases for truth, found, void in labels_of(case, categories) if not void]
    return {"miou/lasagna-v1": mean(ious(pairs, categories))}


def mmseg(cases, categories):
    rows = [row for case in cases for row in labels_of(case, categories)]
    pairs = [(truth, found) for truth, found, void in rows if not void and truth != NONE]
    right = {name: [found == name for truth, found in pairs if truth == name] for name in categories}
    return {
        "miou/mmseg": mean(ious(pairs, categories)),
        "pixel_accuracy/mmseg": mean([truth == found for truth, found in pairs]),
        "mean_accuracy/mmseg": mean([mean(found) for found in right.values() if found]),
    }


def reference(cases, categories):
    images = [list(labels_of(case, categories, last_of_a_name=True)) for case in cases]
    asked = [rows for rows in images if any(truth != NONE and not void for truth, _, void in rows)]
    rows = [row for rows in asked for row in rows]
    first = {NONE: categories[0]}
    pairs = [(first[NONE] if void else first.get(truth, truth), first.get(found, found)) for truth, found, void in rows]
    return {"miou/reference": mean(ious(pairs, categories))}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
@pytest.mark.parametrize(("kind", "plain"), [(MeanIoU, ours), (MMSegMeanIoU, mmseg), (ReferenceMeanIoU, reference)])
def test_equals_a_count_pixel_by_pixel(kind, plain, seed, classes, images):
    rng, categories = np.random.default_rng(seed), NAMES[:classes]
    cases = [odd_case(rng, categories) for _ in range(images)]
    metric = kind(categories)
    for case in cases:
        metric.update(*case)
    found = {key: value.item() for key, value in metric.compute().items()}
    assert found == pytest.approx(plain(cases, categories), nan_ok=True)
