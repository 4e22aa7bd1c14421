"""BDD100K: label maps of training ids, and files of objects with four channels."""

import numpy as np
from PIL import Image

from lasagna.datamodules.converters.bdd100k import BDD100K
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND

CAR, ROAD = 13, 0


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def labels():
    values = np.full(SIZE, ROAD, np.uint8)
    values[SQUARE | BAND] = CAR
    values[:, -2:] = 255
    return values


class TestBDD100K(BriefConverterContract):
    def release(self, folder):
        image = draw(folder / "images/10k/val/0a-1.jpg")
        save(labels(), folder / "labels/sem_seg/masks/val/0a-1.png")
        objects = np.zeros((*SIZE, 4), np.uint8)
        objects[BAND & ~SQUARE] = (3, 1 << 1, 1, 7)  # a crowd of cars
        objects[SQUARE] = (3, 1 << 2, 0, 2)  # an occluded car
        save(objects, folder / "labels/ins_seg/bitmasks/val/0a-1.png")
        void = labels() == 255
        masks = {"road": labels() == ROAD, "car": labels() == CAR}
        cars = ([SQUARE], [BAND & ~SQUARE])
        return {"val": {"0a-1": Expected(image, masks, ignored=void, objects={"car": cars})}}

    def converter(self, folder):
        return BDD100K(folder)


class TestFirstRelease(TestBDD100K):
    def release(self, folder):
        image = draw(folder / "seg/images/train/0b-2.jpg")
        save(labels(), folder / "seg/labels/train/0b-2_train_id.png")
        masks = {"road": labels() == ROAD, "car": labels() == CAR}
        return {"train": {"0b-2": Expected(image, masks, ignored=labels() == 255)}}
