"""Answers as GeoJSON in map coordinates."""

import numpy as np

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Query
from lasagna.core.geojson import answers_geojson
from lasagna.core.query_kind import CATEGORY_LIST, INSTANCES
from lasagna.core.tiff import Georeference

FIELD = np.zeros((20, 30), bool)
FIELD[4:12, 10:20] = True
FIELD[6:9, 12:15] = False
PLACE = Georeference((2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0), "EPSG:32633")


def area(ring):
    """Signed: positive against the clock."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_names_become_features_with_holes_in_map_coordinates():
    entries = (
        AnsweredEntry("field", True, 0.75, FIELD),
        AnsweredEntry("sea", False, 0.1),
        AnsweredEntry("barn", True, 0.6, np.zeros((20, 30), bool)),
    )
    found = answers_geojson([Query(0, CATEGORY_LIST, ("field", "sea", "barn"))], [Answer("", entries)], PLACE)
    assert found["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    [feature] = found["features"]
    assert feature["properties"] == {"query": "categories", "name": "field", "score": 0.75}
    [[outer, hole]] = feature["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    # an outline cuts an eighth of a pixel off each corner; a pixel has 4 square units of the map
    assert (area(outer), area(hole)) == (4 * 79.5, -4 * 8.5)
    assert (np.array(outer).min(0).tolist(), np.array(outer).max(0).tolist()) == ([1020, 4976], [1040, 4992])


def test_objects_become_features_of_their_own_and_a_system_may_be_unknown():
    left, right = FIELD.copy(), FIELD.copy()
    left[:, 15:], right[:, :15] = False, False
    entry = AnsweredEntry("field", True, 0.9, masks=(left, right), scores=(0.8, 0.7))
    answers = [Answer("", (entry,))]
    found = answers_geojson([Query(0, INSTANCES, ("field",))], answers, Georeference(PLACE.transform))
    assert "crs" not in found
    assert [feature["properties"]["score"] for feature in found["features"]] == [0.8, 0.7]
