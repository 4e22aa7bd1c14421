"""The section of a report about pairs of image and twin, in which one thing was exchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lasagna.core.pages import figure, number, plain, table
from lasagna.tasks.evaluation.scoring import EvaluationResult
from lasagna.tasks.metrics import quantity_of, score_key
from lasagna.tasks.metrics.names import ARROWS, OWN_PROTOCOL, WAYS

QUANTITIES = ("iou_factual", "delta_iou_textual", "delta_iou_visual", "cms_factual", "cms_counterfactual", "ccms")
"""The scores of pairs by HalluSegBench's rule, in this order."""

PRESENCE = ("pair_accuracy", "il_mcc")
"""The scores of their decisions about presence."""

_TEXT = (
    "In the twin of an image, one thing was exchanged for another, and both names are asked for on both images. A "
    "model that looks loses its mask with the thing (large differences of IoU) and masks nothing where the thing is "
    "not (small confusion mask scores, CMS). CCMS is the quotient of both CMS: below 1, exchanging the thing confuses "
    "more than exchanging the name."
)


_CAPTION = "images with the best, the median and the worst answers, by the mean IoU, and their twins"


def pair_section(results: Sequence[EvaluationResult], pictures: Mapping[str, str]) -> list[str]:
    """Return the section; nothing if there are no pairs.

    Args:
        results: The results of all runs: those of benchmarks and of the control "counterfactual" have pairs.
        pictures: Name of a run to the file name of its picture of pairs.
    """
    rows = []
    for result in results:
        for rule in (key.removeprefix("ccms/") for key in result.scores if key.startswith("ccms/")):
            keys = [f"{quantity}/{rule}" for quantity in QUANTITIES]
            way = next((parts for parts in WAYS.values() if rule.split("/")[1:2] == [*parts]), ())
            keys += [score_key(quantity, OWN_PROTOCOL, *way) for quantity in PRESENCE]
            values = [number(result.scores.get(key, math.nan)) for key in keys]
            rows.append([result.run.name, rule, *values])
    if not rows:
        return []
    arrows = {name: ARROWS[quantity_of(name).higher_is_better] for name in (*QUANTITIES, *PRESENCE)}
    head = ["run", "protocol", *(f"{name} {arrow}".rstrip() for name, arrow in arrows.items())]
    drawn = [line for name, file in pictures.items() for line in figure(file, f"{plain(name)}: {_CAPTION}")]
    return ["", "## Pairs in which one thing was exchanged", "", _TEXT, "", *table(head, rows), *drawn]
