"""Lists of names are asked by a kind that the assistant learned."""

from types import SimpleNamespace

import pytest

from lasagna.core.query_kind import CATEGORY_LIST, INSTANCES, INSTANCES_BY_TOKEN, PANOPTIC, REFERRING, QueryKind
from lasagna.modules.learned_kinds import list_kind

TREES = QueryKind("trees", many=True)


@pytest.mark.parametrize(
    ("learned", "whole", "objects"),
    [
        ((), CATEGORY_LIST, INSTANCES),
        ((PANOPTIC, INSTANCES, CATEGORY_LIST), CATEGORY_LIST, INSTANCES),
        ((REFERRING, INSTANCES_BY_TOKEN), CATEGORY_LIST, INSTANCES_BY_TOKEN),
        ((REFERRING, TREES), TREES, INSTANCES),
    ],
)
def test_lists_are_asked_by_a_kind_that_was_learned(learned, whole, objects):
    assistant = SimpleNamespace(learned_kinds={str(kind): kind for kind in learned})
    assert list_kind(assistant) is whole
    assert list_kind(assistant, objects=True) is objects
