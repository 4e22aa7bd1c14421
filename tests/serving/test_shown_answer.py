"""Decisions at other thresholds from scores that are kept, and the files that hold them."""

import json
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import KINDS
from lasagna.serving.shown_answer import ShownAnswer

SIZE = (4, 6)
LEFT, RIGHT = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
LEFT[:, :2], RIGHT[:, 4:] = True, True


def entry(name, score, mask):
    coded = None if mask is None else RLEMask.from_array(mask).to_json()
    present = mask is not None
    return {"name": name, "present": present, "score": score, "confidence": 0.5, "empty": False, "mask": coded}


def shown():
    own = [entry("sky", 0.9, LEFT), entry("<b>${1}{{x}}", 0.3, None)]
    every = [entry("sky", 0.9, LEFT), entry("<b>${1}{{x}}", 0.35, RIGHT)]
    return ShownAnswer(KINDS["categories"], own, every, SIZE)


def test_a_lower_threshold_shows_the_mask_of_an_absent_name_and_a_higher_one_hides_more():
    assert [one.present for one in shown().decide(0.5).entries] == [True, False]
    low = shown().decide(0.3)
    assert [one.score for one in low.entries] == [0.9, 0.3]
    assert np.array_equal(low.entries[1].mask, RIGHT)
    paint = np.asarray(Image.open(BytesIO(shown().overlay(low))))
    assert np.array_equal(paint[..., 3] > 0, LEFT | RIGHT)
    assert not np.asarray(Image.open(BytesIO(shown().overlay(shown().decide(0.95)))))[..., 3].any()


def test_a_name_without_a_score_keeps_its_decision():
    own = [entry("kite", None, LEFT), entry("dog", None, None)]
    every = [entry("kite", None, LEFT), entry("dog", None, RIGHT)]
    decided = ShownAnswer(KINDS["categories"], own, every, SIZE).decide(0.9)
    assert [one.present for one in decided.entries] == [True, False]


def test_the_legend_strikes_absent_names_through_and_shows_names_as_text():
    legend = shown().legend(shown().decide(0.5))
    assert "<s>&lt;b&gt;&#36;&#123;1}&#123;&#123;x}}</s> (absent)" in legend
    assert "sky<b>0.900</b>" in legend


def test_the_files_hold_the_decisions_that_are_shown(tmp_path):
    files = dict(
        re.findall(r'download="([^"]+)" href="data:[^,]+,([^"]+)"', shown().downloads(shown().decide(0.5), 0.5))
    )
    plain = json.loads(b64decode(files["answer.json"]))
    assert [one["present"] for one in plain["answers"][0]["entries"]] == [True, False]
    labels = np.asarray(Image.open(BytesIO(b64decode(files["labels.png"]))))
    assert np.array_equal(labels, LEFT.astype(np.uint8))
    path = tmp_path / "coco.json"
    path.write_bytes(b64decode(files["coco.json"]))
    coco = COCO(str(path))
    [found] = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(found), LEFT)
    assert (found["bbox"], found["area"]) == ([0.0, 0.0, 2.0, 4.0], 8)
