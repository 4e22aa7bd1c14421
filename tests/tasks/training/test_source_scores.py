"""Many queries about the same images are answered in parts."""

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.tasks.training import source_scores
from tests.helpers.assistants import random_assistant


@pytest.mark.parametrize("most", [1, 4])
def test_answers_are_the_same_whatever_number_of_queries_is_answered_together(most, monkeypatch):
    assistant, rng = random_assistant(), np.random.default_rng(0)
    samples = []
    for key in ("one", "two"):
        image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        asked = [Dialogue("referring", (text,), (Entry(text, False),)) for text in ("a red boat", "sea", "the sun")]
        samples.append(prepare_sample(image, asked, assistant.processors, source="s", key=key, keep_image=False))
    batch = collate(samples, assistant.processors)
    [whole] = source_scores.answer(assistant, batch, ["ordered"]).values()
    monkeypatch.setattr(source_scores, "MOST_QUERIES", most)
    [parts] = source_scores.answer(assistant, batch, ["ordered"]).values()
    assert [one.text for one in parts] == [one.text for one in whole] and len(parts) == 6
    for one, other in zip(parts, whole, strict=True):
        assert one.entries[0].score == pytest.approx(other.entries[0].score, abs=1e-5)
