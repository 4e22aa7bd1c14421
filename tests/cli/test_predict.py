"""The queries and answers of ``lasagna predict``."""

import json

import numpy as np
import pytest
from PIL import Image

from lasagna.cli.answered_images import answer_images
from lasagna.cli.predict import read_queries
from lasagna.core.query_kind import INSTANCES
from lasagna.core.tiles import Tiles
from lasagna.errors import QueryError
from lasagna.modules.decoding import together as module
from tests.helpers.assistants import dictate, random_assistant
from tests.helpers.large_pictures import TAGS


def test_every_object_is_asked_for_by_name():
    query, objects = read_queries("sky, sea", own={"instances": "car, boat"})
    assert (query.kind, query.names) == ("categories", ("sky", "sea"))
    assert (objects.kind, objects.names) == (INSTANCES, ("car", "boat"))
    assert read_queries(own={"panoptic": "car, sea"})[0].kind == "panoptic"
    assert read_queries(own={"lasagna.core.query_kind.INSTANCES": "car"})[0].kind is INSTANCES


def test_captions_are_written_with_their_spans_and_drawn(tmp_path, monkeypatch):
    assistant, image = random_assistant(), tmp_path / "black.png"
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(image)
    text = assistant.processors.text
    dictate(monkeypatch, assistant.language_model, text.answer_ids("a [red boat] <SEG> on the sea"))
    assert answer_images(assistant, [[image]], read_queries(own={"grounded_caption": "it"}), tmp_path, "ordered") == []
    [answer] = json.loads((tmp_path / "black.json").read_text())["answers"]
    assert (answer["kind"], answer["words"]) == ("grounded_caption", "a red boat on the sea")
    [entry] = answer["entries"]
    assert (entry["name"], entry["span"], entry["mask"]["size"]) == ("red boat", [2, 10], [20, 24])
    assert (tmp_path / "black-grounded_caption.png").is_file()


def test_a_geotiff_is_answered_in_tiles_and_keeps_its_place_on_the_map(tmp_path, monkeypatch, capsys, recwarn):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra `tiff`")
    assistant, image = random_assistant(), tmp_path / "field.tif"
    assistant.presence_threshold, assistant.calibrated_decoding = 0.0, "one_pass"
    bands = np.random.default_rng(0).integers(0, 3000, (50, 70, 5), dtype=np.uint16)
    tifffile.imwrite(image, bands, planarconfig="contig", photometric="minisblack", extratags=TAGS)
    monkeypatch.setattr("lasagna.cli.prediction_files.DRAWN", 30)
    queries = read_queries("sun, sea", own={"instances": "sun"})
    options = {"window": ("2%", "98%"), "channels": [3, 2, 1], "tiles": Tiles(32, 8), "geojson": True}
    other = tmp_path / "meadow.tif"
    other.write_bytes(image.read_bytes())
    assert answer_images(assistant, [[image], [other]], queries, tmp_path, "ordered", **options) == []
    # told of once, in one line
    assert capsys.readouterr().err.count("fits the scores of decoding 'one_pass'") == 1
    assert not [one for one in recwarn if "calibration" in str(one.message)]
    assert (tmp_path / "meadow.geojson").read_bytes() == (tmp_path / "field.geojson").read_bytes()
    content = json.loads((tmp_path / "field.json").read_text())
    assert content["georeference"] == {"transform": [2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0], "crs": "EPSG:32633"}
    assert content["answers"][0]["tiles"][-1] == [18, 38, 32, 32]
    assert [entry["present"] for entry in content["answers"][0]["entries"]] == [True, True]
    assert Image.open(tmp_path / "field-categories.png").width < 1000
    found = json.loads((tmp_path / "field.geojson").read_text())
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    assert {feature["properties"]["query"] for feature in found["features"]} <= {"categories", "instances"}
    for feature in found["features"]:
        points = np.concatenate([np.array(ring) for part in feature["geometry"]["coordinates"] for ring in part])
        assert (points.min(0) >= (1000, 4900)).all()
        assert (points.max(0) <= (1140, 5000)).all()


def test_kinds_that_do_not_exist_are_named():
    with pytest.raises(
        QueryError,
        match=r"own: 'counting' is none of categories, referring, reasoning, question, .*grounded_caption; give",
    ):
        read_queries(own={"counting": "birds"})
    with pytest.raises(QueryError, match="own: 'referring' has an option of its own; give it as --refer"):
        read_queries(own={"referring": "a bird"})
    with pytest.raises(QueryError, match=r"own: there is no kind of query at 'no_file\.COUNTING'"):
        read_queries(own={"no_file.COUNTING": "birds"})


def test_pictures_of_a_folder_are_answered_together_and_broken_ones_skipped(tmp_path, monkeypatch):
    assistant, rng, sizes = random_assistant(), np.random.default_rng(0), []
    pictures = [tmp_path / f"{rank}.png" for rank in range(6)]
    for picture in pictures:
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(picture)
    pictures[1].write_bytes(b"nothing")
    together = module.answer_together

    def counted(own, images, *rest):
        sizes.append(len(images))
        if len(images) == limit:
            raise RuntimeError("too little memory")
        return together(own, images, *rest)

    monkeypatch.setattr(module, "answer_together", counted)
    found = []
    for most, batch in ((2, 1), (2, 2), (1, 2)):
        limit = most + 1
        out = tmp_path / f"out{len(found)}"
        [error] = answer_images(
            assistant, [[each] for each in pictures], read_queries("sky"), out, "ordered", batch=batch
        )
        assert "1.png" in str(error)
        found.append({file.name: json.loads(file.read_text())["answers"][0]["text"] for file in out.glob("*.json")})
    assert found[0] == found[1] == found[2] and sorted(found[0]) == [f"{rank}.json" for rank in (0, 2, 3, 4, 5)]
    assert sizes == [1, 1, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1, 1, 1]
