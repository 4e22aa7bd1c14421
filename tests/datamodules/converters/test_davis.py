"""DAVIS: frames of films that are shown together."""

import numpy as np
from PIL import Image

from lasagna.datamodules.converters.davis import DAVIS
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND

NOTHING = np.zeros(SIZE, bool)


class TestDAVIS(BriefConverterContract):
    def release(self, folder):
        (folder / "ImageSets/2017").mkdir(parents=True)
        (folder / "ImageSets/2017/val.txt").write_text("bear\n")
        texts = folder / "davis_text_annotations"
        texts.mkdir()
        (texts / "Davis17_annot1.txt").write_text('bear 1 "a brown bear"\nbear 2 "a fish"\ncow 1 "a cow"\n')
        (texts / "Davis17_annot2.txt").write_text('bear 1 "a brown bear"\n')
        images = {}
        for number in range(5):
            values = np.where(SQUARE, 1, 0).astype(np.uint8)
            values[BAND & ~SQUARE] = 2 if number == 4 else 0
            values[:, -1] = 255
            (folder / "Annotations/480p/bear").mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(values)
            picture.putpalette(bytes(range(256)) * 3)
            picture.save(folder / f"Annotations/480p/bear/{number:05d}.png")
            images[number] = draw(folder / f"JPEGImages/480p/bear/{number:05d}.jpg")
        fish = BAND & ~SQUARE
        fish[:, -1] = False
        void = np.zeros(SIZE, bool)
        void[:, -1] = True
        expected = {}
        for number, pixels in ((0, NOTHING), (2, NOTHING), (4, fish)):
            said = {"a brown bear": SQUARE, "a fish": pixels}
            masks = [SQUARE, pixels] if pixels.any() else [SQUARE]
            one = Expected(images[number], {"object": SQUARE | pixels}, absent=set(), ignored=void, phrases=said)
            one.objects = {"object": (masks, [])}
            expected[f"bear-{number:05d}"] = one
        return {"val": expected}

    def converter(self, folder):
        return DAVIS(folder, shown=3)


def test_the_masks_belong_to_one_of_the_frames_and_the_others_are_shown_in_order(tmp_path):
    TestDAVIS().release(tmp_path)
    records = list(DAVIS(tmp_path, shown=3).splits()["val"].records())
    assert [record.masks_on for record in records] == [0, 1, 2]
    files = [(tmp_path / f"JPEGImages/480p/bear/{number:05d}.jpg").read_bytes() for number in (0, 2, 4)]
    assert records[1].others == (files[0], files[2]) and records[1].image_bytes == files[1]
