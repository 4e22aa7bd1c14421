import json

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.reasonseg import ReasonSeg
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected

LION = "106484289_d257ea9e9d_o"


def square(left, top, width, label="target"):
    """Return a shape whose drawn pixels run from left and top over width + 1 pixels."""
    right, bottom = left + width, top + width
    return {"label": label, "points": [[left, top], [right, top], [right, bottom], [left, bottom]]}


def box(left, top, width, size=(40, 60)):
    pixels = np.zeros(size, bool)
    pixels[top : top + width + 1, left : left + width + 1] = True
    return pixels


def example(folder, stem, shapes, texts=("What is it?",), *, sentence=True, size=(40, 60), encoding="utf-8", exif=None):
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(len(stem)).integers(0, 256, (*size, 3), dtype=np.uint8))
    image.save(folder / f"{stem}.jpg", **({} if exif is None else {"exif": exif}))
    content = {"text": list(texts), "is_sentence": sentence, "shapes": shapes}
    (folder / f"{stem}.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return folder / f"{stem}.jpg"


def explain(root, entries=()):
    (root / "explanatory").mkdir(parents=True, exist_ok=True)
    (root / "explanatory" / "train.json").write_text(json.dumps(list(entries)))


class TestReasonSegContract(ConverterContract):
    def release(self, folder):
        explain(folder, [{"query": "What is it?", "outputs": "A box.", "image": "one.jpg", "json": "one.json"}])
        one = example(folder / "train", "one", [square(4, 5, 10)])
        shapes = [square(6, 6, 3, "ignore"), square(2, 2, 20), square(30, 2, 5, "Ignore")]
        two = example(folder / "val", "two", [*shapes, {"label": "flag", "points": [[0, 0], [9, 9]]}], sentence=False)
        ignored = box(6, 6, 3) | box(30, 2, 5)
        return {
            "train": {"one": Expected(one, questions={"What is it?": "A box."})},
            "val": {"two": Expected(two, questions={"What is it?": ""}, ignored=ignored)},
        }

    def converter(self, folder):
        return ReasonSeg(folder)


def only(root, split="val", **settings):
    (reading,) = (part.reading(0) for part in [ReasonSeg(root, **settings).splits()[split]])
    return reading


def test_a_small_region_to_ignore_wins_over_the_target_around_it_whatever_their_order(tmp_path):
    example(tmp_path / "val", "a", [square(6, 6, 3, "ignore"), square(2, 2, 20), square(10, 10, 4)])
    record = only(tmp_path).record
    (mask,) = record.questions[0].masks
    assert np.array_equal(mask.decode(), box(2, 2, 20) & ~box(6, 6, 3))


def test_a_large_region_to_ignore_does_not_hide_a_small_target(tmp_path):
    example(tmp_path / "val", "a", [square(10, 10, 4), square(2, 2, 20, "ignore")])
    record = only(tmp_path).record
    assert np.array_equal(record.questions[0].masks[0].decode(), box(10, 10, 4))
    assert np.array_equal(record.ignored().decode(), box(2, 2, 20) & ~box(10, 10, 4))


def test_several_questions_have_one_mask_and_say_their_kind(tmp_path):
    example(tmp_path / "val", "a", [square(2, 2, 9)], ["the box", "the square", " "], sentence=False)
    questions = only(tmp_path).record.questions
    assert [(question.text, question.kind) for question in questions] == [
        ("the box", "phrase"),
        ("the square", "phrase"),
    ]
    assert questions[0].masks == questions[1].masks


def test_files_of_another_encoding_are_read(tmp_path):
    example(tmp_path / "val", "a", [square(2, 2, 9)], ["Where is the café?"], encoding="cp1252")
    assert only(tmp_path).record.questions[0].text == "Where is the café?"


def test_a_photograph_on_its_side_is_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    example(tmp_path / "val", "a", [square(30, 50, 8)], size=(40, 60), exif=exif)
    record = only(tmp_path).record
    assert record.size == record.image().shape[:2] == (60, 40)
    with Image.open(tmp_path / "val" / "a.jpg") as image:
        turned = np.asarray(image.transpose(Image.Transpose.ROTATE_270).convert("RGB"))
    assert np.abs(record.image().astype(int) - turned).mean() < 3
    assert np.array_equal(record.questions[0].masks[0].decode(), box(30, 50, 8, (60, 40)))


def test_polygons_of_two_points_and_pictures_without_a_target_are_counted(tmp_path):
    example(tmp_path / "val", "a", [{"label": "target", "points": [[0, 0], [9, 9]]}, square(3, 3, 5, "ignore")])
    reading = only(tmp_path)
    assert reading.record is None
    reasons = [part.reason for part in reading.left_out]
    assert reasons == ["polygon of fewer than 3 points", "no question, or no pixel of a target"]


def test_explanations_are_for_training_only_and_must_be_there(tmp_path):
    example(tmp_path / "train", "a", [square(2, 2, 9)], ["one?", "two?"])
    with pytest.raises(LayoutError, match=r"train\.json: the annotation file is missing.*--explanations false"):
        ReasonSeg(tmp_path).splits()["train"]
    assert only(tmp_path, "train", explanations=False).record.questions[0].answer == ""
    explain(tmp_path, [{"query": "one?", "outputs": "Because.", "image": "a.jpg", "json": "a.json"}])
    assert [question.answer for question in only(tmp_path, "train").record.questions] == ["Because."] * 2


def test_broken_and_missing_files_are_named(tmp_path):
    image = example(tmp_path / "val", "a", [square(2, 2, 9)])
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match=r"a\.jpg: the image cannot be decoded"):
        only(tmp_path)
    image.write_bytes(data)
    (tmp_path / "val" / "a.json").write_text('{"text": ["x"], "shapes": []}')
    with pytest.raises(RecordError, match=r"a\.json: not an annotation file of ReasonSeg.*is_sentence"):
        only(tmp_path)
    example(tmp_path / "val", "a", [{"label": "target", "points": [[0, 0], [5, 5], [1e9, 0]]}])
    with pytest.raises(RecordError, match=r"a\.json: polygon: a point is far outside"):
        only(tmp_path)
    example(tmp_path / "val", "a", [{"label": "target", "points": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.9]]}])
    with pytest.raises(RecordError, match=r"a\.json: its points are fractions .*; multiply x by the width 60"):
        only(tmp_path)
    (tmp_path / "val" / "b.json").touch()
    with pytest.raises(LayoutError, match=r"1 of the 4 files that .* needs are missing \(.*b\.jpg\).*--broken skip"):
        convert(ReasonSeg(tmp_path), tmp_path / "shards", processes=0)


def test_one_without_the_other_is_counted_where_broken_ones_are_skipped(tmp_path):
    for name in "abc":
        example(tmp_path / "val", name, [square(2, 2, 9)])
    (tmp_path / "val" / "a.jpg").unlink()
    (tmp_path / "val" / "b.json").unlink()
    written = convert(ReasonSeg(tmp_path), tmp_path / "shards", broken="skip", processes=0)["val"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 2})


def test_the_authentic_annotation_has_the_pixels_that_opencv_draws(tmp_path, shared):
    sample = shared / "data" / "samples" / "reasonseg" / "ReasonSeg"
    if not sample.is_dir():
        pytest.skip("there is no sample of ReasonSeg in the folder `shared`")
    (tmp_path / "val").mkdir()
    Image.new("RGB", (800, 600)).save(tmp_path / "val" / f"{LION}.jpg")
    (tmp_path / "val" / f"{LION}.json").write_bytes((sample / "val" / f"{LION}.json").read_bytes())
    record = only(tmp_path).record
    # counted once in what cv2 4.8.1 draws by LISA's rule
    assert record.questions[0].kind == "sentence"
    assert int(record.ignored().decode().sum()) == 38536
    assert int(record.questions[0].masks[0].decode().sum()) == 155795
    explanations = json.loads((sample / "explanatory" / "train.json").read_text())
    assert set(explanations[0]) == {"query", "outputs", "image", "json"}
