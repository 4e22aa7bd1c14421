import numpy as np
from PIL import Image

from lasagna.datamodules.converters import CamVid
from lasagna.datamodules.converters.camvid import CAMVID_11
from tests.helpers.converter_contract import ConverterContract, Expected


class TestCamVidContract(ConverterContract):
    def release(self, folder):
        expected = {}
        for split, frame in (("train", "0001TP_006690"), ("val", "0016E5_07959")):
            rng = np.random.default_rng(len(split))
            labels = rng.integers(0, 12, (24, 32), dtype=np.uint8)
            labels[labels == 3] = 4
            image = folder / split / f"{frame}.png"
            for path, pixels in (
                (image, rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)),
                (folder / f"{split}annot" / f"{frame}.png", labels),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
            masks = {name: labels == value for value, name in CAMVID_11.labels.items() if value != 3}
            expected[split] = {frame: Expected(image, masks, ignored=labels == 11)}
        return expected

    def converter(self, folder):
        return CamVid(folder)
