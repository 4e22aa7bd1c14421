"""The queries of ``lasagna predict``."""

import pytest

from lasagna.cli.predict import read_queries
from lasagna.core.query_kind import INSTANCES
from lasagna.errors import QueryError


def test_every_object_is_asked_for_by_name():
    query, objects = read_queries("sky, sea", own={"instances": "car, boat"})
    assert (query.kind, query.names) == ("categories", ("sky", "sea"))
    assert (objects.kind, objects.names) == (INSTANCES, ("car", "boat"))
    assert read_queries(own={"panoptic": "car, sea"})[0].kind == "panoptic"
    assert read_queries(own={"lasagna.core.query_kind.INSTANCES": "car"})[0].kind is INSTANCES


def test_kinds_that_do_not_exist_are_named():
    with pytest.raises(QueryError, match="own: there is no kind of query at 'counting'"):
        read_queries(own={"counting": "birds"})
