"""Whatever stands in a manifest or in the JSON of a record, its error is one line that names the field."""

import copy
import json
from dataclasses import replace

import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import read_manifest
from lasagna.datamodules.inspection.survey import survey_record
from lasagna.datamodules.shards.codec import decode_record, encode_record
from lasagna.datamodules.shards.manifest import write_manifest
from lasagna.datamodules.shards.members import Members
from lasagna.errors import RecordError, ShardError
from tests.helpers.data_fakes import MANIFEST, record, write
from tests.helpers.inspected_shards import HALF, SIZE, png

VALUES = (None, [], {}, "", "1", "../x", -1, 1.5, True, 10**30, [None], {"a": None}, "\ud800", float("nan"))
LOST = object()


def places(content, place=()):
    yield place
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, part in parts:
        yield from places(part, (*place, name))


def changed(content, place, value):
    if not place:
        return value
    content = copy.deepcopy(content)
    part = content
    for name in place[:-1]:
        part = part[name]
    if value is LOST:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return content


def mutations(content):
    # every other value at every other place
    yield from (changed(content, place, v) for n, place in enumerate(places(content)) for v in VALUES[n % 2 :: 2])
    yield from (changed(content, place, LOST) for place in places(content) if place)


@pytest.fixture
def shards(tmp_path):
    written = write(tmp_path, 3)
    written.tally.left_out["empty"], written.tally.examples["empty"] = 1, ["a"]
    members = Members("jpg", masks="json:masks", names="json:names", categories={"1": "sky"})
    write_manifest(replace(written, members=members, inputs="0" * 64), tmp_path)
    return tmp_path


def test_any_value_in_a_manifest_is_taken_or_refused_on_one_line(shards):
    file = shards / "manifest.json"
    content, refused = json.loads(file.read_text()), 0
    for made in mutations(content):
        file.write_text(json.dumps(made))
        try:
            read = read_manifest(shards)
        except ShardError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            read.errors()
            read.tally.lines()
    assert refused > 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shards": []}, r"shards: there are none"),
        ({"sha256": None}, r"shards\[0\]\.sha256: expected a text, got None"),
        ({"sha256": "abc"}, r"shards\[0\]\.sha256: expected 64 hexadecimal digits, got 'abc'"),
        ({"records": "1"}, r"shards\[0\]\.records: expected a whole number of at least 1, got '1'"),
        ({"bytes": 0}, r"shards\[0\]\.bytes: expected a whole number of at least 1, got 0"),
        ("twice", r"shards: '000000\.tar' is listed twice"),
        ({"format": True}, r"format: expected one of 1, 2, got True"),
        ("deep", "it is nested too deeply"),
        ("sum", r"records: it says 4, and the shards hold 3"),
    ],
)
def test_mistakes_in_a_manifest_name_their_field(shards, change, told):
    file = shards / "manifest.json"
    content = json.loads(file.read_text())
    if change == "deep":
        file.write_text('{"format": ' + "[" * 100_000)
    else:
        if change in ("twice", "sum"):
            content["shards"] += content["shards"] if change == "twice" else []
            content["records"] += 1
        elif change.keys() <= content.keys() - {"records"}:
            content |= change
        else:
            content["shards"][0] |= change
        file.write_text(json.dumps(content))
    with pytest.raises(ShardError, match=rf"manifest\.json: not a manifest of this version \({told}\); write"):
        read_manifest(shards)


def test_any_value_in_the_json_of_a_record_is_taken_or_refused():
    mask, names = RLEMask.from_array(HALF), MANIFEST.categories
    regions = (Region.of_objects(names[0], [mask], [mask]), Region(names[1], mask))
    questions = (Question("how many?", "two", None, "count"), Question("which?", masks=(mask,)))
    caption = Caption("a sky here", (CaptionPhrase((2, 5), (mask,)),))
    whole = Record("a", png(0), SIZE, MANIFEST, regions, (Phrase("left", (mask,), "side"),), questions)
    whole = replace(whole, conversation=(Turn("a", "b"),), captions=(caption,), absent=("spoon",), unclear=("fork",))
    files = encode_record(replace(whole, ignore=mask, others=(png(1),), masks_on=0))
    refused = 0
    for made in mutations(json.loads(files["json"])):
        try:
            found = decode_record({**files, "json": json.dumps(made).encode(), "__key__": "a"}, MANIFEST)
        except RecordError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            survey_record(found)
            assert encode_record(found)
    assert refused > 200


def test_json_of_a_record_that_is_nested_too_deeply_is_refused():
    files = encode_record(record(0)) | {"json": b"[" * 100_000, "__key__": "a"}
    with pytest.raises(RecordError, match=r"record a: a\.json is not JSON \(it is nested too deeply\)"):
        decode_record(files, MANIFEST)
