"""Tiny images, annotated objects and references in REFER's layout."""

import json

import numpy as np
from PIL import Image

from tests.helpers.coco_files import SIZE, SQUARE, TRIANGLE, rle

BAND = np.zeros(SIZE, bool)
BAND[10:15] = True


ANNOTATIONS = {
    1: [TRIANGLE],
    2: [rle(SQUARE), rle(BAND)],
    3: [],
    4: {"size": list(SIZE), "counts": [200, 40, 360]},
}


def write_things(folder, names, images):
    folder.mkdir(parents=True)
    for name in names.values():
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 70, np.uint8)).save(images / name)
    content = {
        "images": [{"id": number, "file_name": name, "height": 20, "width": 30} for number, name in names.items()],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 1, "segmentation": coding, "iscrowd": int(number == 4)}
            for number, coding in ANNOTATIONS.items()
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def reference(target, split, *sentences, image=7):
    said = [{"raw": text.upper(), "sent": text, "tokens": text.split(), "sent_id": 1} for text in sentences]
    return {
        "ref_id": 0,
        "ann_id": target,
        "image_id": image,
        "split": split,
        "sentences": said,
        "file_name": "wrong_16.jpg",
    }
