"""What has nothing to ask is said before the first answer."""

import pytest

from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules import Source, write_shards
from lasagna.errors import ConfigError
from lasagna.tasks import Reasoning, Referring
from lasagna.tasks.evaluation import remarks as module
from lasagna.tasks.evaluation.remarks import remarks
from lasagna.tasks.evaluation.runs import EvaluationRun
from tests.helpers.made_records import SIZE, png


def runs_of(folder, *tasks):
    made = Manifest("made", unannotated="unknown")
    record = Record("one", png([[[0] * 3] * 4] * 2), SIZE, made, phrases=(Phrase("a dog", ()),))
    write_shards([record], folder / "shards", made)
    return [EvaluationRun(Source(str(folder / "shards"), task), task, (), 0, ("ordered",)) for task in tasks]


def test_runs_whose_records_have_nothing_for_their_task_are_named(tmp_path, monkeypatch):
    runs = runs_of(tmp_path, Referring(), Reasoning())
    assert remarks(runs) == ["made-reasoning: its first 1 records have nothing for its task"]
    with pytest.raises(ConfigError, match=r"no record has anything to ask \(made-reasoning have nothing"):
        remarks(runs[1:])
    monkeypatch.setattr(module, "LOOKED_AT", 1)
    assert remarks(runs[1:])
