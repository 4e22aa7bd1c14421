"""GranD-f: places of phrases, masks and keys of all four sets, and what is left out."""

import json

import numpy as np
import pytest
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.grandf import GranDf
from lasagna.tasks import GroundedCaption
from tests.helpers.converter_contract import Expected, QuickConverterContract

SIZE = (20, 30)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = len(path.as_posix())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def box(left, top, width, height):
    pixels = np.zeros(SIZE, bool)
    pixels[top : top + height, left : left + width] = True
    return pixels


def coded(*sides):
    return RLEMask.from_array(box(*sides)).to_json()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def grounded(name, caption, **phrases):
    places = {
        phrase.replace("_", " "): {"token_positives": list(span), "rle_masks": masks}
        for phrase, (span, masks) in phrases.items()
    }
    return {"file_name": name, "caption": caption, "groundings": places}


TRAIN = "GranDf/annotations/train"
MASK = coded(2, 3, 5, 6)


class TestGranDfContract(QuickConverterContract):
    def release(self, folder):
        entry = grounded("sa_1.jpg", '"A dog on grass."', A_dog=((0, 5), [MASK]), grass=((9, 14), [coded(0, 9, 30, 9)]))
        write(folder / TRAIN / "GranDf_HA_GCG_train.json", [entry])
        for name, content in {
            "caption": {
                "images": [{"id": "sa_2"}],
                "annotations": [{"image_id": "sa_2", "caption": "a cat sits", "labels": ["A cat"]}],
            },
            "mask": {"annotations": [{"image_id": "sa_2", "segmentation": MASK}]},
        }.items():
            write(folder / "GranDf/annotations/val_test" / f"val_gcg_coco_{name}_gt.json", content)
        return {
            "train": {"sa_1": Expected(picture(folder / "GranDf_HA_images/train/sa_1.jpg"))},
            "val": {"sa_2": Expected(picture(folder / "GranDf_HA_images/val_test/sa_2.jpg"))},
        }

    def converter(self, folder):
        return GranDf(folder)

    @pytest.mark.slow
    def test_entries_of_another_form_are_named(self, expected, tmp_path):
        super().test_entries_of_another_form_are_named(expected, tmp_path)


def readings(root, split="train", **settings):
    found = GranDf(root, **settings).splits()[split]
    return [found.reading(index) for index in range(len(found))]


def told(record):
    """Text of each caption with its phrases, and the pixels of their masks."""
    return [
        (one.text, [(one.words_of(phrase), [mask.decode() for mask in phrase.masks]) for phrase in one.phrases])
        for one in record.captions
    ]


def test_phrases_have_their_places_and_all_their_masks(tmp_path):
    two = [MASK, coded(10, 10, 4, 4)]
    entries = [
        grounded("sa_1.jpg", '"two dogs on grass"', two_dogs=((0, 9), two), grass=((12, 17), [coded(0, 0, 0, 0)])),
        grounded("sa_1.jpg", "grass here", grass=((0, 6), [MASK]), here=((40, 44), [MASK])),
        grounded("sa_1.jpg", "nothing", nothing=((0, 7), [])),
    ]
    write(tmp_path / TRAIN / "GranDf_HA_GCG_train.json", entries)
    picture(tmp_path / "GranDf_HA_images/train/sa_1.jpg")
    [reading] = readings(tmp_path)
    (text, [(words, masks)]), (other, [(grass, _)]) = told(reading.record)
    assert (text, words, other, grass) == ("two dogs on grass", "two dogs", "grass here", "grass")
    assert np.array_equal(masks, [box(2, 3, 5, 6), box(10, 10, 4, 4)])
    assert sorted(part.reason for part in reading.left_out) == [
        "caption of which no phrase has a mask",
        "mask without a pixel",
        "phrase that is not in its caption",
    ]
    [dialogue] = GroundedCaption().dialogues(reading.record, np.random.default_rng(0))
    assert dialogue.kind == "grounded_caption"


def test_phrases_of_refcocog_are_looked_for_and_the_first_of_two_that_overlap_is_cut(tmp_path):
    refs = [
        {"sentence": "red shirt", "segmentation": [[4, 4, 9, 4, 9, 9, 4, 9]]},
        {"sentence": "the man in red shirt", "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]},
        {"sentence": "a horse", "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]},
    ]
    entry = {"img_file_name": "COCO_train2014_1.jpg", "caption": "The man in red shirt waits", "refs": refs}
    write(tmp_path / TRAIN / "RefCOCOg_GCG_train.json", [{"7": entry}])
    picture(tmp_path / "coco_2014/train2014/COCO_train2014_1.jpg")
    [reading] = readings(tmp_path / "GranDf", subset="refcocog")
    [(_, phrases)] = told(reading.record)
    assert [words for words, _ in phrases] == ["The man in", "red shirt"]
    assert [part.reason for part in reading.left_out] == ["phrase that is not in its caption"]


def test_captions_of_an_image_of_flickr_are_one_record(tmp_path):
    images = [
        {"id": number, "file_name": "36.jpg", "caption": text, "height": SIZE[0], "width": SIZE[1]}
        for number, text in enumerate(["two men and a dog", "A dog.", "a dog runs away"])
    ]
    places = [(0, 0, 7), (0, 0, 7), (0, 12, 17), (1, 0, 5), (2, 0, 5)]
    annotations = [
        {"id": rank, "image_id": number, "tokens_positive": [[begin, end]], "sam_mask": MASK}
        for rank, (number, begin, end) in enumerate(places)
    ]
    write(tmp_path / TRAIN / "flickr_mergedGT_GCG_val.json", {"images": images, "annotations": annotations})
    picture(tmp_path / "elsewhere/36.jpg")
    [reading] = readings(tmp_path, "val", subset="flickr30k", images=tmp_path / "elsewhere")
    assert [(text, [(words, len(masks)) for words, masks in found]) for text, found in told(reading.record)] == [
        ("two men and a dog", [("two men", 2), ("a dog", 1)]),
        ("a dog runs away", [("a dog", 1)]),
    ]
    assert [part.reason for part in reading.left_out] == ["caption of fewer than 3 words"]


def test_what_does_not_fit_is_named(tmp_path):
    captions = {
        "images": [{"id": "a"}],
        "annotations": [{"image_id": "a", "caption": "a cat", "labels": ["a cat", "x"]}],
    }
    folder = tmp_path / "GranDf/annotations/val_test"
    write(folder / "test_gcg_coco_caption_gt.json", captions)
    write(folder / "test_gcg_coco_mask_gt.json", {"annotations": [{"image_id": "a", "segmentation": MASK}]})
    picture(tmp_path / "GranDf_HA_images/val_test/a.jpg")
    with pytest.raises(LayoutError, match="image a has 2 phrases and 1 masks, which belong together"):
        readings(tmp_path, "test")
    with pytest.raises(LayoutError, match="has no file of 'openpsg'"):
        readings(tmp_path, subset="openpsg")
    with pytest.raises(LayoutError, match="subset: expected one of human, openpsg"):
        readings(tmp_path, subset="coco")
