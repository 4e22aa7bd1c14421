"""Which metrics score a run."""

from types import SimpleNamespace

import pytest

from lasagna.core.record import Manifest
from lasagna.tasks import Reasoning, Referring, Semantic
from lasagna.tasks.evaluation.run_metrics import metrics_for


@pytest.mark.parametrize(
    ("data_set", "task", "expected"),
    [
        ("fp-refcoco+", Referring(), {"sesame"}),
        ("r-refcocog", Referring(), {"r-ris"}),
        ("ref-zom", Referring(), {"ref-zom"}),
        ("hallusegbench", Referring(), {"hallusegbench"}),
        ("sa-co-gold-crowded", Referring(), {"sa-co"}),
        ("mmr", Reasoning(), {"muse"}),
        ("muse", Reasoning(teacher_forced=True), {"muse", "teacher-forced"}),
        ("refcoco-unc", Referring(), set()),
    ],
)
def test_benchmarks_have_their_scores_beside_those_of_all_phrases(data_set, task, expected):
    source = SimpleNamespace(manifest=Manifest(data_set, ("sky",)), label="x")
    run = SimpleNamespace(source=source, task=task, decodings=task.decoding, own_metrics=list)
    assert {metric.protocol for metric in metrics_for(run).values()} == {"grefcoco", "lisa"} | expected
    run = SimpleNamespace(source=source, task=Semantic(), decodings=("ordered",), own_metrics=list)
    assert {metric.protocol for metric in metrics_for(run).values()} == {"lasagna-v1", "reference", "mmseg"}
