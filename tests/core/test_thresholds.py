"""Thresholds of single names: read, checked, and kept with the names that they belong to."""

import json

import numpy as np
import pytest

from lasagna.core.batch import Query
from lasagna.core.thresholds import completed, nearness, read_thresholds, with_thresholds
from lasagna.errors import QueryError
from lasagna.modules.decoding.long_lists import split_query
from tests.helpers.assistants import random_assistant

NAMES = ("sky", "dog", "sun")


def test_each_name_has_its_own_threshold_and_the_others_that_of_the_assistant():
    assistant, image = random_assistant(), np.zeros((20, 24, 3), np.uint8)
    assistant.presence_threshold = 0.0
    for kind in ("categories", "instances"):
        found = assistant.answer(image, NAMES, kind, thresholds={"dog": 1.0})
        assert [entry.present for entry in found.entries] == [True, False, True]
    assistant.presence_threshold = 1.0
    alone = [assistant.answer(image, [name], "referring", thresholds={"dog": 0.0}) for name in ["dog"]]
    assert alone[0].entries[0].present and assistant.presence_threshold == 1.0


def test_parts_of_a_long_list_keep_the_thresholds_of_their_names():
    [query] = with_thresholds([Query(0, "categories", NAMES)], {"sun": 0.2, "sky": 0.7})
    assert query.thresholds == (0.7, None, 0.2)
    parts = split_query(query, lambda part: len(part.names) < 2)
    assert [part.thresholds for part in parts] == [(0.7,), (None,), (0.2,)]
    assert split_query(Query(0, "categories", NAMES), lambda part: len(part.names) < 2)[2].thresholds == ()
    with pytest.raises(QueryError, match="got 2 for 3 names"):
        Query(0, "categories", NAMES, thresholds=(0.5, None))


@pytest.mark.parametrize(
    ("thresholds", "decoding", "words"),
    [
        ({"dgo": 0.5}, "ordered", "'dgo' is none of the names that are decided on ('sky', 'dog', 'sun')"),
        ({"what is there": 0.5}, "ordered", "'what is there' is none of the names"),
        ({"dog": 1.5}, "ordered", "'dog' has 1.5; expected a number in [0, 1]"),
        ({"dog": float("nan")}, "ordered", "'dog' has nan"),
        ({"dog": True}, "ordered", "'dog' has True"),
        ([0.5], "ordered", "expected numbers by name such as {'dog': 0.7}, got [0.5]"),
        ({"dog": 0.5}, "free", "'free' decoding compares no scores"),
    ],
)
def test_what_is_no_threshold_of_a_name_that_is_asked_for(thresholds, decoding, words):
    queries = [Query(0, "categories", NAMES), Query(0, "question", ("what is there",))]
    with pytest.raises(QueryError) as error:
        with_thresholds(queries, thresholds, decoding)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_thresholds_are_read_from_a_file(tmp_path):
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"dog": 0.7}))
    assert read_thresholds(file) == read_thresholds({"dog": 0.7}) == {"dog": 0.7}
    for content, words in (("[0.7]", "no names with numbers"), ("{", "cannot be read"), ('{"dog": "x"}', "'dog' has")):
        file.write_text(content)
        with pytest.raises(QueryError, match=f"thresholds: .*{words}"):
            read_thresholds(file)
    with pytest.raises(QueryError, match="No such file"):
        read_thresholds(tmp_path / "none.json")


def test_thresholds_are_read_from_a_text_such_as_other_programs_pass_on(tmp_path):
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"sea horse": 0.7}))
    for text in (str(file), "{sea horse: 0.7}", '{"sea horse": 0.7}', "sea horse: 0.7"):
        assert read_thresholds(text) == {"sea horse": 0.7}
    for text in ("dog", "{dog: 0.7", "0.7", "", "dog=0.7", "{dog: no}", "{1: 0.5}"):
        with pytest.raises(QueryError, match="thresholds: "):
            read_thresholds(text)


def test_nearness_is_a_share_of_the_way_to_the_end_of_the_scale():
    found = [nearness(score, cut) for score, cut in ((0.3, 0.6), (0.8, 0.6), (0.6, 0.6), (0.0, 0.0), (1.0, 1.0))]
    assert found == pytest.approx([0.5, 0.5, 1.0, 1.0, 0.0])


def test_names_without_a_threshold_get_that_of_all():
    [query] = with_thresholds([Query(0, "categories", NAMES)], {"dog": 0.2})
    assert completed(query, 0.7).thresholds == (0.7, 0.2, 0.7)
    assert completed(query, None) is query
    assert completed(Query(0, "categories", NAMES), 0.7).thresholds == (0.7, 0.7, 0.7)
