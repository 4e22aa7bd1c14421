"""The tables of scores on a report's page."""

import math
from types import SimpleNamespace

from lasagna.tasks.evaluation.report import all_scores, main_scores, protocol_table
from lasagna.tasks.evaluation.scoring import EvaluationResult
from lasagna.tasks.metrics import PROTOCOLS
from lasagna.tasks.metrics.names import PUBLISHED


def test_ways_of_decoding_stand_beside_each_other():
    scores = {"miou/lasagna-v1": 0.5, "miou/lasagna-v1/free": 0.25, "miou/reference": 0.75, "giou/grefcoco": math.nan}
    scores |= {"complete_in_order/lasagna-v1/free": 1.0, "faults/lasagna-v1/free/order": 4.0}
    scores |= {"giou/teacher-forced": 0.125, "false_positive_rate/lasagna-v1": 0.0}
    scores |= {"miou/lasagna-v1/one-pass": 0.375, "agreement/lasagna-v1/one-pass": 0.875}
    head, rule, *rows = all_scores(EvaluationResult(SimpleNamespace(name="x"), scores))
    assert head == "| score | protocol | ordered | free | one_pass | teacher_forced | description |"
    assert rule == "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    assert [row.split(" | ")[:6] for row in rows] == [
        ["| miou ↑", "lasagna-v1", "0.500", "0.250", "0.375", "-"],
        ["| agreement ↑", "lasagna-v1", "-", "-", "0.875", "-"],
        ["| complete_in_order ↑", "lasagna-v1", "-", "1.000", "-", "-"],
        ["| false_positive_rate ↓", "lasagna-v1", "0.000", "-", "-", "-"],
        ["| miou ↑", "reference", "0.750", "-", "-", "-"],
        ["| giou ↑", "teacher-forced", "-", "-", "-", "0.125"],
    ]


def test_parts_of_answers_and_scores_of_ones_own_have_rows_too():
    scores = {"giou/grefcoco/free/targets": 0.5, "vqa_accuracy/lasagna-v1/number": 0.25, "sharpness/mine": 2.0}
    rows = all_scores(EvaluationResult(SimpleNamespace(name="x"), scores))[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| vqa_accuracy number ↑", "| giou targets ↑", "| sharpness ↑"]


def test_sources_with_the_same_scores_share_a_table():
    one, two = (
        EvaluationResult(SimpleNamespace(name=name), {"miou/lasagna-v1": 0.5}, records=3) for name in ("one", "two")
    )
    free = EvaluationResult(SimpleNamespace(name="free"), {"vqa_accuracy/lasagna-v1/free": 0.25}, records=2)
    assert main_scores([one, free, two]) == [
        "| source | records | miou/lasagna-v1 ↑ |",
        "| --- | ---: | ---: |",
        "| one | 3 | 0.500 |",
        "| two | 3 | 0.500 |",
        "",
        "| source | records | vqa_accuracy/lasagna-v1 ↑ |",
        "| --- | ---: | ---: |",
        "| free | 2 | 0.250 |",
    ]


def test_objects_have_main_scores_and_so_has_a_task_of_ones_own():
    found = {
        "instances": {"ap50/coco": 0.9, "ap/coco": 0.5, "object_count_accuracy/lasagna-v1": 0.75},
        "panoptic": {"pq/coco-panoptic": 0.25, "pq/coco-panoptic/stuff": 0.5},
        "mine": {"hits/mine": 0.5, "hits/mine/free": 0.25, "faults/mine": 3.0, "words/mine/free": 1.0},
        "both": {"hits/mine": 0.5, "miou/lasagna-v1": 0.25, "presence_recall/lasagna-v1": 1.0},
    }
    lines = main_scores([EvaluationResult(SimpleNamespace(name=name), own, records=3) for name, own in found.items()])
    assert lines[0] == "| source | records | ap/coco ↑ | object_count_accuracy/lasagna-v1 ↑ |"
    assert [line for line in lines if "| 3 |" in line] == [
        "| instances | 3 | 0.500 | 0.750 |",
        "| panoptic | 3 | 0.250 |",
        "| mine | 3 | 0.500 | 1.000 |",
        "| both | 3 | 0.250 | 0.500 |",
    ]


def test_each_protocol_stands_with_its_scores_and_the_systems_that_are_scored_by_it():
    scores = {"see/sesame": 0.5, "ciou/sesame": 0.25, "sharpness/mine": 2.0}
    rows = protocol_table([EvaluationResult(SimpleNamespace(name="x"), scores)])[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [(row[0], row[1], row[3]) for row in cells] == [
        ("mine", "sharpness", "none"),
        ("sesame", "ciou, see", "SESAME, READ"),
    ]
    assert PUBLISHED.keys() < PROTOCOLS.keys()
