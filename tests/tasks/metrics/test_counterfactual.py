"""Scores of pairs equal HalluSegBench's rule, worked out over sets of pixels in the order of its two scripts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.core.image_pairs import pair_group
from lasagna.core.masks import RLEMask
from lasagna.tasks import Referring
from lasagna.tasks.metrics import CounterfactualIoU, PastedPairIoU, collect, quantity_of
from tests.helpers.made_answers import answer, dialogue

SIZE = (4, 5)
NAMES = {"factual": ("red tie", "blue scarf"), "counterfactual": ("blue scarf", "red tie")}


def phrases(pair, side, truth, present_claim, absent_claim, ignore=None):
    """What both names are answered with on one image of a pair; the first one of them fits."""
    masks = (truth, None), (present_claim, absent_claim)
    for name, mask, claim in zip(NAMES[side], *masks, strict=True):
        asked = replace(dialogue([name], {name: mask}, ignore, kind="referring"), group=pair_group(pair, side))
        yield asked, answer({name: claim})


def scored(images, metric=CounterfactualIoU):
    metrics = collect([metric()])
    for rank, image in enumerate(images):
        samples = [Sample("made", str(rank), 0, asked) for asked, _ in image]
        Referring().score(metrics, samples, [answered for _, answered in image])
    return {key: value.item() for key, value in metrics.compute().items()}


def random_mask(rng, share):
    return rng.random(SIZE) < share


def places(mask):
    return set() if mask is None else set(zip(*np.nonzero(mask), strict=True))


def iou(truth, found):
    return len(truth & found) / len(truth | found) if truth | found else 0.0


def confusion(truth, found):
    return round((3 * len(truth & found) + len(found - truth)) / (3 * len(truth)), 4) if truth else 0.0


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else np.nan


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_equal_the_rule_of_the_benchmark(seed, pairs):
    rng = np.random.default_rng(seed)
    images, rows = [], []
    for number in range(pairs):
        drawn = []
        for side in NAMES:
            truth = random_mask(rng, rng.choice([0.0, 0.3, 0.7]))
            claims = [random_mask(rng, 0.5) if rng.random() < 0.6 else None for _ in range(2)]
            images.append(list(phrases(f"set/{number}", side, truth, *claims)))
            drawn.append([places(truth), *map(places, claims), claims[0] is not None and claims[1] is None])
        rows.append(drawn)
    first = [iou(image[0], image[1]) for image, _ in rows]
    by_text = [iou(image[0], image[2]) for image, _ in rows]
    by_image = [iou(twin[0], twin[2]) for _, twin in rows]
    confused = [(confusion(image[0], image[2]), confusion(twin[0], twin[2])) for image, twin in rows]
    assert scored([images[place] for place in rng.permutation(len(images))]) == pytest.approx(
        {
            "iou_factual/hallusegbench": mean(first),
            "delta_iou_textual/hallusegbench": mean(np.subtract(first, by_text)),
            "delta_iou_visual/hallusegbench": mean(np.subtract(first, by_image)),
            "cms_factual/hallusegbench": mean(one for one, _ in confused),
            "cms_counterfactual/hallusegbench": mean(two for _, two in confused),
            "ccms/hallusegbench": mean(one / two for one, two in confused if two != 0),
            "pair_accuracy/lasagna-v1": mean(image[3] and twin[3] for image, twin in rows),
        },
        nan_ok=True,
        abs=1e-6,
    )


def test_an_image_without_its_twin_and_phrases_of_no_pair_do_not_count():
    full = np.ones(SIZE, bool)
    lonely = list(phrases("alone", "factual", full, full, full))
    other = [(replace(asked, group=""), answered) for asked, answered in lonely]
    assert all(np.isnan(score) for score in scored([lonely, other]).values())
    pair = [list(phrases("pair", side, full, full, None)) for side in NAMES]
    assert scored([lonely, *pair])["pair_accuracy/lasagna-v1"] == 1
    assert "ccms/hallusegbench-pasted" in scored(pair, PastedPairIoU)


def test_names_are_scored_in_lists_too_and_ignored_pixels_do_not_count():
    left = np.zeros(SIZE, bool)
    left[:, :2] = True
    images = []
    for side in NAMES:
        asked = [
            replace(one, kind=dialogue([], {}).kind, entries=one.entries if one.entries[0].present else ())
            for one, _ in phrases("pair", side, np.ones(SIZE, bool), None, None)
        ]
        claims = [answer({NAMES[side][0]: left}), Answer("")]
        images.append(
            [(replace(one, ignore=RLEMask.from_array(~left)), claim) for one, claim in zip(asked, claims, strict=True)]
        )
    found = scored(images)
    assert found["iou_factual/hallusegbench"] == found["pair_accuracy/lasagna-v1"] == 1
    assert found["cms_factual/hallusegbench"] == 0 and np.isnan(found["ccms/hallusegbench"])


def test_less_confusion_is_better():
    assert not quantity_of("cms_factual/hallusegbench").higher_is_better
    assert quantity_of("delta_iou_visual/hallusegbench").higher_is_better
