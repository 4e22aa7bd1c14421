"""AP, AR and counts of objects against COCO's own code and plain counting."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.tasks.metrics import AveragePrecision, ObjectCount

NAMES = ("bird", "cat", "dog")
SIZE = (24, 30)


def box(top, left, height=8, width=8):
    pixels = np.zeros(SIZE, dtype=bool)
    pixels[top : top + height, left : left + width] = True
    return pixels


def dialogue(objects, crowds=None, query=NAMES, ignore=None):
    """A query, with the masks of the objects of each present name."""
    entries = []
    for name, masks in objects.items():
        codes = tuple(map(RLEMask.from_array, masks))
        groups = tuple(map(RLEMask.from_array, (crowds or {}).get(name, ())))
        entries.append(Entry(name, True, UnionMask((*codes, *groups), shape=SIZE), codes, groups))
    ignored = None if ignore is None else RLEMask.from_array(ignore)
    return Dialogue("instances", query, tuple(entries), ignore=ignored)


def answer(found):
    """An answer with (mask, score) pairs of each present name."""
    entries = []
    for name, parts in found.items():
        masks, scores = tuple(mask for mask, _ in parts), tuple(score for _, score in parts)
        mask = None if masks else np.zeros(SIZE, bool)
        entries.append(AnsweredEntry(name, True, 0.99, mask, masks=masks, scores=scores))
    return Answer("", tuple(entries))


def scores(cases, metric=AveragePrecision):
    scored = metric(NAMES) if metric is AveragePrecision else metric()
    for asked, given in cases:
        scored.update(asked, given)
    return {key: float(value) for key, value in scored.compute().items()}


def random_cases(rng, count):
    for _ in range(count):
        true = {name: [box(*rng.integers(0, 16, 2)) for _ in range(rng.integers(1, 4))] for name in NAMES[:2]}
        moved = {
            name: [(np.roll(mask, rng.integers(-2, 3), 1), float(rng.random())) for mask in masks]
            for name, masks in true.items()
        }
        extra = {"dog": [(box(*rng.integers(0, 16, 2)), float(rng.random()))]} if rng.random() < 0.5 else {}
        yield dialogue(true, {"cat": [box(0, 0, 24, 4)]}), answer(moved | extra)


def official(cases):
    """The scores of the results that ``Answer.to_coco`` exports."""
    ids = {name: number for number, name in enumerate(NAMES, start=1)}
    truth, annotations, results = COCO(), [], []
    for image, (asked, given) in enumerate(cases, start=1):
        for entry in asked.entries:
            for mask, crowd in [*((mask, 0) for mask in entry.masks), *((mask, 1) for mask in entry.crowds)]:
                code = {"image_id": image, "category_id": ids[entry.name], "segmentation": mask.to_json()}
                area = int(mask.decode().sum())
                annotations.append({"id": len(annotations) + 1, "area": area, "iscrowd": crowd, **code})
        results += given.to_coco(image, ids)
    images = [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(1, len(cases) + 1)]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    truth.dataset = {"images": images, "categories": categories, "annotations": annotations}
    with redirect_stdout(StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_scores_are_those_of_cocos_code_on_exported_results():
    cases = list(random_cases(np.random.default_rng(0), 12))
    found, stats = scores(cases), official(cases)
    expected = {"ap": stats[0], "ap50": stats[1], "ap75": stats[2], "ar": stats[8]}
    assert 0.1 < stats[0] < 0.9
    assert found == pytest.approx({f"{name}/coco": value for name, value in expected.items()}, abs=1e-6)


def test_a_perfect_answer_has_the_best_scores_and_no_answer_the_worst():
    true = {"bird": [box(0, 0), box(10, 10)], "cat": [box(12, 0)]}
    perfect = answer({name: [(mask, 0.9) for mask in masks] for name, masks in true.items()})
    assert set(scores([(dialogue(true), perfect)]).values()) == {1.0}
    assert set(scores([(dialogue(true), answer({}))]).values()) == {0.0}
    assert all(np.isnan(value) for value in scores([]).values())


def test_masks_in_crowds_and_ignored_pixels_count_neither_way():
    true, right = {"bird": [box(0, 0)]}, [(box(0, 0), 0.5)]
    extra = (box(10, 10), 0.9)
    cases = [
        (dialogue(true, {"bird": [box(9, 9, 12, 12)]}), answer({"bird": [*right, extra]})),
        (dialogue(true, ignore=box(9, 9, 12, 12)), answer({"bird": [*right, extra]})),
    ]
    assert [scores([case])["ap/coco"] for case in cases] == [1.0, 1.0]
    assert scores([(dialogue(true), answer({"bird": [*right, extra]}))])["ap/coco"] == pytest.approx(0.5)


def test_states_of_several_processes_are_joined():
    cases = list(random_cases(np.random.default_rng(1), 6))
    parts = [AveragePrecision(NAMES) for _ in range(3)]
    for rank, case in enumerate(cases):
        parts[rank % 2].update(*case)  # the third process has no image
    found = AveragePrecision(NAMES)

    def gather(state, group=None):
        own = [torch.cat([*part.lines, torch.zeros(0, dtype=torch.uint8)]) for part in parts]
        assert state.dtype == torch.uint8
        return own

    parts[2].dist_sync_fn, parts[2].distributed_available_fn = gather, lambda: True
    joined = {key: float(value) for key, value in parts[2].compute().items()}
    for case in [*cases[::2], *cases[1::2]]:
        found.update(*case)
    assert joined == {key: float(value) for key, value in found.compute().items()}


def test_counts_are_right_or_wrong_wherever_the_masks_lie():
    true = {"bird": [box(0, 0), box(10, 10)], "cat": [box(12, 0)]}
    asked = dialogue(true, {"cat": [box(0, 20)]})
    two = [(box(3, 3), 0.9), (box(5, 5), 0.6)]
    right = scores([(asked, answer({"bird": two}))], ObjectCount)
    assert right == {"object_count_accuracy/lasagna-v1": 1.0}  # the name with a crowd does not count
    wrong = scores([(asked, answer({"bird": two[:1], "dog": two}))], ObjectCount)
    assert wrong == {"object_count_accuracy/lasagna-v1": 0.0}
    assert np.isnan(scores([(dialogue({}), answer({}))], ObjectCount)["object_count_accuracy/lasagna-v1"])
