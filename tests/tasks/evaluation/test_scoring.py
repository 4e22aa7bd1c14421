"""Metrics of a run: a task of a user's own gets what the package's tasks for the same queries get."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QUESTION, QueryKind
from lasagna.core.record import Manifest
from lasagna.tasks import GroundedCaption, Instances, Reasoning, Referring, Semantic, Task
from lasagna.tasks.evaluation.run_list import make_runs
from lasagna.tasks.evaluation.scoring import metrics_for
from lasagna.tasks.metrics import DialogueMetric, Quantity, ReasoningIoU, collect

LIST, PHRASE = QueryKind("crops", many=True), QueryKind("part_of")


class Words(DialogueMetric):
    """A metric that states the scores of each category."""

    quantities: ClassVar = {"names_asked": Quantity("number of names", upper=float("inf"))}

    def __init__(self, decoding="ordered"):
        super().__init__(decoding)
        self.add_sum("names")

    def update(self, dialogue, answer):
        self.names += len(dialogue.query)

    def compute(self):
        return {self.key("names_asked"): self.names}


class Own(Task):
    """A task of a user's own.

    Args:
        kinds: What it says to ask.
    """

    def __init__(self, *kinds):
        self.kinds = kinds

    def dialogues(self, record, rng):
        return []

    def metrics(self, categories):
        return collect([Words()])


def runs_of(task, **options):
    manifest = Manifest("made", ("sky", "sea"))
    data = SimpleNamespace(sources={"test": [SimpleNamespace(task=task, label="made", manifest=manifest)]})
    chosen = {"seed": 0, "decodings": None, "controls": ["blind", "same-set", "co-occurring"], "limit": None}
    return make_runs(data, "test", **chosen | options)


def keys(run):
    return set(metrics_for(run).compute())


@pytest.mark.parametrize(("kind", "task"), [(LIST, Semantic()), (PHRASE, Referring())])
def test_an_own_task_gets_controls_forced_answers_and_protocols_by_its_kinds(kind, task):
    runs, others = runs_of(Own(kind), teacher_forced=True), runs_of(task, teacher_forced=True)
    assert [(run.name, run.decodings) for run in runs] == [(run.name, run.decodings) for run in others]
    assert len(runs) == (6 if kind.many else 2)
    assert keys(runs[0]) - keys(others[0]) == {"names_asked/lasagna-v1"}
    assert keys(others[0]) <= keys(runs[0])


def test_controls_of_lists_are_tried_where_a_task_does_not_state_its_kinds():
    assert len(runs_of(Own())) == 6
    assert len(runs_of(Own(PHRASE))) == len(runs_of(Own(QUESTION))) == 2
    assert keys(runs_of(Own())[0]) == keys(runs_of(Own(QUESTION))[0]) == {"names_asked/lasagna-v1"}
    assert [kind for task in (Reasoning(), Reasoning(explained=0.4, in_words=0.1)) for kind in task.kinds] == [
        "reasoning",
        "reasoning",
        "reasoning_with_explanation",
        "question",
    ]


@pytest.mark.parametrize("task", [Instances(), GroundedCaption(), Own(PHRASE), Semantic(), Referring()])
def test_a_task_has_its_scores_in_every_decoding_that_is_asked_for(task):
    [free, *_] = runs_of(task, decodings=("free",), controls=())
    [usual, *_] = runs_of(task, controls=())
    named = {key.replace("/free", "") for key in keys(free)}
    assert {key.split("/")[0] for key in named ^ keys(usual)} <= {"complete_in_order", "faults"}
    [both, *_] = runs_of(task, decodings=(*usual.decodings, "free"), controls=())
    assert keys(both) == keys(free) | keys(usual)


def test_answers_in_words_do_not_count_among_phrases():
    mask = RLEMask.from_array(np.ones((2, 2), bool))
    metric = ReasoningIoU()
    metric.update(Dialogue(QUESTION, ("why",), text="so"), Answer("so", ()))
    metric.update(Dialogue(PHRASE, ("dog",), (Entry("dog", True, mask),)), Answer("", ()))
    assert metric.phrases.tolist() == [0, 1]
