"""The protocols of others: LaSagnA's own script, MMSegmentation, and LISA's referring scores."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import LabelMap
from lasagna.core.overlaps import OverlapMap
from lasagna.tasks.metrics import MeanIoU, MMSegMeanIoU, ReasoningIoU, ReferenceMeanIoU
from lasagna.tasks.metrics.mean_iou import iou_by_category
from tests.helpers.made_answers import answer, dialogue, pixels, random_case

NAMES = ("sky", "sea", "dog")
CITYSCAPES = ["road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"]
CITYSCAPES += ["terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "metric"
    if not folder.is_dir():
        pytest.skip("shared/ holds no golden data of the original's metrics")
    return json.loads((folder / "cases.json").read_text()), dict(np.load(folder / "cases.npz"))


def scored(metric, *cases):
    for case in cases:
        metric.update(*case)
    return {key: float(value) for key, value in metric.compute().items()}


def truth_of(labels, names):
    """A dialogue about a label map; 255 is void."""
    label_map = LabelMap(labels)
    entries = [Entry(names[value], True, label_map.mask([value])) for value in label_map.values if value != 255]
    ignore = label_map.mask([255]) if 255 in label_map.values else None
    return Dialogue("categories", tuple(names), tuple(entries), ignore=ignore)


@pytest.mark.parametrize(
    "case",
    ["perfect_but_one_ignored_row", "road_missing_from_answer", "same_class_twice_last_wins", "multiword"],
)
def test_reference_gives_the_numbers_of_the_original_script(golden, case):
    told, arrays = golden[0][f"validate_{case}"], golden[1]
    names = [piece.split("<no_ins>")[-1] for piece in told["answer_text"].split("<ins>")[:-1]]
    logits = torch.from_numpy(arrays[f"validate_{case}.logits"]).float()
    entries = [
        AnsweredEntry(name, True, 1.0, (logit > 0).numpy(), 1.0, logit.sigmoid().half().numpy())
        for name, logit in zip(names, logits, strict=True)
    ]
    top = OverlapMap(logits.shape[1:])
    for rank, logit in enumerate(logits.numpy()):
        top.add(rank, logit > 0, logit)
    metric = ReferenceMeanIoU(CITYSCAPES, "free")
    given = truth_of(arrays[f"validate_{case}.label"], CITYSCAPES), Answer("", tuple(entries), top=top)
    assert scored(metric, given) == {"miou/reference/free": pytest.approx(told["miou"], abs=1e-6)}
    expected = [np.nan if value is None else value for value in told["iou"]]
    np.testing.assert_allclose(iou_by_category(metric.confusion), expected, atol=1e-6)


@pytest.mark.parametrize("case", ["index_plain", "index_absent_class"])
@pytest.mark.parametrize("kind", [ReferenceMeanIoU, MMSegMeanIoU, MeanIoU])
def test_index_maps_give_the_numbers_of_the_original(golden, case, kind):
    told, arrays = golden[0][case], golden[1]
    names = [f"class {rank}" for rank in range(told["num_classes"])]
    metric = kind(names)
    assert kind is not ReferenceMeanIoU or not (arrays[f"{case}.target"] == 255).any()
    for target, pred in zip(arrays[f"{case}.target"], arrays[f"{case}.pred"], strict=True):
        masks = {names[value]: pred == value for value in np.unique(pred) if value != 255}
        metric.update(truth_of(target, names), answer(masks))
    assert float(metric.compute()[metric.key("miou")]) == pytest.approx(told["miou"], abs=1e-6)
    assert metric.confusion[:-1, :-1].tolist() == told["confusion_rows_are_targets"]


@pytest.mark.parametrize("case", ["referring_plain", "referring_empty_target"])
def test_lisa_gives_the_numbers_of_the_original(golden, case):
    told, arrays = golden[0][case], golden[1]
    metric = ReasoningIoU()
    for key in sorted(name for name in arrays if name.startswith(f"{case}.") and name.endswith("pred")):
        for pred, target in zip(arrays[key], arrays[key.replace("pred", "target")], strict=True):
            mask = (target == 1) if (target == 1).any() else None
            metric.update(dialogue(["it"], {"it": mask}, target == 255, "reasoning"), answer({"it": pred == 1}))
    found = {key: float(value) for key, value in metric.compute().items()}
    count = told["n"]
    assert found["giou/lisa"] * count / (count + 1e-5) == pytest.approx(told["giou"], abs=1e-7)
    # the script's cIoU: the case with an empty target says what was summed
    assert found["ciou/lisa"] == pytest.approx(told["ciou"], abs=1e-6)


def test_reference_counted_by_hand():
    # sky: void pixel 4 and unclaimed pixel 2 are sky; truth sky sky sea (sky), prediction sky sky(none) sea sea
    asked = dialogue(NAMES, {"sky": pixels("##.."), "sea": pixels("..#.")}, ignore=pixels("...#"))
    given = answer({"sky": pixels("#..."), "sea": pixels("..##"), "zeppelin": pixels("####")})
    assert scored(ReferenceMeanIoU(NAMES), (asked, given)) == {"miou/reference": pytest.approx((2 / 3 + 1 / 2) / 2)}


@pytest.mark.parametrize("ignore", [None, pixels("...."), pixels("####")])
@pytest.mark.parametrize("truth", [{}, {"unicorn": pixels("##..")}])
@pytest.mark.parametrize("claim", [None, pixels(".##.")])
def test_reference_leaves_images_without_a_true_category_out(ignore, truth, claim):
    """The script asks about the first image of the data set again in their place."""
    metric = ReferenceMeanIoU(NAMES)
    metric.update(dialogue(NAMES, truth, ignore), answer({"sea": claim}))
    metric.update(dialogue(NAMES, {"sky": pixels("##..")}, ignore=pixels("##..")), answer({"sea": claim}))
    assert metric.confusion.sum() == 0


def test_reference_and_ours_differ_where_a_name_is_left_out():
    asked, given = dialogue(NAMES, {"sky": pixels("##")}), answer({"sky": None})
    assert scored(ReferenceMeanIoU(NAMES), (asked, given)) == {"miou/reference": 1.0}
    assert scored(MeanIoU(NAMES), (asked, given)) == {"miou/lasagna-v1": 0.0}


def test_mmseg_counted_by_hand():
    # pixel 3 has no category and pixel 4 is void: what is claimed there costs nothing; pixel 2 is missed
    asked = dialogue(NAMES, {"sky": pixels("##....")}, ignore=pixels("...#.."))
    given = answer({"sky": pixels("#....."), "dog": pixels("..##.."), "zeppelin": pixels(".#...#")})
    found = scored(MMSegMeanIoU(NAMES), (asked, given))
    assert found == {"miou/mmseg": 0.5, "pixel_accuracy/mmseg": 0.5, "mean_accuracy/mmseg": 0.5}


def test_mmseg_counts_what_is_absent_but_predicted():
    asked = dialogue(NAMES, {"sky": pixels("##")})
    found = scored(MMSegMeanIoU(NAMES), (asked, answer({"sky": pixels("#."), "dog": pixels(".#")})))
    assert found == {"miou/mmseg": 0.25, "pixel_accuracy/mmseg": 0.5, "mean_accuracy/mmseg": 0.5}


def flat(case, unlabelled, unclaimed):
    """True and predicted labels of a case whose masks do not overlap, void pixels left out."""
    asked, given = case
    truth = np.full((5, 6), unlabelled)
    prediction = np.full((5, 6), unclaimed)
    for entry in sorted(asked.entries, key=lambda entry: -entry.mask.decode().sum()):
        truth[entry.mask.decode()] = NAMES.index(entry.name)
    for entry in given.entries:
        if entry.present and entry.name in NAMES:
            prediction[entry.mask] = NAMES.index(entry.name)
    return truth, prediction, None if asked.ignore is None else asked.ignore.decode()


def plain_case(seed):
    """A case of one label map each, so that nothing overlaps."""
    rng = np.random.default_rng(seed)
    asked, _ = random_case(rng, NAMES)
    labels, claimed = rng.integers(0, 4, (2, 5, 6))
    present = {name: labels == rank for rank, name in enumerate(NAMES) if (labels == rank).any()}
    ignore = None if asked.ignore is None else asked.ignore.decode()
    claims = {name: claimed == rank for rank, name in enumerate(NAMES)}
    return dialogue(NAMES, present, ignore), answer(claims)


def test_both_agree_with_scikit_learn():
    cases = [plain_case(seed) for seed in range(6)]
    parts = [flat(case, 9, 8) for case in cases]
    firsts = [(np.where((void is not None) & (void if void is not None else False) | (truth == 9), 0, truth),
               np.where(prediction == 8, 0, prediction)) for truth, prediction, void in parts]  # fmt: skip
    truth, prediction = (np.concatenate([pair[side].ravel() for pair in firsts]) for side in (0, 1))
    expected = jaccard_score(truth, prediction, labels=range(3), average="macro")
    assert scored(ReferenceMeanIoU(NAMES), *cases)["miou/reference"] == pytest.approx(expected, abs=1e-6)
    kept = [(truth != 9) & (True if void is None else ~void) for truth, _, void in parts]
    truth, prediction = (
        np.concatenate([part[side][keep] for part, keep in zip(parts, kept, strict=True)]) for side in (0, 1)
    )
    found = scored(MMSegMeanIoU(NAMES), *cases)
    expected = jaccard_score(truth, prediction, labels=range(3), average="macro")
    assert found["miou/mmseg"] == pytest.approx(expected, abs=1e-6)
    assert found["pixel_accuracy/mmseg"] == pytest.approx((truth == prediction).mean(), abs=1e-6)
