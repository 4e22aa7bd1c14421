"""What scoring one answer costs: 480 x 640 pixels, 150 categories, as the original's script was measured.

``python benchmarks/scoring.py`` measures every protocol of mean IoU on an answer of 10 names, as the original was, and
of 150. *settled*: an answer as the assistant gives it, which says which mask lies on top at each pixel; painting the
truth and counting are timed. *maps*: masks with a probability for each pixel, as the original was given them; settling
overlaps is timed as well. Ratios are to the same thing done the original's way, a stack of one map for each category,
in the same run. Neither holds the decoding of stored masks.

``making`` is what comes before: from mask logits of 256 x 256 to the answer, all at once and mask by mask.
``--results`` files the numbers as ``docs/results/scoring.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import Cost, cost

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_parser import ParsedEntry
from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import Geometry, restore_logits
from lasagna.core.masks import BoolMask, LabelMap
from lasagna.modules.decoding.answers import DecodedAnswer, make_answer
from lasagna.tasks.callbacks.run_facts import versions, write_json
from lasagna.tasks.metrics import MeanIoU, MMSegMeanIoU, ReferenceMeanIoU
from lasagna.tasks.metrics.mean_iou import top_of

SIZE = (480, 640)
CATEGORIES = 150
ORIGINAL = {"milliseconds": 310.0, "added_mib": 369.7}
"""The original's script on two cores, with 10 names answered (``reference.md``, section 4)."""

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "scoring.json"


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    options = _options(argv)
    torch.set_num_threads(options.threads)
    names = tuple(f"category {rank}" for rank in range(CATEGORIES))
    found, made = {}, {}
    for answered in (10, CATEGORIES):
        dialogue, maps = make_case(names, answered)
        stacked = cost(_stacked(names, dialogue, maps), options.runs, torch.device("cpu"))
        settled = replace(maps, top=top_of(maps, SIZE))
        for kind, answer in (("settled", settled), ("maps", maps)):
            for metric in (MeanIoU(names), ReferenceMeanIoU(names), MMSegMeanIoU(names)):
                here = _scored(metric, dialogue, answer, options.runs)
                found[f"{metric.protocol}, {answered} names, {kind}"] = _row(here, stacked)
        made[f"{answered} names"] = _making(names[:answered], max(1, options.runs // 3))
    for name, row in (found | made).items():
        print(f"{name:32s} " + ", ".join(f"{what} {value}" for what, value in row.items()))
    if options.results:
        facts = {"cores": os.cpu_count(), "threads": options.threads, "versions": versions(), "original": ORIGINAL}
        write_json(RESULTS, facts | {"scoring": found, "making": made, "size": list(SIZE), "categories": CATEGORIES})
        print(json.dumps(str(RESULTS)))


def _scored(metric: MeanIoU, dialogue: Dialogue, answer: Answer, runs: int) -> Cost:
    """Time a metric, and then trace its memory: what was freed before does not hide what NumPy takes."""
    found = cost(lambda: metric.update(dialogue, answer), runs, torch.device("cpu"))
    tracemalloc.start()
    metric.update(dialogue, answer)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return Cost(found.seconds, found.shortest, max(found.added_mib, peak))


def make_case(names: tuple[str, ...], answered: int) -> tuple[Dialogue, Answer]:
    """Make a label map of boxes, and an answer of overlapping boxes with a probability for each pixel."""
    rng = np.random.default_rng(0)
    labels = np.zeros(SIZE, dtype=np.uint8)
    for rank in range(answered):
        labels[_box(rng)] = rank
    label_map = LabelMap(labels)
    entries = tuple(Entry(names[value], True, label_map.mask([value])) for value in label_map.values)
    claims = tuple(_claim(name, _box(rng), rng) for name in names[:answered])
    return Dialogue("categories", names, entries), Answer("", claims)


def _claim(name: str, box: BoolMask, rng: np.random.Generator) -> AnsweredEntry:
    probability = np.where(box, rng.uniform(0.5, 1.0, SIZE), 0.0).astype(np.float16)
    return AnsweredEntry(name, True, 0.9, box, 0.8, probability)


def _making(names: tuple[str, ...], runs: int) -> dict[str, float]:
    """Measure what comes before: from mask logits to the answer, as one stack and as the assistant does it."""
    rng, geometry = np.random.default_rng(0), Geometry(SIZE, (768, 1024), (1024, 1024))
    logits = torch.full((len(names), 256, 256), -4.0)
    for logit in logits:
        (top, left), (height, width) = rng.integers(0, (160, 220)), rng.integers(10, 100, 2)
        logit[top : top + height, left : left + width] = float(rng.uniform(0.5, 4.0))
    entries = tuple(ParsedEntry(name, True, rank) for rank, name in enumerate(names))
    scores = torch.full((len(names),), 0.9)
    decoded = DecodedAnswer("", entries, (), (True,) * len(names), scores, torch.zeros(len(names), 1), 1)
    device = torch.device("cpu")
    whole = cost(lambda: restore_logits(logits, geometry).sigmoid(), runs, device)
    query = Query(0, "categories", names)
    here = cost(lambda: make_answer(query, decoded, logits, geometry, threshold=0.5), runs, device)
    return {
        "milliseconds": round(1000 * here.seconds, 2),
        "shortest_milliseconds": round(1000 * here.shortest, 2),
        "added_mib": round(here.added_mib, 1),
        "masks_mib": round(len(names) * SIZE[0] * SIZE[1] / 2**20, 1),
        "stack_milliseconds": round(1000 * whole.seconds, 2),
        "stack_shortest_milliseconds": round(1000 * whole.shortest, 2),
        "stack_added_mib": round(whole.added_mib, 1),
    }


def _box(rng: np.random.Generator) -> BoolMask:
    (top, left), (height, width) = rng.integers(0, (400, 560)), rng.integers(20, 240, 2)
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _stacked(names: tuple[str, ...], dialogue: Dialogue, answer: Answer) -> Callable[[], object]:
    """The original's way: maps of all categories, one above the other, and one-hot targets."""

    def score() -> object:
        truth, scores = (torch.zeros(len(names), *SIZE) for _ in range(2))
        for entry in dialogue.entries:
            assert entry.mask is not None
            truth[names.index(entry.name)] = torch.from_numpy(entry.mask.decode()).float()
        for claim in answer.entries:
            assert claim.probability is not None
            scores[names.index(claim.name)] = torch.from_numpy(claim.probability).float()
        pairs = truth.argmax(0) * len(names) + scores.argmax(0)
        return torch.bincount(pairs.flatten(), minlength=len(names) ** 2)

    return score


def _row(here: Cost, stacked: Cost) -> dict[str, float]:
    return {
        "milliseconds": round(1000 * here.seconds, 2),
        "shortest_milliseconds": round(1000 * here.shortest, 2),
        "added_mib": round(here.added_mib, 1),
        "stack_milliseconds": round(1000 * stacked.seconds, 2),
        "stack_shortest_milliseconds": round(1000 * stacked.shortest, 2),
        "stack_added_mib": round(stacked.added_mib, 1),
        "times_as_fast": round(stacked.seconds / here.seconds, 1),
    }


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", action="store_true", help="file the numbers under docs/results")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
