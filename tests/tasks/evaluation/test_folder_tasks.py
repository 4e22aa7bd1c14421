"""The tasks of a folder of shards follow from what its records hold, and benchmarks' scores from all of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lasagna.core.record import Manifest, Phrase, Question, Record
from lasagna.datamodules import Source, write_shards
from lasagna.datamodules.shards.folder import LocalFolder
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.tally import WriteStats
from lasagna.errors import ConfigError
from lasagna.tasks import Referring, Semantic
from lasagna.tasks.evaluation.folder_tasks import folder_tasks
from lasagna.tasks.evaluation.predictions import begin, opened, predictions_file, read_lines
from lasagna.tasks.evaluation.run_metrics import check_scores
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.evaluation.scoring import score_run
from tests.helpers.made_records import SIZE, mask, png

NAMES = ("sky", "dog")
STUFF = {"class_path": "lasagna.tasks.Panoptic", "init_args": {"stuff": ["sky"], "free_decoding": True}}


def tasks_of(entries, trained=(), learned=(), **manifest):
    made = Manifest(**{"name": "made", "categories": NAMES} | manifest)
    config = {"data": {"init_args": {"seed": 3, "train": [{"shards": "x", "task": task} for task in trained]}}}
    found = folder_tasks(ShardSet(LocalFolder(Path("x")), made, (), tally=WriteStats(entries=entries)), config, learned)
    return {task["class_path"].rpartition(".")[2]: task["init_args"] for task in found.tasks}, " ".join(found.remarks)


def test_all_phrases_and_questions_are_asked_and_only_tasks_with_something_to_ask():
    everything = {"categories": 2, "phrases": 9, "questions": 5, "questions answered by masks": 3}
    found, remarks = tasks_of(everything)
    assert list(found) == ["Semantic", "Referring", "Reasoning", "VQA"]
    assert found["Referring"] == {"phrases": None} and found["Reasoning"] == {"questions": None}
    assert "all 9 phrases" in remarks and "all 2 questions that words answer" in remarks
    assert list(tasks_of({"phrases": 9}, categories=())[0]) == ["Referring"]
    assert list(tasks_of({"questions": 5, "questions answered by masks": 5})[0]) == ["Reasoning"]
    assert "nothing says which names are absent" in tasks_of({"categories": 2}, unannotated="unknown")[1]


def test_shards_that_were_counted_before_masked_questions_were_or_not_at_all_are_asked_in_every_way():
    assert list(tasks_of({"questions": 5})[0]) == ["Reasoning", "VQA"]
    assert list(tasks_of({})[0]) == ["Semantic", "Referring", "Reasoning", "VQA"]
    assert list(tasks_of({}, categories=())[0]) == ["Referring", "Reasoning", "VQA"]


def test_objects_and_captions_are_asked_for_if_the_assistant_learned_them():
    entries = {"categories": 2, "objects": 7, "captions": 4}
    found, remarks = tasks_of(entries)
    assert list(found) == ["Semantic"]
    assert "7 objects are scored by the union" in remarks and "4 captions are not asked for" in remarks
    own, _ = tasks_of(entries, learned=("grounded_caption", "instances_by_token"))
    assert own == {"Semantic": {}, "Instances": {"by_token": True}, "GroundedCaption": {"captions": None}}
    learned = ({"class_path": "Instances", "init_args": {"by_token": True}}, {"class_path": "GroundedCaption"}, STUFF)
    found, remarks = tasks_of(entries, (*learned, {"class_path": "own.Instances"}, "lasagna.tasks.VQA"))
    assert found == {
        "Semantic": {},
        "Instances": {"by_token": True},
        "Panoptic": {"stuff": ["sky"]},
        "GroundedCaption": {"captions": None},
    }
    assert "union" not in remarks and "not asked" not in remarks
    assert "Panoptic" not in tasks_of(entries, (STUFF,), categories=("dog",))[0]
    concepts = {"phrases": 4}, learned, {"name": "sa-co-gold-crowded", "categories": ()}
    assert tasks_of(*concepts[:2], **concepts[2])[0] == {"Referring": {"phrases": None}, "Concepts": {"by_token": True}}
    with pytest.raises(ConfigError, match=r"nothing in 'made' can be scored \(4 captions are not asked for, since"):
        tasks_of({"captions": 4})


def run_of(folder, task, keys=("one",)):
    phrases = [Phrase(f"dog {number}", (mask("#...", "...."),)) for number in range(4)]
    made = Manifest("made", unannotated="unknown")
    question = Question("what barks", masks=(mask("##..", "...."),))
    record = Record("", png([[[0] * 3] * 4] * 2), SIZE, made, phrases=tuple(phrases), questions=(question,))
    write_shards([replace(record, key=key) for key in keys], folder / "shards", made)
    return EvaluationRun(Source(str(folder / "shards"), task), task, (), 0, ("ordered",), limit=1)


ONE, TWO = ("one",), ("one", "two")


@pytest.mark.parametrize(
    ("phrases", "keys", "part"), [(None, ONE, ""), (4, ONE, ""), (3, ONE, "/some-asked"), (None, TWO, "/some-asked")]
)
def test_a_score_bears_the_name_of_a_benchmark_only_if_all_phrases_were_asked(phrases, keys, part, tmp_path):
    run = run_of(tmp_path, Referring(phrases), keys)
    [sample] = map(run.ask, run.raw())
    absent = {"text": "", "entries": [], "faults": []}
    rows = [{"kind": one.kind, "query": one.query, "answers": {"ordered": absent}} for one in sample.dialogues]
    begin(tmp_path, {})
    with opened(predictions_file(tmp_path, 0)) as stream:
        stream.write(json.dumps({"run": run.name, "key": "one", "size": SIZE, "dialogues": rows}) + "\n")
    scores = score_run(run, read_lines(tmp_path), tmp_path).scores
    assert {f"giou/grefcoco{part}", f"t_acc/grefcoco{part}", f"ciou/lisa{part}"} <= scores.keys()
    assert all(key.endswith(part) for key in scores)


def test_lists_of_a_set_without_categories_are_refused_before_the_first_answer(tmp_path):
    with pytest.raises(ConfigError, match="source made-semantic: categories: the manifest must list them"):
        check_scores(run_of(tmp_path, Semantic()))
