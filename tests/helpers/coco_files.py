"""Tiny images and annotation files in COCO's format."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco

SIZE = (20, 30)
TRIANGLE = [2.0, 2.0, 25.0, 3.0, 10.0, 17.5]
SQUARE = np.zeros(SIZE, bool)
SQUARE[4:12, 5:20] = True


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 70, np.uint8)).save(path)
    return path


def rle(pixels):
    code = coco.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def polygon():
    return coco.decode(coco.merge(coco.frPyObjects([TRIANGLE], *SIZE))).astype(bool)


def crowd():
    return {"size": list(SIZE), "counts": [100, 50, 450]}


def write(path, images, categories, annotations):
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        {"id": rank, "image_id": image, "category_id": category, "segmentation": coding, "iscrowd": coding == crowd()}
        for rank, (image, category, coding) in enumerate(annotations)
    ]
    content = {"images": images, "categories": categories, "annotations": parts}
    path.write_text(json.dumps(content))


def category(number, name, **more):
    return {"id": number, "name": name, **more}


def sized(number, name, size):
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}
