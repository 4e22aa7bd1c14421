from pathlib import Path

import pytest

from lasagna.datamodules.converters.pascal_part import PascalPart
from tests.helpers.coco_files import SQUARE, category, draw, rle, write
from tests.helpers.converter_contract import ConverterContract, Expected

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


class TestPascalPart(ConverterContract):
    def release(self, folder):
        image = draw(folder / "VOCdevkit/VOC2010/JPEGImages/2008_000008.jpg")
        categories = [category(8, "bird:beak"), category(40, "car:license plate")]
        write(folder / "train.json", [{"id": 1, "file_name": image.name}], categories, [(1, 8, rle(SQUARE))])
        objects = {"bird beak": ([SQUARE], [])}
        return {"train": {"2008_000008": Expected(image, {"bird beak": SQUARE}, objects=objects)}}

    def converter(self, folder):
        return PascalPart(folder)
