"""``lasagna inspect`` counts what shards hold, draws examples and names what is wrong."""

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.cli.record_examples import choose_examples, draw_examples
from lasagna.core.record import Manifest, Phrase, Question, Turn
from lasagna.datamodules import write_shards
from lasagna.datamodules.inspection.survey import survey_shard
from tests.helpers.inspected_shards import mask, png, record, write, write_faulty


@pytest.fixture
def shards(tmp_path):
    return write_faulty(tmp_path)


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
    assert train["annotations"]["turns of conversations"] == 1
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
    assert '<img src="data:image/jpeg;base64,' in page
    assert "wrong sizes" in page
    for name in ("examples-0.jpg", "counts-0.png", "examples-1.jpg", "counts-1.png"):
        assert Image.open(tmp_path / "out" / name).width > 200
    assert "clashing names: 2" in capsys.readouterr().out


def test_what_a_data_set_says_of_itself_stays_on_its_line(tmp_path):
    said = "here\n\n![stolen](stolen.png)\n\n## Heading"
    manifest = Manifest(f"name {said}", ("sky",), unannotated="unknown", origin=said, licence=said)
    write_shards([replace(record(said, 1), manifest=manifest)], tmp_path / "shards", manifest)
    (tmp_path / "out").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "out" / "stolen.png")
    stolen = b64encode((tmp_path / "out" / "stolen.png").read_bytes()).decode()
    main(["inspect", str(tmp_path / "shards"), "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "![stolen](stolen.png)" in page
    assert stolen not in page
    assert "<h2>Heading" not in page


def test_strict_makes_findings_an_error(shards, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "--shards", str(shards / "val"), "--strict", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "the inspection found" in capsys.readouterr().err
    assert report(tmp_path / "out")["folders"][str(shards / "val")]["records"] == 3


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


def test_what_two_training_splits_share_is_no_leak_and_every_overlap_is_reported_once(tmp_path):
    both, far = "COCO_train2014_000000000139", "COCO_train2014_000000000200"
    write(tmp_path / "coco" / "train", [record(both, 1), record(far, 2)])
    write(tmp_path / "ref" / "train", [record(both, 1), record("000000000200", 3)])
    write(tmp_path / "ref" / "testA", [record(both, 1), record("000000000200", 4)])
    main(["inspect", str(tmp_path / "coco"), str(tmp_path / "ref"), "--out", str(tmp_path / "out"), "--processes", "0"])
    coco, ref, test = (tmp_path / place for place in ("coco/train", "ref/train", "ref/testA"))
    shared = report(tmp_path / "out")["shared"]
    assert shared["shared images"] == [f"2 of {coco} and {ref}: {both}, {far}"]
    assert {part.partition(":")[0] for part in shared["images in several splits"]} == {
        f"1 of {one} and {other}" for one, other in ((coco, test), (test, ref))
    }
    assert {part.rpartition(" ")[2] for part in shared["photographs in several splits"]} == {far, "000000000200"}


def test_strict_lets_a_part_of_a_data_set_pass(tmp_path, capsys):
    manifest = Manifest("made", ("sky", "dog"))
    for part in ("a", "b"):
        write_shards([replace(record("k", 1), manifest=manifest)], tmp_path / part / "train", manifest)
    main(["inspect", str(tmp_path / "a"), str(tmp_path / "b"), "--strict", "true", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "unused names: 2" in told
    assert "shared images: 1" in told


def test_masks_that_reach_beyond_the_image_are_found(tmp_path):
    beyond, inside = [[2.0, 2, 40, 2, 40, 9]], [[0.0, 0, 24, 0, 24.5, 16]]
    image = tmp_path / "mine" / "a.png"
    image.parent.mkdir()
    image.write_bytes(png(1))
    parts = [{"name": "sky", "mask": beyond}, {"name": "dog", "mask": inside}]
    line = {"image": "a.png", "categories": parts, "phrases": [{"text": "it", "masks": [beyond, inside]}]}
    (tmp_path / "mine" / "annotations.jsonl").write_text(json.dumps(line))
    main(["convert", "folder", "--source", str(image.parent), "--target", str(tmp_path / "shards")])
    main(["inspect", str(tmp_path / "shards"), "--out", str(tmp_path / "out"), "--processes", "0"])
    folder = str(tmp_path / "shards" / "train")
    (found,) = report(tmp_path / "out")["folders"][folder]["findings"]["masks outside the image"]
    assert re.match(r"2 in the conversion \(e\.g\. .*:1: categories\[0\]; .*:1: phrases\[0\]\)", found)


@pytest.mark.parametrize("number", ["-1", "101"])
def test_the_number_of_examples_is_bounded(shards, tmp_path, capsys, number):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(shards / "val"), "--examples", number, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert f"examples: expected a number from 0 to 100, got {number}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_examples_may_be_asked_for(shards, tmp_path):
    main(["inspect", str(shards / "val"), "--examples", "0", "--out", str(tmp_path / "out"), "--processes", "0"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"counts-0.png", "report.html", "report.json"}
    assert "<h3>Examples</h3>" not in (tmp_path / "out" / "report.html").read_text()


def drawn(monkeypatch, shard_set, count, seed=0):
    sheets = []
    monkeypatch.setattr("lasagna.cli.record_examples.contact_sheet", lambda cases, side: sheets.append(cases))
    chosen, samples = choose_examples(shard_set, count, seed), {}
    for shard in shard_set.shards:
        found = survey_shard(shard_set, shard, chosen.get(shard.file, ()))
        samples |= {(shard.file, rank): sample for rank, sample in found.examples.items()}
    draw_examples(shard_set, chosen, samples, count, seed)
    return [(case.note, case.query) for case in sheets[0]]


def test_examples_come_from_several_shards_and_show_all_kinds(tmp_path, monkeypatch):
    phrase, question = Phrase("left", (mask(),)), Question("how many?", "two")
    records = [
        record(f"r{rank}", rank, phrases=(phrase,), questions=(question,), conversation=(Turn("what?", "sky"),))
        for rank in range(30)
    ]
    shard_set = write(tmp_path, records)
    found = drawn(monkeypatch, shard_set, 12)
    assert found == drawn(monkeypatch, shard_set, 12)
    assert found != drawn(monkeypatch, shard_set, 12, seed=1)
    numbers = [int(note[1:]) for note, _ in found]
    assert len(set(numbers)) == 12
    assert len({number // 3 for number in numbers}) >= 4
    assert {query for _, query in drawn(monkeypatch, shard_set, 30)} == {"sky", "left", "how many?", "what?"}
    few = drawn(monkeypatch, write(tmp_path, records[:2]), 12)
    assert len(few) == len(set(few)) == 8


def test_every_folder_has_its_pictures_and_facts_in_its_part_of_the_page(shards, tmp_path):
    write(tmp_path / "more" / "test", [record("odd", 9, unclear=("dog",)), record("leak", 2)])
    folders = [str(shards), str(tmp_path / "more")]
    main(["inspect", *folders, "--out", str(tmp_path / "out"), "--processes", "0"])
    page = (tmp_path / "out" / "report.html").read_text()
    overview, *parts = re.split(r"<h2>", page)[1:]
    folders = [shards / "train", shards / "val", tmp_path / "more" / "test"]
    for rank, (folder, part) in enumerate(zip(folders, parts, strict=True)):
        assert part.startswith(f"{folder}</h2>")
        shown = re.findall(r'src="data:image/.+?;base64,(.*?)"', part)
        pictures = [tmp_path / "out" / name for name in (f"counts-{rank}.png", f"examples-{rank}.jpg")]
        assert [b64decode(content) for content in shown] == [picture.read_bytes() for picture in pictures]
        assert f"<td>{folder}</td>" in overview
    assert "5 images; shards: 2, 0.0 MB" in parts[0]
    assert "categories without annotation are unknown" in parts[0]
    right = '<td style="text-align:right">'
    assert f"<td>sky</td>\n{right}5</td>\n{right}50.00%</td>" in parts[0]
    assert "1 names without a usable or complete mask" in parts[2]
    assert "<strong>images in several splits</strong> (2)" in overview
    assert "remove it from one of them" in overview
