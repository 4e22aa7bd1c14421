"""``lasagna label``: files of labels, going on, and the page that shows doubtful images first."""

import json

import numpy as np
import pytest
from PIL import Image

import lasagna.cli.answered_images
import lasagna.cli.predict
from lasagna.__main__ import main
from lasagna.cli.label import doubt_of, label, read_names, write_review
from lasagna.errors import OutputError, QueryError, RecordError
from tests.helpers.assistants import random_assistant


@pytest.fixture
def folder(tmp_path, monkeypatch):
    assistant = random_assistant()
    monkeypatch.setattr(lasagna.cli.predict, "load_assistant", lambda *_: assistant)
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "b.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)).save(
            tmp_path / "images" / name
        )
    (tmp_path / "names.txt").write_text("# of the park\n  # and the sea\nsky\n\nsea horse\n")
    return tmp_path


def test_a_folder_is_labelled_and_only_what_is_missing_is_asked_again(folder, capsys, monkeypatch):
    out = folder / "labels"
    words = ["label", str(folder / "images"), "--names", str(folder / "names.txt"), "--out", str(out)]
    main([*words, "--format", "coco, yolo"])
    coco = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b.jpg", "b.png"]
    assert [category["name"] for category in coco["categories"]] == ["sky", "sea horse"]
    assert sorted(path.name for path in (out / "yolo" / "labels").iterdir()) == ["a.txt", "b.jpg.txt", "b.png.txt"]
    assert (out / "review.html").read_text().count("<img") == 3

    (out / "yolo" / "labels" / "a.txt").unlink()
    (out / "b.png.json").unlink()
    asked = []
    answer = lasagna.cli.answered_images.answer_images
    monkeypatch.setattr(
        lasagna.cli.answered_images,
        "answer_images",
        lambda *args, **kwargs: asked.extend(args[1]) or answer(*args, **kwargs),
    )
    main([*words, "--format", "coco, yolo"])
    assert [image.name for [image] in asked] == ["a.png", "b.png"]
    assert "1 of 3 images are labelled already" in capsys.readouterr().out
    assert json.loads((out / "coco.json").read_text()) == coco

    with pytest.raises(OutputError, match="other thresholds; choose another folder"):
        label(folder / "images", str(folder / "names.txt"), out=out, format="coco, yolo", thresholds={"sky": 0.7})
    with pytest.raises(OutputError, match=r"out: .* holds the images, and pictures of answers would be asked about"):
        label(folder / "images", "sky", out=folder / "labels" / ".." / "images")
    with pytest.raises(QueryError, match="'sea' is none of the names"):
        label(folder / "images", str(folder / "names.txt"), out=out, thresholds={"sea": 0.7})
    with pytest.raises(SystemExit):
        main([*words[:3], "sky", *words[4:]])
    assert "out: " in (error := capsys.readouterr().err)
    assert "holds labels made with other names; choose another folder" in error
    (out / "label.json").write_text('{"names": ')
    with pytest.raises(OutputError, match=r"label.json cannot be read \(.*\); choose another folder"):
        label(folder / "images", "sky", out=out)


@pytest.mark.parametrize(
    ("entry", "doubt"),
    [
        ({"present": False, "score": 0.0}, 0.0),
        ({"present": False, "score": 0.3}, 0.5),
        ({"present": True, "score": 0.8, "empty": False, "confidence": 0.9}, 0.5),
        ({"present": True, "score": 1.0, "empty": False, "confidence": 0.7}, 0.3),
        ({"present": True, "score": 1.0, "empty": True, "confidence": 0.0}, 1.0),
    ],
)
def test_doubt_is_nearness_to_the_threshold_or_lack_of_confidence(entry, doubt):
    assert doubt_of(entry, 0.6) == pytest.approx(doubt)


def test_the_page_begins_with_the_most_doubtful_image(tmp_path):
    for stem, score in (("sure", 0.01), ("unsure", 0.45), ("fair", 0.2)):
        entry = {"name": "<dog>", "present": False, "score": score, "mask": None, "empty": False, "confidence": 0.0}
        content = {"image": f"{stem}.png", "size": [4, 4], "answers": [{"kind": "categories", "entries": [entry]}]}
        (tmp_path / f"{stem}.json").write_text(json.dumps(content))
    write_review(tmp_path, sorted(tmp_path.glob("*.json")), 0.1, {"<dog>": 0.5})
    page = (tmp_path / "review.html").read_text()
    assert page.index("unsure-categories.png") < page.index("fair-categories.png") < page.index('"sure-categories.png')
    assert "&lt;dog&gt; absent (0.45)" in page


@pytest.mark.parametrize("text", ["nil.txt", " , ", "dog, cat, dog", "dog, Dog"])
def test_lists_of_no_use(text):
    with pytest.raises(QueryError, match=r"names: .*(cannot be read|has no name|has dog twice)"):
        read_names(text)


def test_any_file_of_names_is_read(tmp_path):
    file = tmp_path / "names.csv"
    file.write_bytes("\ufeff# list\r\nsky\r\n\r\n sea horse \r\n".encode())
    assert read_names(str(file)) == ("sky", "sea horse")
    file.write_text("sky", encoding="utf-16")
    with pytest.raises(QueryError, match="save it as a text file in UTF-8"):
        read_names(str(file))
    file.write_text("sky, blue")
    with pytest.raises(QueryError, match=r"names: the name 'sky, blue' contains \[','\]"):
        read_names(str(file))
    for missing in ("names.lst", f"{tmp_path}/park.names", str(tmp_path / "names.txt")):
        with pytest.raises(QueryError, match=r"names: .* \(No such file or directory\); correct the path"):
            read_names(missing)
    assert read_names("St. Bernard, mr.dog") == ("St. Bernard", "mr.dog")
    assert read_names("mr.dog,") == ("mr.dog",)
    many = tuple(f"name {rank}" for rank in range(2000))
    assert read_names(", ".join(many)) == many


def test_pictures_that_are_not_read_are_told(folder, capsys):
    for name in ("c.HEIC", "d.heic", "e.avif", "f.json"):
        (folder / "images" / name).write_bytes(b"")
    assert [path.name for path in lasagna.cli.predict.find_images(folder / "images")] == ["a.png", "b.jpg", "b.png"]
    assert capsys.readouterr().err.startswith("skipped: files that end in .avif, .heic (3); those that end in .bmp, ")
    with pytest.raises(RecordError, match=r"holds no image; .* are read, and its folders are not searched: name one"):
        lasagna.cli.predict.find_images(folder)
