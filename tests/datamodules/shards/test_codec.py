"""Records survive the way through a sample, and every malformed field is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import read_manifest
from lasagna.datamodules.shards.codec import decode_record, encode_record, sample_key
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.errors import RecordError
from tests.helpers.data_fakes import MANIFEST, NAMES, png, record

SIZE = (6, 7)
ALL = ShardSplit()
IMAGE = png(np.zeros((*SIZE, 3), dtype=np.uint8))
JPEG = png(np.ones((3, 4, 3), dtype=np.uint8), "JPEG")
texts = st.text(max_size=20)
words = texts.filter(str.strip)
masks = st.lists(st.booleans(), min_size=42, max_size=42).map(
    lambda bits: RLEMask.from_array(np.array(bits).reshape(SIZE))
)


many = st.lists(masks, min_size=1, max_size=3)
regions = st.sampled_from(NAMES).flatmap(
    lambda name: (
        st.builds(Region, st.just(name), masks)
        | st.builds(Region.of_objects, st.just(name), many, st.lists(masks, max_size=2))
        | st.builds(Region.of_objects, st.just(name), st.just([]), many)
    )
)


@st.composite
def captions(draw):
    text = draw(st.text("ab", min_size=4, max_size=12))
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = list(zip(places[::2], places[1::2], strict=False))
    return Caption(text, tuple(CaptionPhrase(span, tuple(draw(many))) for span in spans))


@st.composite
def records(draw):
    others = draw(st.lists(st.sampled_from([IMAGE, JPEG]), max_size=2).map(tuple))
    return Record(
        others=others,
        # the last may be called so in two ways
        masks_on=draw(st.integers(0, len(others) - 1)) if others and draw(st.booleans()) else -1,
        key=draw(st.text(min_size=1, max_size=12).filter(lambda key: key.isprintable() and key.strip())),
        image_bytes=IMAGE,
        size=SIZE,
        manifest=MANIFEST,
        regions=tuple(draw(st.lists(regions, max_size=3))),
        phrases=tuple(
            draw(st.lists(st.builds(Phrase, words, st.lists(masks, max_size=2).map(tuple), texts), max_size=3))
        ),
        questions=tuple(
            draw(
                st.lists(
                    st.builds(Question, words, texts, st.none() | st.lists(masks, max_size=2).map(tuple), texts),
                    max_size=3,
                )
            )
        ),
        conversation=tuple(draw(st.lists(st.builds(Turn, texts, texts), max_size=2))),
        captions=tuple(draw(st.lists(captions(), max_size=2))),
        absent=tuple(draw(st.lists(words, max_size=3))),
        unclear=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2))),
        ignore=draw(st.none() | masks),
        label_bytes=draw(st.none() | st.just(b"a label map")),
    )


def sample_of(item):
    return {"__key__": sample_key(item.key), **encode_record(item)}


@settings(max_examples=60)
@given(records())
def test_a_record_survives(item):
    assert decode_record(sample_of(item), MANIFEST) == item


def test_shards_of_format_1_are_read_as_they_were_written():
    """The folder was written by the last version of the package that wrote format 1."""
    shard_set = read_manifest(Path(__file__).parent / "format_1")
    shard_set.verify()
    one, two = (decode_record(sample, shard_set.manifest) for sample in read_share(shard_set, shard_set.shards, ALL))
    dog = RLEMask.from_array(np.array([[1, 0, 0, 1], [0, 0, 0, 1]]))
    assert (shard_set.format, one.regions, one.objects()) == (1, (Region("dog", dog),), {})
    assert {name: int(mask.decode().sum()) for name, mask in one.category_masks().items()} == {"sky": 6, "dog": 3}
    assert [len(phrase.masks) for phrase in one.phrases] == [2, 0]
    assert [question.masks is None for question in one.questions] == [False, True]
    assert (two.key, two.unclear, two.regions[0].masks) == ("two/a", ("dog",), None)


def test_lazy_masks_are_stored_with_their_pixels():
    item = record(3)
    label_map = item.label_map
    region = Region("sky", label_map.mask([0, 1]))
    found = decode_record(sample_of(replace(item, regions=(region,))), MANIFEST)
    assert np.array_equal(found.regions[0].mask.decode(), np.isin(label_map.pixels, [0, 1]))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
def test_keys_in_file_names_hold_no_dot_or_slash_and_stay_distinct(keys):
    try:
        first, second = map(sample_key, keys)
    except UnicodeEncodeError:  # lone surrogates are no text
        return
    assert first != second
    assert not set("./\\: ") & set(first)


def test_the_image_keeps_its_own_extension():
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("WEBP", "webp")):
        assert extension in encode_record(Record("k", png(pixels, kind), (4, 4), MANIFEST))
    with pytest.raises(RecordError, match="record k: the image is none of"):
        encode_record(Record("k", b"GIF89a", (4, 4), MANIFEST))
    with pytest.raises(RecordError, match="its key is empty"):
        encode_record(Record("", IMAGE, SIZE, MANIFEST))


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"absent": ("sky", "")}, r"absent\[1\]"),
        ({"unclear": ("",)}, r"unclear\[0\]"),
        ({"phrases": (Phrase(" ", ()),)}, r"phrases\[0\]\.text"),
        ({"questions": (Question("", "yes"),)}, r"questions\[0\]\.text"),
        ({"captions": (Caption(""),)}, r"captions\[0\]\.text"),
        ({"regions": (Region("", RLEMask.from_array(np.eye(6, 7))),)}, r"regions\[0\]\.name"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(parts, named):
    with pytest.raises(RecordError, match=rf"record k: {named} is empty"):
        encode_record(Record("k", IMAGE, SIZE, MANIFEST, **parts))


GOOD = RLEMask.from_array(np.eye(6, 7)).to_json()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ([], "the annotations: expected an object"),
        ({"size": None}, "size: expected"),
        ({"size": [6]}, "size: expected"),
        ({"size": [6, "7"]}, "size: expected"),
        ({"size": [6, -7]}, "size: expected"),
        ({"key": 5}, "key: expected a text"),
        ({"regions": {}}, "regions: expected a list"),
        ({"regions": [5]}, r"regions\[0\]: expected an object"),
        ({"regions": [{"mask": GOOD}]}, r"regions\[0\].name: expected a text"),
        ({"regions": [{"name": "comet", "mask": GOOD}]}, r"regions\[0\].name: 'comet' is not a category of 'made up'"),
        ({"regions": [{"name": "sky"}]}, r"regions\[0\].mask: expected COCO RLE or polygons"),
        ({"regions": [{"name": "sky", "mask": {"size": [7, 6], "counts": GOOD["counts"]}}]}, "both must agree"),
        (
            {"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": [3, 4]}}]},
            "its runs cover 7 pixels of 42",
        ),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": [44, -2]}}]}, "cover 42 pixels"),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": "!"}}]}, "not compressed RLE"),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": ""}}]}, "not compressed RLE"),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": "o" * 40 + "1"}}]}, "too large"),
        ({"regions": [{"name": "sky", "mask": []}]}, r"expected COCO RLE or polygons, got \'\[\]\'"),
        ({"regions": [{"name": "sky", "mask": [[1, 2, 3]]}]}, "at least three points"),
        ({"phrases": [{"text": "a", "masks": 5}]}, r"phrases\[0\].masks: expected a list"),
        ({"phrases": [{"text": "a", "masks": [5]}]}, r"phrases\[0\].masks\[0\]: expected COCO RLE"),
        ({"phrases": [{"text": "a", "kind": 1}]}, r"phrases\[0\].kind: expected a text"),
        ({"questions": [{"text": "a", "answer": 1}]}, r"questions\[0\].answer: expected a text"),
        ({"questions": [{"text": "a"}, {"answer": "b"}]}, r"questions\[1\].text: expected a text"),
        ({"talk": [{"question": "a"}]}, r"talk\[0\].answer: expected a text"),
        ({"conversation": [{"answer": "a"}]}, r"conversation\[0\].question: expected a text"),
        ({"captions": [{"text": " "}]}, r"captions\[0\].text: expected a text that is not empty"),
        ({"captions": [{"text": "a", "phrases": [{}]}]}, r"captions\[0\].phrases\[0\].span: expected \[begin, end\]"),
        ({"captions": [{"text": "a", "phrases": [{"span": [0, 1]}]}]}, r"captions\[0\]: \['a'\] have no mask"),
        (
            {"captions": [{"text": "a", "phrases": [{"span": [0, 2], "masks": [GOOD]}]}]},
            r"captions\[0\]: the span \[0, 2\] holds no words of 'a'",
        ),
        ({"absent": [1]}, r"absent\[0\]: expected a text"),
        ({"absent": ["sky", " "]}, r"absent\[1\]: expected a text that is not empty, got ' '"),
        ({"unclear": [""]}, r"unclear\[0\]: expected a text that is not empty"),
        ({"key": ""}, "key: expected a text that is not empty"),
        ({"phrases": [{"text": ""}]}, r"phrases\[0\].text: expected a text that is not empty"),
        ({"questions": [{"text": " "}]}, r"questions\[0\].text: expected a text that is not empty"),
        ({"regions": [{"name": "sky", "mask": {"size": [6.7, 7], "counts": [42]}}]}, "whole numbers, not 6.7"),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": [41, True]}}]}, "whole numbers, not True"),
        ({"regions": [{"name": "sky", "mask": {"size": [6, 7], "counts": [41.5, 0.5]}}]}, "whole numbers, not 41.5"),
        ({"unclear": [1]}, r"unclear\[0\]: expected a text"),
        ({"ignore": "all"}, "ignore: expected COCO RLE"),
    ],
)
def test_a_malformed_field_is_named(fields, named):
    content = {"key": "k", "size": list(SIZE), **fields} if isinstance(fields, dict) else fields
    with pytest.raises(RecordError, match=r"record \w+: " + named if ":" in named else named) as fault:
        decode_record({"__key__": "k", "png": IMAGE, "json": json.dumps(content).encode()}, MANIFEST)
    assert "record k" in str(fault.value)


def test_missing_files_are_named():
    with pytest.raises(RecordError, match=r"record k: k\.json is missing"):
        decode_record({"__key__": "k", "png": IMAGE}, MANIFEST)
    with pytest.raises(RecordError, match="record k: no image"):
        decode_record({"__key__": "k", "json": b"{}"}, MANIFEST)
    with pytest.raises(RecordError, match=r"record k: k\.json is not JSON"):
        decode_record({"__key__": "k", "png": IMAGE, "json": b"{"}, MANIFEST)


def test_polygons_and_plain_counts_become_masks():
    fields = {
        "key": "k",
        "size": [6, 7],
        "regions": [
            {"name": "sky", "mask": [[0, 0, 7, 0, 7, 3, 0, 3]]},
            {"name": "oak", "mask": {"size": [6, 7], "counts": [6, 12, 24]}},
        ],
    }
    found = decode_record({"__key__": "k", "png": IMAGE, "json": json.dumps(fields).encode()}, MANIFEST)
    top, columns = (region.mask.decode() for region in found.regions)
    assert top[:3].all() and not top[3:].any()
    assert columns[:, 1:3].all() and columns.sum() == 12


def test_without_categories_in_the_manifest_any_name_will_do():
    fields = {"key": "k", "size": [6, 7], "regions": [{"name": "comet", "mask": GOOD}]}
    found = decode_record({"__key__": "k", "png": IMAGE, "json": json.dumps(fields).encode()}, Manifest("free"))
    assert found.regions[0].name == "comet"


def test_only_a_record_of_several_images_says_so():
    """A record of one image is written to the byte as before there were others."""
    assert set(json.loads(encode_record(record(0))["json"])) == {"key", "size"}
    files = encode_record(replace(record(0), others=(JPEG, IMAGE), masks_on=0))
    assert list(files) == ["png", "labels.png", "0.jpg", "1.png", "json"]
    assert json.loads(files["json"]) | {"others": ["0.jpg", "1.png"], "masks_on": 0} == json.loads(files["json"])
    raw = {"__key__": "r-0", **files}
    del raw["0.jpg"]
    with pytest.raises(RecordError, match=r"record r-0: r-0.0.jpg is missing"):
        decode_record(raw, MANIFEST)
    for masks_on, message in ((3, "expected -3 to 2 for 3 images"), ("first", "expected a whole number")):
        raw = {"__key__": "r-0", **files, "json": json.dumps(json.loads(files["json"]) | {"masks_on": masks_on})}
        with pytest.raises(RecordError, match=message):
            decode_record(raw, MANIFEST)
    with pytest.raises(RecordError, match="`masks_on` is 1, expected -1 to 0 for 1 images"):
        encode_record(replace(record(0), masks_on=1))
