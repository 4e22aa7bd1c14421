"""Records and shards with something wrong for each finding of an inspection."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import write_shards

SIZE = (16, 24)
HALF = np.zeros(SIZE, bool)
HALF[:8] = True
NAMES = ("sky", "traffic light", "Traffic-Lights", "dog")
MANIFEST = Manifest(
    "made", NAMES, unannotated="unknown", aliases={"dog": ("sky", "hound")}, origin="here", licence="none"
)


def png(seed, size=SIZE):
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def record(key, seed, image=None, **more):
    sky = (Region("sky", RLEMask.from_array(HALF)),)
    return Record(key, image or png(seed), SIZE, MANIFEST, **{"regions": sky} | more)


def mask(pixels=HALF):
    return RLEMask.from_array(pixels)


def write(folder, records):
    return write_shards(records, folder, MANIFEST, records_per_shard=3)


def write_faulty(tmp_path):
    """Write a training and a validation split with findings of most kinds."""
    nothing = mask(np.zeros(SIZE, bool))
    conversation = record("c", 3, conversation=(Turn("what?", "sky"),), questions=(Question("how many?", "two"),))
    write(
        tmp_path / "data" / "train",
        [
            record("COCO_train2014_000000000139", 1, absent=("sky", "dog")),
            record("b", 2, phrases=(Phrase("left", (mask(),)), Phrase("right", (nothing,)), Phrase("none", ()))),
            conversation,
            record("again", 3),
            record("large", 5, image=png(5, (20, 20))),
            record("cut", 6, image=png(6)[:60]),
        ],
    )
    write(tmp_path / "data" / "val", [record("000000000139", 7), record("leak", 2), record("fine", 8)])
    return tmp_path / "data"
