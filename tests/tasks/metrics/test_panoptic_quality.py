"""Panoptic quality against torchmetrics where the rules agree, and against cases counted by hand where they do not."""

import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality as Reference

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.tasks.metrics import PanopticQuality
from lasagna.tasks.metrics.panoptic_quality import Segments, answered_segments, true_segments

NAMES = ("bird", "cat", "sky", "sea")
STUFF = ("sky", "sea")
SIZE = (4, 10)


def strip(first, stop):
    """Whole columns, ten of which are an image."""
    pixels = np.zeros(SIZE, dtype=bool)
    pixels[:, first:stop] = True
    return pixels


def entry(name, *masks, crowds=()):
    codes, groups = tuple(map(RLEMask.from_array, masks)), tuple(map(RLEMask.from_array, crowds))
    return Entry(name, True, UnionMask((*codes, *groups), shape=SIZE), codes, groups)


def claim(name, *masks, scores=None, confidence=0.5):
    return AnsweredEntry(name, True, 0.9, None, confidence, masks=masks, scores=scores or (0.8,) * len(masks))


def scores(entries, claims, ignore=None):
    metric = PanopticQuality(NAMES, STUFF)
    ignored = None if ignore is None else RLEMask.from_array(ignore)
    metric.update(Dialogue("panoptic", NAMES, tuple(entries), ignore=ignored), Answer("", tuple(claims)))
    return {key.replace("/coco-panoptic", ""): float(value) for key, value in metric.compute().items()}


def random_segments(rng, pixels):
    """Segments of patches that overwrite one another, without void."""
    numbers, names = np.ones(pixels, np.int32), ["sky"]
    for number in range(2, 7):
        top, left = rng.integers(0, pixels[0] - 4), rng.integers(0, pixels[1] - 4)
        numbers[top : top + 6, left : left + 6] = number
        names.append(str(rng.choice(NAMES[:2])))
    kept = [number for number in range(1, 7) if (numbers == number).any()]
    return Segments(np.searchsorted(kept, numbers).astype(np.int32) + 1, tuple(names[k - 1] for k in kept))


def coloured(segments):
    categories = np.array([NAMES.index(name) for name in segments.names])[segments.numbers - 1]
    return torch.from_numpy(np.stack([categories, np.where(categories < 2, segments.numbers, 0)], -1))[None]


def test_it_agrees_with_torchmetrics_where_nothing_is_void():
    rng, metric = np.random.default_rng(0), PanopticQuality(NAMES, STUFF)
    reference = Reference(things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True)
    for _ in range(20):
        true = random_segments(rng, (16, 20))
        moved = Segments(np.roll(true.numbers, rng.integers(-1, 2), 1), true.names)
        found = moved if rng.random() < 0.7 else random_segments(rng, (16, 20))
        metric.add(true, found)
        reference.update(coloured(found), coloured(true))
    expected = reference.compute().tolist()
    assert 0.2 < expected[0] < 0.9
    values = metric.compute()
    assert [float(values[f"{name}/coco-panoptic"]) for name in ("pq", "sq", "rq")] == pytest.approx(expected)


def test_a_perfect_answer_has_the_best_scores_and_no_answer_the_worst():
    true = [entry("bird", strip(0, 2), strip(2, 4)), entry("sky", strip(4, 10))]
    perfect = scores(true, [claim("bird", strip(0, 2), strip(2, 4)), claim("sky", strip(4, 10))])
    assert set(perfect.values()) == {1.0} and len(perfect) == 9
    assert set(scores(true, []).values()) == {0.0}
    assert all(np.isnan(value) for value in scores([], []).values())


def test_iou_must_exceed_a_half_without_void_pixels():
    assert scores([entry("bird", strip(0, 8))], [claim("bird", strip(0, 4))])["pq"] == 0
    found = scores([entry("bird", strip(0, 8))], [claim("bird", strip(0, 5))])
    assert (found["pq"], found["sq"], found["rq"]) == pytest.approx((5 / 8, 5 / 8, 1))
    # pixels of no true segment count for nobody, but those of another one do
    beyond = claim("bird", strip(0, 8))
    assert scores([entry("bird", strip(0, 3))], [beyond])["pq"] == 1
    assert scores([entry("bird", strip(0, 3)), entry("sky", strip(3, 10))], [beyond])["pq"] == 0


def test_an_answer_without_segments_misses_all_but_crowds():
    assert scores([entry("bird", strip(0, 2), crowds=[strip(2, 6)]), entry("sky", strip(6, 10))], [])["pq"] == 0


def test_answers_in_void_or_in_a_crowd_of_their_category_do_not_count():
    true = [entry("bird", strip(0, 2), crowds=[strip(2, 6)]), entry("sky", strip(6, 10))]
    sky = claim("sky", strip(6, 10))
    assert scores(true, [claim("bird", strip(0, 2), strip(2, 6)), sky])["pq"] == 1
    assert scores(true, [claim("bird", strip(0, 2)), claim("cat", strip(2, 6)), sky])["pq"] == pytest.approx(2 / 3)
    assert scores([entry("sky", strip(6, 10))], [claim("cat", strip(0, 4)), sky], strip(0, 4))["pq"] == 1


def test_void_of_the_answer_makes_no_true_segment_count_less():
    """panopticapi counts a missed segment however little was answered; torchmetrics does not."""
    assert scores([entry("bird", strip(0, 8)), entry("sky", strip(8, 10))], [claim("sky", strip(8, 10))])["pq"] == 0.5


def test_segments_do_not_overlap():
    sure, weak, sky = strip(0, 6), strip(4, 9), strip(0, 10)
    answer = Answer("", (claim("sky", sky), claim("bird", weak, sure, scores=(0.6, 0.9), confidence=0.9)))
    found = answered_segments(answer, SIZE, frozenset(STUFF))
    assert found.names == ("sky", "bird", "bird")
    assert found.numbers[0].tolist() == [2] * 6 + [3] * 3 + [1]
    hidden = Answer("", (claim("bird", sure, strip(3, 7), scores=(0.9, 0.6)),))
    assert answered_segments(hidden, SIZE).names == ("bird",)  # three quarters of the second one are hidden


def test_stuff_is_one_segment_and_names_without_objects_are_one():
    dialogue = Dialogue("panoptic", NAMES, (entry("sky", strip(0, 2), strip(4, 6)), Entry("cat", False)))
    assert true_segments(dialogue, SIZE, frozenset(STUFF)).names == ("sky",)
    answer = Answer("", (claim("sky", strip(0, 2), strip(4, 6)),))
    assert answered_segments(answer, SIZE, frozenset(STUFF)).names == ("sky",)


def test_names_outside_of_the_categories_are_void():
    assert scores([entry("bird", strip(0, 2))], [claim("bird", strip(0, 2)), claim("dog", strip(2, 9))])["pq"] == 1
