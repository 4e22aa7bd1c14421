import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.datamodules import write_shards
from lasagna.datamodules.shard_set import read_manifest
from lasagna.inspecting.audit import audit_names, audit_overlap
from lasagna.inspecting.findings import MEANINGS, by_kind
from lasagna.inspecting.survey import Survey, survey, survey_record
from lasagna.masks import RLEMask
from lasagna.record import Manifest, Phrase, Question, Record, Region, Turn

SIZE = (16, 24)
HALF = np.zeros(SIZE, bool)
HALF[:8] = True
NAMES = ("sky", "traffic light", "Traffic-Lights", "dog")
MANIFEST = Manifest(
    "made", NAMES, unannotated="unknown", aliases={"dog": ("sky", "hound")}, origin="here", licence="none"
)


def png(seed, size=SIZE):
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def record(key, seed, image=None, **more):
    sky = (Region("sky", RLEMask.from_array(HALF)),)
    return Record(key, image or png(seed), SIZE, MANIFEST, **{"regions": sky} | more)


def mask(pixels=HALF):
    return RLEMask.from_array(pixels)


def write(folder, records):
    return write_shards(records, folder, MANIFEST, records_per_shard=3)


@pytest.fixture
def shards(tmp_path):
    nothing = mask(np.zeros(SIZE, bool))
    talk = record("c", 3, talk=(Turn("what?", "sky"),), questions=(Question("how many?", "two"),))
    write(
        tmp_path / "data" / "train",
        [
            record("COCO_train2014_000000000139", 1, absent=("sky", "dog")),
            record("b", 2, phrases=(Phrase("left", (mask(),)), Phrase("right", (nothing,)), Phrase("none", ()))),
            talk,
            record("again", 3),
            record("large", 5, image=png(5, (20, 20))),
            record("cut", 6, image=png(6)[:60]),
        ],
    )
    write(tmp_path / "data" / "val", [record("000000000139", 7), record("leak", 2), record("fine", 8)])
    return tmp_path / "data"


def report(out):
    return json.loads((out / "report.json").read_text())


def test_everything_is_counted_and_every_fault_is_found(shards, tmp_path, capsys):
    main(["inspect", str(shards), "--out", str(tmp_path / "out"), "--examples", "4", "--processes", "0"])
    content = report(tmp_path / "out")
    train = content["folders"][str(shards / "train")]
    assert (train["records"], train["sizes"]) == (5, {"24x16": 5})
    assert train["categories"] == {"sky": {"images": 5, "pixels": 5 * 8 * 24}}
    assert train["annotations"]["phrases"] == 3
    assert train["annotations"]["phrases that fit nothing"] == 1
    assert train["annotations"]["turns of talk"] == 1
    assert train["findings"] == {
        "broken records": [train["findings"]["broken records"][0]],
        "wrong sizes": ["large: says (16, 24), is (20, 20)"],
        "empty masks": ["b: right"],
        "present and absent": ["COCO_train2014_000000000139: sky"],
        "doubled images": ["again and c"],
        "unused names": ["traffic light", "Traffic-Lights", "dog"],
        "clashing names": ["traffic light, Traffic-Lights"],
        "aliases that are names": ["'sky' of 'dog'"],
    }
    assert "cut" in train["findings"]["broken records"][0]
    assert set(content["shared"]) == {"images in several splits", "photographs in several splits"}
    assert "COCO_train2014_000000000139" in content["shared"]["photographs in several splits"][0]
    assert "1 of" in content["shared"]["images in several splits"][0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<img src="examples-0.png"' in page
    assert "wrong sizes" in page
    for name in ("examples-0.png", "counts-0.png", "examples-1.png", "counts-1.png"):
        assert Image.open(tmp_path / "out" / name).width > 200
    assert "clashing names: 2" in capsys.readouterr().out


def test_strict_makes_findings_an_error(shards, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(shards / "val"), "--strict", "true", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "the audit found" in capsys.readouterr().err
    assert report(tmp_path / "out")["folders"][str(shards / "val")]["records"] == 3


def test_several_processes_count_the_same(shards):
    shard_set = read_manifest(shards / "train")
    assert survey(shard_set, 2) == survey(shard_set, 0)


def test_a_broken_shard_is_a_finding(shards, tmp_path):
    path = shards / "val" / "000000.tar"
    path.write_bytes(path.read_bytes()[:-700])
    main(["inspect", str(shards / "val"), "--out", str(tmp_path / "out")])
    found = report(tmp_path / "out")["folders"][str(shards / "val")]["findings"]
    assert "truncated" in found["broken shards"][0]


def test_folders_are_compared_over_data_sets(shards, tmp_path):
    write(tmp_path / "other" / "train", [record("mine", 8), record("x", 99)])
    folders = [str(shards / "val"), str(tmp_path / "other")]
    main(["inspect", *folders, "--out", str(tmp_path / "out"), "--processes", "0"])
    assert report(tmp_path / "out")["shared"]["images in several splits"][0].startswith("1 of")


def test_there_must_be_shards(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", str(tmp_path / "nowhere")])
    assert "nowhere" in capsys.readouterr().err


def test_names_that_only_look_alike_are_apart():
    manifest = Manifest("made", ("glass", "glasses", "bus", "buses", "dress", "address"))
    assert "clashing names" not in by_kind(audit_names(manifest, Survey()))
    assert audit_overlap({}) == []
    assert survey_record(record("a", 1)).findings == []
    assert len(MEANINGS) == 11
