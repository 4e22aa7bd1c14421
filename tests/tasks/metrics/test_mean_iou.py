import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torchmetrics.functional.classification import multiclass_jaccard_index

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.tasks.metrics import MeanIoU, MMSegMeanIoU, ReferenceMeanIoU
from lasagna.tasks.metrics.mean_iou import confusion_matrix, iou_by_category, paint_truth, top_of
from tests.helpers.made_answers import answer, dialogue, pixels, random_case

NAMES = ("sky", "sea", "Dog")
KEY = "miou/lasagna-v1"


def plain_confusion(cases, names):
    """Pixel by pixel, without any array operation."""
    none = len(names)
    counts = [[0] * (none + 1) for _ in range(none + 1)]
    for asked, answered in cases:
        truth = {entry.name: entry.mask.decode() for entry in asked.entries if entry.present}
        ignore = asked.ignore.decode() if asked.ignore else None
        height, width = next(
            iter([*truth.values(), *[e.mask for e in answered.entries if e.present], np.zeros((0, 0))])
        ).shape
        for y in range(height):
            for x in range(width):
                if ignore is not None and ignore[y, x]:
                    continue
                true = min(
                    ((mask.sum(), -names.index(name)) for name, mask in truth.items() if mask[y, x]), default=(0, -none)
                )
                best, predicted = -1.0, none
                for entry in answered.entries:
                    if entry.present and entry.mask[y, x] and entry.probability[y, x] > best:
                        best = entry.probability[y, x]
                        predicted = names.index(entry.name) if entry.name in names else none
                counts[-true[1]][predicted] += 1
    return counts


def plain_mean_iou(counts):
    ious = []
    for label in range(len(counts) - 1):
        union = sum(counts[label]) + sum(row[label] for row in counts) - counts[label][label]
        if union:
            ious.append(counts[label][label] / union)
    return sum(ious) / len(ious) if ious else float("nan")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_equals_a_plain_pixel_loop(seed, images):
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, NAMES) for _ in range(images)]
    metric = MeanIoU(NAMES)
    for asked, answered in cases:
        metric.update(asked, answered)
    expected = plain_confusion(cases, NAMES)
    mixed = metric.confusion.tolist()
    none = len(NAMES)
    expected[none][none] = mixed[none][none]  # an image without a single mask has no size
    assert mixed == expected
    np.testing.assert_allclose(metric.compute()[KEY], plain_mean_iou(expected), rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_other_libraries_without_overlap_and_void(seed):
    rng = np.random.default_rng(seed)
    names = [f"thing {label}" for label in range(6)]
    truth, prediction = rng.integers(0, 7, (20, 30)), rng.integers(1, 7, (20, 30))
    metric = MeanIoU(names)
    metric.update(
        dialogue(names, {name: truth == label for label, name in enumerate(names) if (truth == label).any()}),
        answer({name: prediction == label for label, name in enumerate(names)}),
    )
    expected = sklearn_confusion(truth.ravel(), prediction.ravel(), labels=range(7))
    assert metric.confusion.tolist() == expected.tolist()
    reference = multiclass_jaccard_index(torch.from_numpy(prediction), torch.from_numpy(truth), 7, average=None)
    torch.testing.assert_close(iou_by_category(metric.confusion), reference[:6])
    torch.testing.assert_close(metric.compute()[KEY], reference[:6].mean())


def test_counted_by_hand():
    metric = MeanIoU(("sky", "sea", "dog", "cat"))
    metric.update(
        dialogue(["sky", "sea", "dog"], {"sky": pixels("##..", "##.."), "sea": pixels("..##", "....")}),
        answer({"sky": pixels("###.", "##.."), "sea": pixels("...#", "...."), "dog": pixels("....", "...#")}),
    )
    assert iou_by_category(metric.confusion).tolist() == pytest.approx([4 / 5, 1 / 2, 0.0, np.nan], nan_ok=True)
    assert metric.compute()[KEY].item() == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)


def test_presence_is_decided_over_the_data_set_not_by_image():
    metric = MeanIoU(("sky", "dog"))
    whole = pixels("##")
    metric.update(dialogue(["sky", "dog"], {"sky": whole}), answer({"sky": whole, "dog": None}))
    assert metric.compute()[KEY] == 1  # the dog is nowhere yet
    metric.update(dialogue(["sky", "dog"], {"dog": pixels("#.")}), answer({"sky": None, "dog": pixels("##")}))
    assert metric.compute()[KEY].item() == pytest.approx((1 + 1 / 2) / 2)


def test_unclaimed_pixels_are_none_and_not_the_first_category():
    metric = MeanIoU(("sky", "road"))
    metric.update(
        dialogue(["sky", "road"], {"sky": pixels("#."), "road": pixels(".#")}),
        answer({"sky": pixels("#."), "road": None}),
    )
    assert metric.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert metric.compute()[KEY].item() == 0.5


def test_void_counts_nowhere():
    metric = MeanIoU(("sky", "dog"))
    metric.update(
        dialogue(["sky", "dog"], {"sky": pixels("##.")}, ignore=pixels(".##")),
        answer({"sky": pixels("#.."), "dog": pixels("..#")}),
    )
    assert metric.confusion.sum() == 1
    assert metric.compute()[KEY] == 1


def test_all_void_is_nan():
    metric = MeanIoU(("sky",))
    metric.update(dialogue(["sky"], {"sky": pixels("##")}, ignore=pixels("##")), answer({"sky": pixels("##")}))
    assert metric.confusion.sum() == 0
    assert metric.compute()[KEY].isnan()


def test_the_highest_probability_wins_an_overlap_and_the_first_of_equals():
    names, both = ("sky", "sea"), pixels("###")
    sky = (both, np.array([[0.9, 0.6, 0.7]], dtype=np.float16))
    sea = (both, np.array([[0.8, 0.7, 0.7]], dtype=np.float16))
    asked = dialogue(names, {"sky": pixels("#.#"), "sea": pixels(".#.")})
    for claims in ({"sky": sky, "sea": sea}, {"sea": sea, "sky": sky}):
        metric = MeanIoU(names)
        metric.update(asked, answer(claims))
        tie = next(iter(claims)) == "sky"
        assert metric.confusion[0].tolist() == ([2, 0, 0] if tie else [1, 1, 0])


def test_without_probabilities_confidence_decides_and_without_it_the_score():
    whole = pixels("##")
    asked = dialogue(["sky", "sea"], {"sky": whole})
    entries = [AnsweredEntry("sky", True, 0.6, whole, 0.9), AnsweredEntry("sea", True, 0.8, whole, 0.7)]
    metric = MeanIoU(("sky", "sea"))
    metric.update(asked, Answer("", tuple(entries)))
    assert metric.confusion[0].tolist() == [2, 0, 0]
    entries = [AnsweredEntry(entry.name, True, entry.score, whole) for entry in entries]
    metric.update(asked, Answer("", tuple(entries)))
    assert metric.confusion[0].tolist() == [2, 2, 0]


def test_borrowed_names_compete_and_are_none():
    metric = MeanIoU(("sky",))
    weak, strong = np.full((1, 2), 0.6, np.float16), np.full((1, 2), 0.9, np.float16)
    metric.update(
        dialogue(["sky", "unicorn"], {"sky": pixels("##")}),
        answer({"sky": (pixels("##"), weak), "unicorn": (pixels(".#"), strong)}),
    )
    assert metric.confusion.tolist() == [[1, 1], [0, 0]]


def test_the_smaller_of_overlapping_true_masks_lies_on_top_in_any_order():
    small, large, equal = pixels("##..", "...."), pixels("####", "##.."), pixels(".##.", "....")
    for layers in ([(0, small), (1, large), (2, equal)], [(2, equal), (1, large), (0, small)]):
        labels = paint_truth(layers, (2, 4), none=3)
        assert labels.tolist() == [[0, 2, 2, 1], [1, 1, 3, 3]]


def test_names_are_compared_without_case_and_doubled_blanks():
    metric = MeanIoU(("Traffic  Light",))
    metric.update(dialogue(["traffic light"], {"traffic light": pixels("#.")}), answer({"TRAFFIC LIGHT": pixels("#.")}))
    assert metric.compute()[KEY] == 1


def test_an_image_without_masks_counts_nothing():
    metric = MeanIoU(("sky",))
    metric.update(dialogue(["sky"], {}), answer({"sky": None}))
    metric.update(dialogue(["sky"], {}), Answer(""))
    assert metric.confusion.sum() == 0


def test_painting_nothing_is_none():
    assert (paint_truth([], (2, 3), none=4) == 4).all()


def test_pure_confusion_leaves_its_arguments_alone():
    truth, prediction = np.array([[0, 1]], np.int32), np.array([[1, 1]], np.int32)
    counts = confusion_matrix(truth, prediction, pixels("#."), 2)
    assert counts.tolist() == [[0, 0], [0, 1]]
    assert truth.tolist() == [[0, 1]]


def test_what_an_answer_says_about_overlaps_counts_as_its_probabilities_would():
    rng = np.random.default_rng(0)
    for _ in range(20):
        asked, given = random_case(rng, NAMES)
        settled = Answer("", given.entries, top=top_of(given, (5, 6)))
        for kind in (MeanIoU, MMSegMeanIoU, ReferenceMeanIoU):
            one, other = kind(NAMES), kind(NAMES)
            one.update(asked, given)
            other.update(asked, replace(settled, entries=tuple(replace(e, probability=None) for e in given.entries)))
            assert one.confusion.tolist() == other.confusion.tolist()


@pytest.mark.parametrize("claim", [(pixels("##"), None), (pixels("#"), np.ones((1, 2), np.float16))])
def test_a_mask_of_another_size_is_an_error(claim):
    with pytest.raises(ValueError, match=r"'sky'.*size is \(1, 2\), that of the image \(1, 1\)"):
        MeanIoU(("sky",)).update(dialogue(["sky"], {"sky": pixels("#")}), answer({"sky": claim}))


def test_true_masks_of_different_sizes_are_an_error():
    with pytest.raises(ValueError, match="different sizes"):
        MeanIoU(("sky",)).update(dialogue(["sky"], {"sky": pixels("#")}, ignore=pixels("##")), Answer(""))


@pytest.mark.parametrize("categories", [(), ("sky", "sea", "SKY")])
def test_categories_must_be_there_and_differ(categories):
    with pytest.raises(ValueError, match="categories: the manifest must list them, each once"):
        MeanIoU(categories)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["index_plain", "index_absent_class"])
def test_equals_the_reference_on_index_maps(case, shared):
    expected = json.loads((shared / "golden" / "metric" / "cases.json").read_text())[case]
    arrays = np.load(shared / "golden" / "metric" / "cases.npz")
    names = [f"thing {label}" for label in range(expected["num_classes"])]
    metric = MeanIoU(names)
    for truth, prediction in zip(arrays[f"{case}.target"], arrays[f"{case}.pred"], strict=True):
        masks = {name: truth == label for label, name in enumerate(names)}
        claims = {name: prediction == label for label, name in enumerate(names)}
        metric.update(dialogue(names, masks, ignore=truth == 255), answer(claims))
    assert metric.confusion[:-1, :-1].tolist() == expected["confusion_rows_are_targets"]
    ious = [np.nan if value is None else value for value in expected["iou"]]
    assert iou_by_category(metric.confusion).tolist() == pytest.approx(ious, nan_ok=True)
    assert metric.compute()[KEY].item() == pytest.approx(expected["miou"])


def test_large_pictures_are_counted_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 7, 9), dtype=np.int32)
    void = rng.random((7, 9)) < 0.3
    whole = [confusion_matrix(truth, prediction, one, 4) for one in (void, None)]
    monkeypatch.setattr("lasagna.tasks.metrics.mean_iou._AT_ONCE", 20)
    for one, counts in zip((void, None), whole, strict=True):
        assert np.array_equal(confusion_matrix(truth, prediction, one, 4), counts)
    assert np.array_equal(whole[1], sklearn_confusion(truth.ravel(), prediction.ravel(), labels=range(4)))
