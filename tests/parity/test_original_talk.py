"""Records become the tokens and labels that the original's own data code makes of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.dialogue import Dialogue, DialogueMaker, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record, Region, Turn
from lasagna.datamodules import Source, write_shards
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.datamodules.streaming.stream import EvaluationStream
from lasagna.tasks import VQA

pytestmark = pytest.mark.shared
CASES = {"with_vqa": "ab", "vqa_only": "b"}
"""Images of each case; the first is asked for names, the other is talked about."""
QUESTION = ("wall", "sky", "traffic light", "person", "car", "tree")
ANSWER = {"sky": True, "traffic light": True, "person": False, "wall": True, "car": False, "tree": False}
TALK = (Turn("What is in the picture?", "There is a circle."), Turn("What colour is it?", "It is blue."))


class AsTheOriginalAsked(DialogueMaker):
    """Asks for the names, and answers them, in the orders that were drawn there."""

    def dialogues(self, record, rng):
        masks = record.category_masks()
        return [
            Dialogue(
                "categories", QUESTION, tuple(Entry(name, there, masks.get(name)) for name, there in ANSWER.items())
            )
        ]


@pytest.fixture(scope="module")
def golden(shared):
    if not (shared / "golden" / "checkpoints" / "release").is_dir():
        pytest.skip("there are no golden numbers of the original code in shared/golden")
    return shared / "golden"


@pytest.fixture(scope="module")
def processors(golden):
    pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
    return lasagna.load(golden / "checkpoints" / "release").processors


def record_of(golden, name):
    data = (golden / "inputs" / f"image_{name}.png").read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        size = image.height, image.width
    if name == "b":
        return Record("b", data, size, Manifest("talk"), conversation=TALK)
    masks = np.unpackbits(np.load(golden / "inputs" / "inputs_masks.npz")["mask_a"], axis=-1)[..., : size[1]]
    there = [name for name, present in ANSWER.items() if present]
    regions = tuple(Region(name, RLEMask.from_array(mask)) for name, mask in zip(there, masks, strict=True))
    return Record("a", data, size, Manifest("ade", QUESTION), regions=regions)


@pytest.mark.parametrize("case", CASES)
def test_tokens_and_labels_of_records(case, golden, processors, tmp_path):
    samples = []
    for name in CASES[case]:
        record = record_of(golden, name)
        write_shards([record], tmp_path / name, record.manifest)
        source = Source(str(tmp_path / name), VQA() if name == "b" else AsTheOriginalAsked())
        samples += EvaluationStream(SampleMaker(source, (), processors, 0, RecordCounts([source.label], 1)))
    batch = collate(samples, processors)
    stored = np.load(golden / "inputs" / "inputs_tokens.npz")
    ids, labels = (stored[f"{case}.{part}"].tolist() for part in ("input_ids", "labels"))
    text = processors.text
    assert batch.input_ids.tolist() == [widened(row, row, text, text.image_token_id) for row in ids]
    assert batch.labels.tolist() == [widened(row, wanted, text, -100) for row, wanted in zip(ids, labels, strict=True)]


def widened(ids, row, text, value):
    """Put as many values as an image costs where the original has its one place."""
    place = ids.index(-200)
    return [*row[:place], *[value] * text.image_tokens, *row[place + 1 :]]
