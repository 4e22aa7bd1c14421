"""The contract of converters that share their reading with others; most of its tests are among the slow ones."""

from types import FunctionType

import pytest

from tests.helpers.converter_contract import ConverterContract

KEPT = (
    "test_phrases_questions_and_conversations",
    "test_what_is_there_is_counted_and_all_of_it_asked_for_in_an_evaluation",
)


def slow(test):
    """A copy of a test with its marks, and slow."""
    twin = FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__)
    twin.__dict__.update(test.__dict__)
    twin.pytestmark = [*getattr(test, "pytestmark", []), pytest.mark.slow.mark]
    return twin


class BriefConverterContract(ConverterContract):
    """Base of a converter's test class: what a record holds and what is asked of it is tested always."""


for name, test in list(vars(ConverterContract).items()):
    if name.startswith("test_") and name not in KEPT:
        setattr(BriefConverterContract, name, slow(test))
