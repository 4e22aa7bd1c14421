"""Many queries about the same images are answered in parts, and scores are numbers."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchmetrics import Metric, MetricCollection

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.tasks import Semantic
from lasagna.tasks.training import source_scores
from tests.helpers.assistants import presence_head, random_assistant


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


@pytest.mark.parametrize(("value", "wrong"), [(0.5, None), (None, "NoneType"), (torch.ones(2), r"shape \[2\]")])
def test_a_score_is_one_number(value, wrong):
    source = SimpleNamespace(label="s", manifest=SimpleNamespace(categories=()), task=_Scored(value))
    evaluation = source_scores.Evaluation([source])
    if wrong is None:
        assert evaluation.compute() == {"s/q/mine": torch.tensor(0.5)}
        return
    with pytest.raises(ConfigError, match=f"source s: its metric must compute one number as 'q/mine', got {wrong}"):
        evaluation.compute()


class _Score(Metric):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def update(self):
        pass

    def compute(self):
        return {"q/mine": self.value}


class _Scored(Semantic):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def metrics(self, categories):
        return MetricCollection({"mine": _Score(self.value)})


def test_decisions_in_one_pass_are_scored_beside_the_others_and_need_a_head():
    assistant, manifest = random_assistant(), SimpleNamespace(categories=("sea", "sun", "boat"))
    source = SimpleNamespace(label="s", manifest=manifest, task=Semantic(one_pass=True))
    with pytest.raises(QueryError, match=r"^decoding: 'one_pass' takes the decisions of a presence head"):
        source_scores.Evaluation([source], assistant)
    assistant.presence_head = presence_head(128)
    evaluation = source_scores.Evaluation([source], assistant)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    asked = Dialogue("categories", manifest.categories, (Entry("sea", False), Entry("sun", False)))
    batch = collate([prepare_sample(image, [asked], assistant.processors, keep_image=True)], assistant.processors)
    evaluation.step(assistant, batch, 0)
    [ordered], [one_pass] = source_scores.answer(assistant, batch, ["ordered", "one_pass"]).values()
    same = [one.present == other.present for one, other in zip(ordered.entries, one_pass.entries, strict=True)]
    scores = evaluation.compute()
    assert scores["s/agreement/lasagna-v1/one-pass"] == sum(same) / torch.tensor(3)
    called = sum(entry.present for entry in one_pass.entries)
    assert scores["s/false_positive_rate/lasagna-v1/one-pass"] == called / torch.tensor(3)


@pytest.mark.parametrize(("used", "refused"), [(0, True), (1, False)])
def test_a_source_that_gave_no_process_a_sample_is_an_error(used, refused):
    counts = {"val": {"lone": {"read": 4, "used": used, "broken": 4 - used, "empty": 0}}}
    sources = {"val": [SimpleNamespace(label="lone", task=Semantic())]}
    # a data module that does not count is not checked
    source_scores.check_used(SimpleNamespace(sources=sources), "validate")
    expected = pytest.raises(RecordError, match="source lone: none of its 4 records could be used; 4 were broken")
    with expected if refused else nullcontext():
        source_scores.check_used(SimpleNamespace(sources=sources, counts=lambda stage: counts), "validate")
