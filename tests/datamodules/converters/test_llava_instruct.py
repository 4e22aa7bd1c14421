import json

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.core.record import Turn
from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.llava_instruct import LlavaInstruct
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected, read_records


def conversation(image, *values, key="1"):
    speakers = ("human", "gpt")
    conversations = [{"from": speakers[place % 2], "value": value} for place, value in enumerate(values)]
    return {"id": key, "conversations": conversations} | ({} if image is None else {"image": image})


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.stem)).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def save(folder, *conversations):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "llava_instruct_150k.json").write_text(json.dumps(list(conversations)))


class TestLlavaInstructContract(ConverterContract):
    def release(self, folder):
        one, two = (picture(folder / "train2017" / f"{stem}.jpg") for stem in ("000000033471", "000000052846"))
        save(
            folder,
            conversation("000000033471.jpg", "<image>\nWhat is it?", "A bus.", "What colour?", "White and red."),
            conversation("000000052846.jpg", "Where is the cat?\n<image>", "In the snow."),
            conversation("000000033471.jpg", "Describe it.\n<image>", "It is a bus."),
            conversation(None, "How are you?", "Fine."),
        )
        records = {"000000033471": (one, 2), "000000052846": (two, 1), "000000033471~2": (one, 1)}
        return {"train": {key: Expected(image, turns=turns) for key, (image, turns) in records.items()}}

    def converter(self, folder):
        return LlavaInstruct(folder, folder / "train2017")


def records_of(root, images):
    return [reading.record for reading in readings(root, images) if reading.record is not None]


def readings(root, images):
    split = LlavaInstruct(root, images).splits()["train"]
    return [split.reading(index) for index in range(len(split))]


def test_the_image_token_is_no_part_of_the_question_and_order_is_kept(tmp_path):
    picture(tmp_path / "a.jpg")
    save(
        tmp_path,
        conversation("a.jpg", "<image>\nWho?", "Me.", "Why?", "So."),
        conversation("a.jpg", "Who?\n<image>", "Me."),
    )
    first, second = records_of(tmp_path, tmp_path)
    assert first.conversation == (Turn("Who?", "Me."), Turn("Why?", "So."))
    assert second.conversation == (Turn("Who?", "Me."),)


@pytest.mark.parametrize("name", ["1.jpg", "train2017/1.jpg", "coco/train2017/1.jpg"])
@pytest.mark.parametrize("images", ["", "coco", "coco/train2017"])
def test_images_are_found_with_and_without_their_folders(tmp_path, name, images):
    image = picture(tmp_path / "coco" / "train2017" / "1.jpg")
    save(tmp_path, conversation(name, "Who?", "Me."))
    split = LlavaInstruct(tmp_path, tmp_path / images).splits()["train"]
    if images == "" and "coco" not in name:
        assert list(split.files) != [image]
    else:
        assert list(split.files) == [image]
        assert split.reading(0).record.image_bytes == image.read_bytes()


def test_what_is_left_out_is_counted(tmp_path):
    picture(tmp_path / "a.jpg")
    save(
        tmp_path,
        conversation("a.jpg", "Who?", "Me.", "And?"),
        conversation(None, "Who?", "Me."),
        conversation("a.jpg", "", "Me."),
        {"id": "4", "image": "a.jpg", "conversations": [{"from": "gpt", "value": "Me."}]},
    )
    convert(LlavaInstruct(tmp_path, tmp_path), tmp_path / "shards", processes=0)
    shard_set = read_manifest(tmp_path / "shards" / "train")
    assert shard_set.tally.left_out == {
        "turns that are no question with its answer": 2,
        "conversation without an image": 1,
        "empty question or answer": 1,
        "conversation without a turn": 2,
    }
    assert set(read_records(tmp_path / "shards" / "train")) == {"a"}


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(LayoutError, match=r"llava_instruct_150k\.json: the annotation file is missing"):
        LlavaInstruct(tmp_path, tmp_path).splits()
    save(tmp_path, conversation("a.jpg", "Who?", "Me."))
    with pytest.raises(LayoutError, match="images: there is no folder"):
        LlavaInstruct(tmp_path, tmp_path / "nowhere").splits()
    with pytest.raises(LayoutError, match=r"1 of the 1 files that the split 'train' needs are missing.*a\.jpg"):
        convert(LlavaInstruct(tmp_path, tmp_path), tmp_path / "shards")
    (tmp_path / "a.jpg").write_bytes(picture(tmp_path / "b.jpg").read_bytes()[:500])
    with pytest.raises(RecordError, match=r"a\.jpg: the image cannot be decoded"):
        records_of(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"id": "1"}, "not a file of conversations"),
        ({"id": "1", "conversations": [{"from": "human"}, {"from": "gpt"}]}, "not a file of conversations"),
        (conversation("../secret.jpg", "Who?", "Me."), "leads out of the folder"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, entry, message):
    save(tmp_path, entry)
    with pytest.raises(LayoutError, match=message):
        LlavaInstruct(tmp_path, tmp_path).splits()


def test_the_authentic_first_record(tmp_path, shared):
    file = shared / "data" / "samples" / "llava_instruct" / "llava_instruct_150k_first_record.json"
    if not file.is_file():
        pytest.skip("there is no sample of LLaVA-Instruct in the folder `shared`")
    picture(tmp_path / "train2017" / "000000033471.jpg")
    options = ["--source", str(file), "--images", str(tmp_path), "--target", str(tmp_path / "shards")]
    main(["convert", "llava_instruct", *options])
    (record,) = read_records(tmp_path / "shards" / "train").values()
    assert record.key == "000000033471"
    assert record.conversation[0].question == "What are the colors of the bus in the image?"
    assert record.conversation[2].answer.startswith("The bus is driving down the street")
