"""How good one answer is, in one number, so that the best, the middle and the worst can be shown."""

from __future__ import annotations

import numpy as np

from lasagna.core.dialogue import Answer, Dialogue
from lasagna.tasks.metrics.answer_accuracy import normalise_answer
from lasagna.tasks.metrics.base import answered_by_name, answered_mask, entries_by_name, image_size
from lasagna.tasks.metrics.phrase_iou import grefcoco_iou, overlap


def quality(dialogue: Dialogue, answer: Answer) -> float | None:
    """Return how good an answer is, in [0, 1]; None if there is nothing to tell by.

    A question is answered right or wrong. Otherwise it is the mean IoU over the names that are there or are called
    present (a name that is neither has nothing to show); a list of which nothing is there and nothing is claimed has 1.
    """
    if dialogue.kind == "question":
        return float(normalise_answer(answer.text) == normalise_answer(dialogue.text))
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    size = image_size(dialogue, answer)
    if size is None:
        there = [entry.present for entry in dialogue.entries] + [entry.present for entry in answer.entries]
        return 0.0 if any(there) else 1.0
    ignore = None if dialogue.ignore is None else dialogue.ignore.decode()
    nothing, found = np.zeros(size, dtype=bool), []
    for name in truth.keys() | answered.keys():
        entry, claim = truth.get(name), answered_mask(answered.get(name), size)
        target = entry is not None and entry.present
        called = name in answered and answered[name].present
        if target and entry is not None:
            mask = nothing if entry.mask is None else entry.mask.decode()
            found.append(grefcoco_iou(overlap(mask, nothing if claim is None else claim, ignore, target=True)))
        elif called:
            found.append(0.0)
    return float(np.mean(found)) if found else 1.0
