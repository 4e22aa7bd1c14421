"""SA-Co's scores equal those of lmms-eval's scorer, and count what a record tells apart."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.tasks.metrics import ConceptF1
from lasagna.tasks.metrics.concept_f1 import concept_counts

CASES = Path(__file__).with_name("saco_cases.json")
SCORES = ("il_mcc", "pmf1", "cgf1")


def masks(codes):
    return [RLEMask.from_json(code, tuple(code["size"])) for code in codes]


@pytest.mark.parametrize("case", json.loads(CASES.read_text()), ids=lambda case: f"{len(case['questions'])} questions")
def test_equals_the_scorer_of_lmms_eval(case):
    metric = ConceptF1()
    for question in case["questions"]:
        metric.add(concept_counts(list(map(masks, question["annotators"])), masks(question["found"])))
    found = {key.partition("/")[0]: value.item() for key, value in metric.compute().items()}
    for name in SCORES:
        # where no image has objects the scorer says 0
        nothing = np.isnan(found[name]) and case[name] == 0
        assert nothing or found[name] == pytest.approx(case[name], rel=1e-6, abs=1e-6), name


def test_the_cases_are_not_all_alike():
    cases = json.loads(CASES.read_text())
    assert all(len({case[name] for case in cases}) >= 6 for name in SCORES)


@pytest.mark.slow
def test_the_cases_are_those_of_the_installed_scorer(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ["--no-deps", "lmms-eval==0.7.3", "loguru"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    site = next((tmp_path / "env").rglob("site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    script = Path(__file__).parents[2] / "helpers" / "saco_cases.py"
    subprocess.run([python, script, tmp_path / "cases.json"], check=True)
    assert json.loads((tmp_path / "cases.json").read_text()) == json.loads(CASES.read_text())


def square(*place):
    mask = np.zeros((8, 8), dtype=bool)
    mask[place] = True
    return mask


LEFT, RIGHT = square(slice(0, 4), slice(0, 4)), square(slice(0, 4), slice(4, 8))
OBJECTS = tuple(map(RLEMask.from_array, (LEFT, RIGHT)))
BOTH = UnionMask(OBJECTS, shape=(8, 8))


def score(entry, *found):
    metric = ConceptF1()
    answered = AnsweredEntry("bird", bool(found), 0.9, masks=found, scores=(0.8,) * len(found) if found else ())
    metric.update(Dialogue("instances", ("bird", "cat"), (entry,)), Answer("", (answered,)))
    return [value.item() for value in metric.compute().values()]


def test_objects_are_counted_apart_and_a_union_as_one():
    assert score(Entry("bird", True, BOTH, OBJECTS), RIGHT, LEFT) == [1, 1, 100]
    assert score(Entry("bird", True, BOTH, OBJECTS), LEFT) == pytest.approx([1, 2 / 3, 200 / 3])
    assert score(Entry("bird", True, BOTH), LEFT | RIGHT) == [1, 1, 100]
    assert score(Entry("bird", True, BOTH, OBJECTS)) == [0, 0, 0]


def test_names_with_crowds_are_left_out():
    [correlation, f1, product] = score(Entry("bird", True, BOTH, OBJECTS[:1], OBJECTS[1:]), LEFT)
    assert correlation == 0
    assert np.isnan([f1, product]).all()


def test_sums_of_processes_add_up():
    one, two, whole = ConceptF1(), ConceptF1(), ConceptF1()
    for part, found in ((one, [LEFT]), (two, [])):
        counts = concept_counts([OBJECTS], [RLEMask.from_array(mask) for mask in found])
        part.add(counts)
        whole.add(counts)
    for name in ("outcomes", "objects", "hits"):
        assert torch.equal(getattr(one, name) + getattr(two, name), getattr(whole, name))
