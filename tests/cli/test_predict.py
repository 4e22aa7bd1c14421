"""The queries and answers of ``lasagna predict``."""

import json

import numpy as np
import pytest
from PIL import Image

from lasagna.cli.predict import answer_images, read_queries
from lasagna.core.query_kind import INSTANCES
from lasagna.errors import QueryError
from tests.helpers.assistants import dictate, random_assistant


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


def test_kinds_that_do_not_exist_are_named():
    with pytest.raises(
        QueryError, match=r"own: 'counting' is none of categories, .*grounded_caption; give one, or FILE"
    ):
        read_queries(own={"counting": "birds"})
    with pytest.raises(QueryError, match="own: 'referring' has an option of its own; give it as --refer"):
        read_queries(own={"referring": "a bird"})
    with pytest.raises(QueryError, match=r"own: there is no kind of query at 'no_file\.COUNTING'"):
        read_queries(own={"no_file.COUNTING": "birds"})
