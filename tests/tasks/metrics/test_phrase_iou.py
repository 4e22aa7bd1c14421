import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer
from lasagna.tasks.metrics import ReasoningIoU, ReferringIoU, TeacherForcedIoU
from tests.helpers.made_answers import answer, dialogue, pixels

PHRASE = "the ball left of the house"


def case(truth, claim, ignore=None, kind="referring"):
    return dialogue([PHRASE], {PHRASE: truth}, ignore, kind), answer({PHRASE: claim})


def random_phrase(rng, size=(4, 5)):
    truth = rng.random(size) < 0.5 if rng.random() < 0.6 else None
    claim = rng.random(size) < rng.choice([0.0, 0.1, 0.5]) if rng.random() < 0.7 else None
    return case(truth, claim, rng.random(size) < rng.choice([0.2, 1.0]) if rng.random() < 0.5 else None)


def plain_scores(cases):
    """Sets of pixels instead of arrays."""
    rows = []
    for asked, answered in cases:
        void = set(zip(*np.nonzero(asked.ignore.decode()), strict=True)) if asked.ignore else set()
        entry, claim = asked.entries[0], answered.entries[0]
        truth = set(zip(*np.nonzero(entry.mask.decode()), strict=True)) - void if entry.present else set()
        found = set(zip(*np.nonzero(claim.mask), strict=True)) - void if claim.present else set()
        rows.append((entry.present, truth, found))
    intersection = sum(len(truth & found) for _, truth, found in rows)
    union = sum(len(truth | found) for _, truth, found in rows)
    gref, lisa = [], []
    for target, truth, found in rows:
        iou = len(truth & found) / len(truth | found) if truth | found else None
        gref.append((iou or 0.0) if target else float(not found))
        lisa.append(1.0 if iou is None else iou)
    return {
        "ciou": intersection / union if union else np.nan,
        "giou/grefcoco": mean(gref),
        "giou/grefcoco/targets": mean([iou for iou, row in zip(gref, rows, strict=True) if row[0]]),
        "giou/lisa": mean(lisa),
        "n_acc": mean([not found for target, _, found in rows if not target]),
        "t_acc": mean([bool(found) for target, _, found in rows if target]),
    }


def mean(values):
    return sum(values) / len(values) if values else np.nan


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_equals_plain_sets_of_pixels(seed, phrases):
    rng = np.random.default_rng(seed)
    cases = [random_phrase(rng) for _ in range(phrases)]
    referring, reasoning = ReferringIoU(), ReasoningIoU()
    for asked, answered in cases:
        referring.update(asked, answered)
        reasoning.update(asked, answered)
    plain = plain_scores(cases)
    found = {key: value.item() for key, value in (referring.compute() | reasoning.compute()).items()}
    expected = {
        "ciou/grefcoco": plain["ciou"],
        "ciou/lisa": plain["ciou"],
        "giou/grefcoco": plain["giou/grefcoco"],
        "giou/grefcoco/targets": plain["giou/grefcoco/targets"],
        "giou/lisa": plain["giou/lisa"],
        "n_acc/grefcoco": plain["n_acc"],
        "t_acc/grefcoco": plain["t_acc"],
    }
    assert found == pytest.approx(expected, nan_ok=True)


def test_counted_by_hand():
    metric = ReferringIoU()
    metric.update(*case(pixels("##.."), pixels(".##.")))  # 1 of 3
    metric.update(*case(pixels("####"), pixels("##..")))  # 2 of 4
    metric.update(*case(pixels("##.."), None))  # 0 of 2
    metric.update(*case(None, None))  # right: nothing
    metric.update(*case(None, pixels("...#")))  # wrong: 1 pixel in the union
    scores = {key: value.item() for key, value in metric.compute().items()}
    assert scores == pytest.approx(
        {
            "ciou/grefcoco": 3 / 10,
            "giou/grefcoco": (1 / 3 + 1 / 2 + 0 + 1 + 0) / 5,
            "giou/grefcoco/targets": (1 / 3 + 1 / 2 + 0) / 3,
            "n_acc/grefcoco": 1 / 2,
            "t_acc/grefcoco": 2 / 3,
        }
    )


def test_ignored_pixels_are_left_out():
    metric = ReferringIoU()
    metric.update(*case(pixels("##.."), pixels("#..#"), ignore=pixels("...#")))
    assert metric.compute()["giou/grefcoco"] == 0.5
    metric.update(*case(None, pixels("...#"), ignore=pixels("...#")))
    assert metric.compute()["n_acc/grefcoco"] == 1


def test_a_missing_answer_or_entry_is_nothing():
    metric = ReferringIoU()
    metric.update(dialogue([PHRASE], {PHRASE: pixels("#.")}), Answer(""))
    metric.update(dialogue([PHRASE], {}), Answer(""))
    assert metric.compute()["giou/grefcoco"] == 0.5
    assert metric.compute()["n_acc/grefcoco"] == 1
    assert metric.compute()["t_acc/grefcoco"] == 0


def test_a_present_answer_with_an_empty_mask_is_nothing():
    metric = ReferringIoU()
    metric.update(*case(None, pixels("..")))
    assert metric.compute()["n_acc/grefcoco"] == 1


def test_the_protocols_differ_where_all_of_a_target_is_ignored():
    asked, answered = case(pixels("#."), None, ignore=pixels("#."))
    lisa, grefcoco = ReasoningIoU(), ReferringIoU()
    lisa.update(asked, answered)
    grefcoco.update(asked, answered)
    assert lisa.compute()["giou/lisa"] == 1
    assert grefcoco.compute()["giou/grefcoco"] == 0


def test_teacher_forced_counted_by_hand():
    metric = TeacherForcedIoU()
    metric.update(*case(pixels("##.."), pixels(".##.")))  # 1 of 3
    metric.update(*case(pixels("#..."), pixels("####"), ignore=pixels("..##")))  # 1 of 2
    metric.update(*case(None, pixels("....")))  # nothing of nothing
    metric.update(*case(None, pixels("..##")))  # 0 of 2
    scores = {key: value.item() for key, value in metric.compute().items()}
    assert scores == pytest.approx({"ciou/teacher-forced": 2 / 7, "giou/teacher-forced": (1 / 3 + 1 / 2 + 1 + 0) / 4})


def test_teacher_forced_scores_are_of_no_other_answers():
    for kind in (ReasoningIoU, ReferringIoU):
        with pytest.raises(ValueError, match="decoding: 'teacher_forced' is not one of 'ordered', 'free'"):
            kind("teacher_forced")


def test_a_mask_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r"size is \(1, 3\), that of the image \(1, 2\)"):
        ReferringIoU().update(*case(pixels("#."), pixels("#..")))


@pytest.mark.shared
def test_equals_the_reference_on_recorded_masks(shared):
    cases = json.loads((shared / "golden" / "metric" / "cases.json").read_text())
    arrays = np.load(shared / "golden" / "metric" / "cases.npz")
    for name, images in (("referring_plain", 1), ("referring_empty_target", 2)):
        metric, teacher_forced, expected = ReasoningIoU(), TeacherForcedIoU(), cases[name]
        for image in range(images):
            targets, claims = arrays[f"{name}.{image}.target"], arrays[f"{name}.{image}.pred"]
            for target, claim in zip(targets, claims, strict=True):
                for one in (metric, teacher_forced):
                    one.update(*case(target == 1, claim == 1, target == 255, kind="reasoning"))
        scores, rounds = metric.compute(), 1 + 1e-5 / expected["n"]  # the reference divides by the count + 1e-5
        assert scores["giou/lisa"].item() == pytest.approx(expected["giou"] * rounds, rel=1e-5)
        assert scores["ciou/lisa"].item() == pytest.approx(expected["ciou"], rel=1e-5)
        again = {key.replace("teacher-forced", "lisa"): value for key, value in teacher_forced.compute().items()}
        assert again == scores
