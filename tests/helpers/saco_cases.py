"""Writes cases of SA-Co's scores, as lmms-eval computes them, for the test of ``ConceptF1``.

``python tests/helpers/saco_cases.py tests/tasks/metrics/saco_cases.json`` needs the packages ``lmms-eval`` (0.7.3 was
used), of which only ``lmms_eval/tasks/saco/utils.py`` is read, and ``loguru``, which that file imports.
"""

import json
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

SIZE = (12, 16)


def main(target):
    cases = [case(np.random.default_rng(seed)) for seed in range(12)]
    scorer = load_scorer()
    Path(target).write_text(json.dumps([{"questions": questions, **scores(scorer, questions)} for questions in cases]))


def load_scorer():
    """Load one file of lmms-eval, without all that the package needs."""
    (folder,) = find_spec("lmms_eval").submodule_search_locations
    spec = spec_from_file_location("saco", Path(folder) / "tasks" / "saco" / "utils.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case(rng):
    """Return questions of one data set: what each of three annotators drew, and what was answered."""
    questions = []
    for _ in range(rng.integers(4, 16)):
        true = [boxes(rng, rng.integers(0, 4)) for _ in range(3)]
        if rng.random() < 0.4:
            true = [true[0]] * 3
        near = [shifted(mask, rng) for mask in true[rng.integers(3)] if rng.random() < 0.8]
        found = near if rng.random() < 0.7 else boxes(rng, rng.integers(0, 3))
        questions.append(
            {"annotators": [list(map(encoded, masks)) for masks in true], "found": list(map(encoded, found))}
        )
    return questions


def boxes(rng, count):
    masks = []
    for _ in range(count):
        mask = np.zeros(SIZE, dtype=np.uint8)
        top, left = rng.integers(0, 8), rng.integers(0, 10)
        mask[top : top + rng.integers(1, 6), left : left + rng.integers(1, 8)] = 1
        masks.append(mask)
    return masks


def shifted(mask, rng):
    return np.roll(mask, rng.integers(-1, 2), axis=rng.integers(2)) if rng.random() < 0.6 else mask


def encoded(mask):
    code = coco.encode(np.asfortranarray(mask))
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def scores(scorer, questions):
    kept = []
    for question in questions:
        names = [f"human_{number}_masks" for number in (1, 2, 3)]
        document = {"expression": "x", **dict(zip(names, question["annotators"], strict=True))}
        kept.append(scorer.saco_process_results(document, [json.dumps({"masks": question["found"]})]))
    hits, false_alarms, misses, rejections = (
        sum(one[f"IL_{what}"] for one in kept) for what in ("TP", "FP", "FN", "TN")
    )
    counts = scorer.loc_counts([one["loc_counts"] for one in kept])
    correlation = scorer.compute_IL_MCC(hits, rejections, false_alarms, misses)
    f1 = float(
        np.mean([scorer.compute_pmF1(*parts) for parts in zip(counts["tp"], counts["fp"], counts["fn"], strict=True)])
    )
    return {"il_mcc": correlation, "pmf1": f1, "cgf1": scorer.compute_cgF1(f1, correlation)}


if __name__ == "__main__":
    main(*sys.argv[1:])
