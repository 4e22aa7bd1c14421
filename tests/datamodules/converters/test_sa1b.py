"""SA-1B: masks without names in a JSON file beside each image."""

import json

from lasagna.datamodules.converters.sa1b import SA1B
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw, rle
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND


class TestSA1B(BriefConverterContract):
    def release(self, folder):
        image = draw(folder / "sa_000000" / "sa_1.jpg")
        facts = {"image_id": 1, "file_name": "sa_1.jpg", "height": SIZE[0], "width": SIZE[1]}
        shared = {"bbox": [0, 0, 1, 1], "predicted_iou": 0.9, "stability_score": 0.95, "crop_box": [0, 0, 30, 20]}
        annotations = [
            {"id": 1, "segmentation": rle(SQUARE), **shared},
            {"id": 2, "segmentation": rle(BAND), "caption": "a dark band", **shared},
        ]
        content = {"image": facts, "annotations": annotations}
        image.with_suffix(".json").write_text(json.dumps(content))
        expected = Expected(image, {"thing": SQUARE | BAND}, absent=set(), phrases={"a dark band": BAND})
        expected.objects = {"thing": ([SQUARE, BAND], [])}
        return {"train": {"sa_1": expected}}

    def converter(self, folder):
        return SA1B(folder, category="thing")
