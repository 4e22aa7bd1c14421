"""Several images that are answered together get the answers that each gets alone."""

import numpy as np
import pytest

from lasagna.core.batch import Query
from lasagna.modules.decoding.together import answer_together, images_together
from tests.helpers.assistants import random_assistant

NAMES = ("sky", "dog", "sun")


@pytest.mark.parametrize("shown", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_images_of_any_sizes_get_their_own_answers(shown):
    assistant, rng = random_assistant(seed=4, prompt_format="lisa"), np.random.default_rng(0)
    assistant.max_new_tokens = 8
    sizes = ((40, 60), (60, 40), (40, 60))
    images = [[rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(shown)] for size in sizes]
    queries = [Query(0, "categories", NAMES), Query(0, "question", ("what is there",)), Query(0, "referring", ("dog",))]
    found = answer_together(assistant, images, queries)
    for image, answers in zip(images, found, strict=True):
        for answer, expected in zip(answers, assistant.answers(image, queries), strict=True):
            assert answer.text == expected.text
            for entry, same in zip(answer.entries, expected.entries, strict=True):
                assert entry.score == pytest.approx(same.score, abs=1e-5)
                assert entry.present == same.present
                assert entry.mask is None or np.mean(entry.mask != same.mask) < 0.01


def test_long_lists_are_read_by_few_rows_at_a_time():
    assistant = random_assistant()
    many = tuple(f"name{rank}" for rank in range(180))
    counts = [images_together(assistant, [Query(0, "categories", names)]) for names in (NAMES, many[:60], many)]
    assert counts == [8, 2, 1]
