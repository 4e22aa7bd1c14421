"""CIDEr-D equals COCO's own code and the formulas of its paper, written plainly."""

import numpy as np
import pytest

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Dialogue
from lasagna.tasks.metrics import CaptionCIDEr
from lasagna.tasks.metrics.cider import cider_d

TRUE = (
    "a red boat on the sea",
    "two dogs run beside a big tree",
    "the kite flies over the house",
    "a red boat and a red kite on the sea",
)
WRITTEN = (
    "a red boat on the sea",
    "two dogs beside the tree",
    "a house a house a house",
    "the red kite on the sea",
)
BY_COCO = (10.0, 2.396497978879255, 0.4410694868429018, 4.302529945600963)
"""What ``pycocoevalcap`` 1.2, the code of COCO's captions, returns for these."""


def plainly(written, true):
    """The formulas with a vector for each caption and length of group."""
    scores = np.zeros(len(true))
    for size in range(1, 5):
        cut = [
            [[" ".join(text[k : k + size]) for k in range(len(text) - size + 1)] for text in side]
            for side in (written, true)
        ]
        names = sorted({group for side in cut for text in side for group in text})
        counts = [np.array([[text.count(name) for name in names] for text in side], float) for side in cut]
        if not names:
            continue
        rarity = np.log(len(true)) - np.log(np.maximum(1, (counts[1] > 0).sum(0)))
        one, other = (side * rarity for side in counts)
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        common = (np.minimum(one, other) * other).sum(1)
        scores += np.divide(common, norms, out=np.zeros_like(norms), where=norms > 0)
    lengths = np.array([len(one) - len(other) for one, other in zip(written, true, strict=True)])
    return 10 / 4 * scores * np.exp(-(lengths**2) / 72)


def test_it_is_that_of_coco():
    found = cider_d([text.split() for text in WRITTEN], [text.split() for text in TRUE])
    assert found == pytest.approx(BY_COCO)


@pytest.mark.parametrize("seed", range(3))
def test_it_follows_the_formulas(seed):
    rng = np.random.default_rng(seed)
    texts = [[rng.choice(list("abcde"), rng.integers(0, 9)).tolist() for _ in range(12)] for _ in range(2)]
    assert cider_d(*texts) == pytest.approx(plainly(*texts))


def test_marks_and_capitals_do_not_count_and_parts_of_a_run_are_one():
    whole = CaptionCIDEr()
    halves = [CaptionCIDEr(), CaptionCIDEr()]
    for rank, (true, written) in enumerate(zip(TRUE, WRITTEN, strict=True)):
        dialogue = Dialogue("grounded_caption", ("the picture",), text=f"{true.capitalize()}.")
        for metric in (whole, halves[rank % 2]):
            metric.update(dialogue, Answer("", (), words=f"{written} !"))
    assert float(whole.compute()["cider/lasagna-v1"]) == pytest.approx(np.mean(BY_COCO))
    halves[0].lines = [*halves[0].lines, *halves[1].lines]
    assert float(halves[0].compute()["cider/lasagna-v1"]) == pytest.approx(np.mean(BY_COCO))
    assert np.isnan(float(CaptionCIDEr().compute()["cider/lasagna-v1"]))
