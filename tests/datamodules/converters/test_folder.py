import json
import re

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.masks import RLEMask
from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.folder import Folder
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.errors import LasagnaError, RecordError
from tests.helpers.converter_contract import ConverterContract, Expected

SIZE = (20, 30)
LEFT, TOP = (np.indices(SIZE)[axis] < 10 for axis in (1, 0))
POLYGON = [[0, 0, 10, 0, 10, 20, 0, 20]]


def image(path, size=SIZE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, **options)
    return path


def mask(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def write(folder, *lines, dataset=None):
    folder.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (folder / "annotations.jsonl").write_text("\n".join(text) + "\n", encoding="utf-8")
    if dataset is not None:
        (folder / "dataset.json").write_text(json.dumps(dataset))


class TestFolderContract(ConverterContract):
    def release(self, folder):
        one, two = image(folder / "images" / "one.jpg"), image(folder / "images" / "two.png")
        mask(folder / "masks" / "cup.png", LEFT * 255)
        mask(folder / "masks" / "map.png", np.where(TOP, 3, 1))
        rle = RLEMask.from_array(LEFT & TOP).to_json()
        write(
            folder,
            {
                "image": "images/one.jpg",
                "split": "train",
                "categories": [
                    {"name": "cup", "mask": "masks/cup.png"},
                    {"name": "table", "mask": {"png": "masks/map.png", "value": 3}},
                ],
                "absent": ["spoon"],
                "unclear": ["table"],
                "phrases": [
                    {"text": "the cups", "masks": [POLYGON, rle]},
                    {"text": "the fork", "masks": []},
                    {"text": "the cup", "masks": ["masks/cup.png"], "kind": "short"},
                ],
                "questions": [
                    {"text": "What holds tea?", "answer": "The cup does.", "masks": ["masks/cup.png"]},
                    {"text": "How many cups?", "answer": "One."},
                ],
                "conversation": [{"question": "Where are we?", "answer": "In a café."}],
                "ignore": rle,
            },
            "",
            {
                "image": "images/two.png",
                "split": "val",
                "categories": [
                    {"name": "cup", "masks": [POLYGON, rle], "crowds": ["masks/map.png"]},
                    {"name": "table", "mask": rle},
                ],
            },
            dataset={"name": "kitchen", "categories": ["cup", "spoon", "table"], "origin": "mine", "licence": "CC0"},
        )
        return {
            "train": {
                "images/one": Expected(
                    one,
                    {"cup": LEFT, "table": TOP},
                    absent={"spoon"},
                    unclear={"table"},
                    ignored=LEFT & TOP,
                    phrases={"the cups": LEFT, "the fork": np.zeros(SIZE, bool), "the cup": LEFT},
                    questions={"What holds tea?": "The cup does.", "How many cups?": "One."},
                    turns=1,
                )
            },
            "val": {
                "images/two": Expected(
                    two,
                    {"cup": np.ones(SIZE, bool), "table": LEFT & TOP},
                    absent=set(),
                    objects={"cup": ([LEFT, LEFT & TOP], [np.ones(SIZE, bool)])},
                )
            },
        }

    def converter(self, folder):
        return Folder(folder)


def reading(folder):
    return Folder(folder).splits()["train"].reading(0)


def test_the_smallest_folder(tmp_path):
    image(tmp_path / "a.png")
    write(tmp_path, {"image": "a.png"})
    split = Folder(tmp_path).splits()["train"]
    assert (split.manifest.name, split.manifest.categories, split.manifest.unannotated) == (
        tmp_path.name,
        (),
        "unknown",
    )
    assert split.reading(0).record.key == "a"


def test_the_first_line_may_say_what_holds_for_all(tmp_path):
    image(tmp_path / "a.png")
    head = {"name": "kitchen", "unannotated": "absent", "categories": ["cup", "fork"], "aliases": {"cup": ["mug"]}}
    write(tmp_path, head, {"image": "a.png", "categories": [{"name": "cup", "mask": POLYGON}]})
    convert(Folder(tmp_path), tmp_path / "shards", processes=0)
    manifest = read_manifest(tmp_path / "shards" / "train").manifest
    assert (manifest.categories, manifest.unannotated, manifest.aliases) == (
        ("cup", "fork"),
        "absent",
        {"cup": ("mug",)},
    )
    write(tmp_path, head, {"image": "a.png"}, dataset={})
    with pytest.raises(LayoutError, match=r"jsonl:1: this line and .*dataset\.json both describe"):
        Folder(tmp_path).splits()


def test_categories_are_gathered_where_none_are_listed(tmp_path):
    image(tmp_path / "a.png")
    write(tmp_path, {"image": "a.png", "categories": [{"name": "cup", "mask": POLYGON}], "absent": ["apple"]})
    assert Folder(tmp_path).splits()["train"].manifest.categories == ("apple", "cup")


def test_several_masks_of_one_name_are_one_category_and_empty_ones_are_counted(tmp_path):
    image(tmp_path / "a.png")
    mask(tmp_path / "none.png", np.zeros(SIZE))
    codes = [POLYGON, RLEMask.from_array(TOP).to_json(), "none.png", []]
    phrases = [
        {"text": "both", "masks": codes[:2]},
        {"text": "one is lost", "masks": codes[1:]},
        {"text": "lost", "masks": ["none.png"]},
    ]
    questions = [{"text": "lost?", "masks": ["none.png"]}, {"text": "nothing?", "masks": []}]
    categories = [{"name": "cup", "mask": code} for code in codes] + [{"name": "fork", "mask": "none.png"}]
    told = [{"text": "a cup", "masks": codes[:2]}, {"text": "fork", "masks": ["none.png"]}]
    captions = [{"text": "a cup beside a fork", "phrases": told}]
    parts = {"categories": categories, "phrases": phrases, "questions": questions, "captions": captions}
    write(tmp_path, {"image": "a.png", **parts})
    found = reading(tmp_path)
    [caption] = found.record.captions
    assert [caption.words_of(phrase) for phrase in caption.phrases] == ["a cup"]
    assert np.array_equal(caption.phrases[0].masks[1].decode(), TOP)
    masks = found.record.category_masks()
    assert list(masks) == ["cup"]
    assert found.record.unclear == ("cup", "fork")
    assert np.array_equal(masks["cup"].decode(), LEFT | TOP)
    assert [phrase.text for phrase in found.record.phrases] == ["both"]
    assert [question.text for question in found.record.questions] == ["nothing?"]
    reasons = [part.reason for part in found.left_out]
    assert (reasons.count("mask without a pixel"), reasons.count("empty segmentation")) == (6, 2)
    assert [reason for reason in reasons if reason.startswith("one of")] == [
        "one of the phrases, since a mask of it is left out",
        "one of the phrases, since a mask of it is left out",
        "one of the questions, since a mask of it is left out",
    ]
    assert re.search(r"annotations\.jsonl:1: categories\[2\]$", found.left_out[0].where)


def test_black_and_white_pictures_of_three_channels_are_masks(tmp_path):
    image(tmp_path / "a.png")
    mask(tmp_path / "m.png", np.repeat(LEFT[..., None] * 255, 3, axis=2))
    write(tmp_path, {"image": "a.png", "categories": [{"name": "cup", "mask": "m.png"}]})
    assert np.array_equal(reading(tmp_path).record.category_masks()["cup"].decode(), LEFT)


def test_photographs_on_their_side_are_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    image(tmp_path / "a.jpg", (30, 20), exif=exif)
    mask(tmp_path / "m.png", LEFT)
    write(tmp_path, {"image": "a.jpg", "categories": [{"name": "cup", "mask": "m.png"}]})
    record = reading(tmp_path).record
    assert record.size == record.image().shape[:2] == SIZE


@pytest.mark.parametrize("options", [{}, {"exif": True}])
def test_deep_pictures_are_stored_with_the_window_of_their_line_or_of_all(tmp_path, options):
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {"exif": exif} if options else {}
    scan = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    Image.fromarray(scan).save(tmp_path / "a.png", **options)
    image(tmp_path / "b.png")
    lines = {"image": "a.png"}, {"image": "a.png", "key": "own", "window": [100, 355]}, {"image": "b.png"}
    write(tmp_path, {"window": [0, 510]}, *lines)
    split = Folder(tmp_path).splits()["train"]
    pixels = [split.read(item).record.image()[..., 0] for item in split.items]
    scan = np.rot90(scan, 2) if options else scan
    assert np.array_equal(pixels[0], np.rint(scan.clip(0, 510) / 2))
    assert np.array_equal(pixels[1], scan.clip(100, 355) - 100)
    assert split.read(split.items[2]).record.image_bytes == (tmp_path / "b.png").read_bytes()


def test_deep_photographs_on_their_side_keep_their_greys(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.full(SIZE, 30000, dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    write(tmp_path, {"image": "a.png"})
    assert (reading(tmp_path).record.image() == 117).all()


GOOD = {"image": "a.png"}
UPWARDS = ("../../evil", "..", ".", "a/b", "a\\b", "/evil", " ")
OUTSIDE = ("../a.png", "/a.png", "a/../../b.png", "..\\a.png", "C:\\a.png")
FAULTS = [
    ("{", ":2: not JSON"),
    ("[1]", ":2: expected an object"),
    ({"picture": "a.png"}, ":2: there is no field 'picture'; there are image"),
    ({"image": ""}, ":2: 'image' is missing or empty"),
    ({"image": "b.png", "categorys": []}, ":2: there is no field 'categorys'; did you mean 'categories'?"),
    ({"image": "b.png", "categories": ["cup"]}, r":2: categories\[0\]: expected an object, got 'cup'"),
    ({"image": "b.png", "categories": [{"name": "cup"}]}, r":2: categories\[0\]: 'mask' is missing"),
    (
        {"image": "b.png", "categories": [{"name": "cup", "mask": POLYGON, "masks": [POLYGON]}]},
        r":2: categories\[0\]: 'mask' is given beside 'masks'",
    ),
    ({"image": "b.png", "absent": 5}, ":2: absent: expected a list, got '5'"),
    ({"image": "b.png", "phrases": [{"text": "x", "masks": POLYGON[0][0]}]}, r"phrases\[0\]: masks: expected a list"),
    ({"image": "b.png", "captions": [{"text": "x", "phrases": [5]}]}, r"captions\[0\]: phrases\[0\]: expected an obj"),
    (
        {"image": "b.png", "captions": [{"text": "a b", "phrases": [{"text": t, "masks": []} for t in "ba"]}]},
        r"captions\[0\]: phrases\[1\]: 'a' does not stand in 'a b' behind 'b'",
    ),
    ({"image": "b.png", "conversation": [{"question": "x"}]}, r"conversation\[0\]: 'answer' is missing"),
    ({"image": "b.png", "window": [9, 2]}, r":2: window: expected \(low, high\)"),
    ({"image": "b.png", "window": ["0", 2]}, r":2: window: expected \(low, high\)"),
    ({"image": "a.png"}, r":2: its key 'a' is also that of .*:1;"),
    ({"image": "b.png", "unclear": [5]}, r"unclear\[0\]: expected a name, got '5'"),
    ({"image": "b.png", "absent": [" "]}, r"absent\[0\]: expected a name, got ' '"),
    ({"image": "b.png", "unclear": ["cup"], "absent": ["fork", "cup"]}, r":2: absent\[1\]: 'cup' is in .* as well"),
    ({"image": "b.png", "unclear": ["knife"]}, ":2: 'knife' is not one of the listed categories"),
    *(({"image": "b.png", "split": split}, ":2: split: expected a name that a folder can have") for split in UPWARDS),
    *(({"image": name}, ":2: the name .* leads out of the folder") for name in OUTSIDE),
    *(({"image": "b.png", "ignore": name}, ":2: the name .* leads out of the folder") for name in OUTSIDE),
    ({"image": "b.png", "phrases": [{"text": "x", "masks": [{"png": "../m.png", "value": 1}]}]}, "leads out of"),
    ({"image": "b.png", "absent": ["Cup"]}, ":2: 'Cup' is not one of the listed categories; did you mean 'cup'"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS)
def test_a_wrong_line_is_named_before_anything_is_written(tmp_path, line, message):
    write(tmp_path, GOOD, line, dataset={"categories": ["cup", "fork"]})
    with pytest.raises(LasagnaError, match=message):
        Folder(tmp_path).splits()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"categories": [{"name": "cup", "mask": 5}]}, r"jsonl:1: categories\[0\]: expected a mask"),
        (
            {"categories": [{"name": "cup", "mask": "small.png"}]},
            r"small\.png has size \(2, 3\), the image has \(20, 30\)",
        ),
        (
            {"ignore": "lossy.jpg"},
            r"ignore\[0\]: [^ ]*lossy\.jpg: masks and labels stored as JPEG .* export them as PNG",
        ),
        ({"ignore": [[1, "x"] * 3]}, r"jsonl:1: ignore\[0\]"),
        ({"ignore": {"png": "small.png", "value": "1"}}, "a value must be a whole number"),
        ({"phrases": [{"text": "x", "masks": ["clear.png"]}]}, r"phrases\[0\]: .*transparency"),
        ({"questions": [{"text": "x"}]}, r"jsonl:1: questions\[0\]: it has neither 'answer' nor 'masks'"),
        ({"image": "cut.png"}, r"jsonl:1: .*cut\.png: the image cannot be decoded"),
    ],
)
def test_a_wrong_file_or_mask_is_named_with_its_line(tmp_path, line, message):
    data = image(tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[:90])
    mask(tmp_path / "lossy.jpg", np.ones(SIZE))
    mask(tmp_path / "small.png", np.ones((2, 3)))
    mask(tmp_path / "clear.png", np.ones((*SIZE, 4)))
    write(tmp_path, {"image": "a.png"} | line)
    with pytest.raises(RecordError, match=message):
        reading(tmp_path)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"unannotated": "no"}, r"dataset\.json: unannotated: expected 'absent' or 'unknown'"),
        ({"aliases": {"cup": "mug"}}, r"dataset\.json: aliases\.cup: expected a list, got 'mug'"),
        ({"aliases": {"cup": [1]}}, r"dataset\.json: aliases\.cup\[0\]: expected a text, got 1"),
        ({"categories": [5]}, "expected names, got '5'"),
        ({"categories": ["cup, red"]}, r"contains \[','\].*choose another name"),
        ({"window": [1]}, r"dataset\.json: window: expected \(low, high\)"),
        ({"classes": []}, "there is no field 'classes'"),
        ([], "expected an object"),
    ],
)
def test_a_wrong_head_is_named(tmp_path, dataset, message):
    write(tmp_path, GOOD, dataset=dataset)
    with pytest.raises(LasagnaError, match=message):
        Folder(tmp_path).splits()


def test_what_cannot_be_stored_is_counted_where_broken_files_are_skipped(tmp_path):
    image(tmp_path / "a.png")
    image(tmp_path / "b.gif")
    write(tmp_path, {"image": "a.png", "absent": ["cup"]}, {"image": "b.gif"}, {"image": "a.png", "key": " "})
    with pytest.raises(LayoutError, match=r"1 images .* cannot hold \(.*b\.gif\); store them as PNG"):
        convert(Folder(tmp_path), tmp_path / "shards", processes=0)
    assert not (tmp_path / "shards").exists()
    written = convert(Folder(tmp_path), tmp_path / "shards", broken="skip", processes=0)["train"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 2})


def test_an_image_of_a_format_that_is_not_kept_is_named_as_it_is_read(tmp_path):
    image(tmp_path / "b.gif").rename(tmp_path / "a.png")
    write(tmp_path, {"image": "a.png"})
    with pytest.raises(RecordError, match=r"jsonl:1: .*a\.png: the image is none of jpg, .*; store it as one of these"):
        reading(tmp_path)


def test_names_spelled_in_two_ways_and_missing_files_are_named(tmp_path):
    write(tmp_path, {"image": "a.png", "absent": ["cup"]}, {"image": "b.png", "absent": ["Cup"]})
    with pytest.raises(RecordError, match=r":2: 'Cup' is spelled 'cup' in .*:1"):
        Folder(tmp_path).splits()
    write(tmp_path, {"image": "a.png", "ignore": "m.png"})
    with pytest.raises(LayoutError, match=r"2 of the 2 files.*a\.png.*m\.png"):
        convert(Folder(tmp_path), tmp_path / "shards")


def test_several_images_of_a_line_are_shown_together(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    names = [image(tmp_path / name).name for name in ("before.png", "now.png", "part.jpg")]
    image(tmp_path / "part.jpg", (10, 14), exif=tag)
    whole = {"image": "now.png", "categories": [{"name": "cup", "mask": POLYGON}]}
    write(tmp_path, whole | {"others": [names[0], names[2]], "masks_on": 1})
    convert(Folder(tmp_path), tmp_path / "shards", processes=0)
    (record,) = lasagna.records(tmp_path / "shards" / "train")
    assert (record.image_bytes, record.masks_on) == ((tmp_path / "now.png").read_bytes(), 1)
    assert [other.shape[:2] for other in record.other_images()] == [SIZE, (14, 10)]
    for faulty, told in (
        ({"others": [3]}, r"annotations\.jsonl:1: others\[0\]: expected an image file, got '3'"),
        ({"others": ["../a.png"]}, "leads out of the folder"),
        ({"others": ["gone.png"]}, r"1 of the 2 files .*gone\.png"),
        (
            {"others": ["part\\gone%20now.png"]},
            r"gone%20now\.png\); write names .* with / for \\ and without %20, or unpack",
        ),
        ({"others": [names[0]], "masks_on": 2}, "`masks_on` is 2, expected -2 to 1 for 2 images"),
        ({"masks_on": "1"}, "masks_on: expected a whole number, got '1'"),
        ({"others": [names[0]], "masks_on": True}, "masks_on: expected a whole number, got 'True'"),
    ):
        write(tmp_path, whole | faulty)
        with pytest.raises(LasagnaError, match=told):
            convert(Folder(tmp_path), tmp_path / "faulty", processes=0)
