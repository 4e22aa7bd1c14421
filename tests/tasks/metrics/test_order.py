import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.prompt_formats import TINY
from lasagna.tasks.metrics import AnswerOrder
from lasagna.tasks.metrics.order import FAULTS, count_faults, is_complete
from tests.helpers.made_answers import dialogue

QUERY = ("sky", "sea", "dog")


def written(text):
    """What a model wrote, read back by the parser."""
    entries, faults = TINY.parse("categories", QUERY, text)
    return Answer(text, tuple(AnsweredEntry(entry.name, entry.present, 0.5) for entry in entries), faults)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("sky <SEG> sea <NEG> dog <NEG>", []),
        ("sky <SEG> sea <NEG>", ["missing"]),
        ("sea <SEG> sky <NEG> dog <NEG>", ["order"]),
        ("sky <SEG> sky <NEG> sea <NEG> dog <NEG>", ["repeated"]),
        ("sky <SEG> kite <NEG> sea <NEG> dog <NEG>", ["unknown"]),
        ("sky <SEG> sea <NEG> dog <NEG> and", ["trailing"]),
        ("what?", ["missing", "missing", "missing", "trailing"]),
    ],
)
def test_faults_of_what_a_model_wrote(text, faults):
    metric = AnswerOrder()
    metric.update(dialogue(QUERY, {}), written(text))
    scores = {key: value.item() for key, value in metric.compute().items()}
    assert scores.pop("complete_in_order/lasagna-v1/free") == (not faults)
    assert scores == {f"faults/lasagna-v1/free/{kind}": faults.count(kind) for kind in FAULTS}


def test_share_counted_by_hand():
    metric = AnswerOrder()
    for text in ("sky <SEG> sea <NEG> dog <NEG>", "sky <SEG>", "sea <SEG> sky <NEG> dog <NEG>"):
        metric.update(dialogue(QUERY, {}), written(text))
    scores = metric.compute()
    assert scores["complete_in_order/lasagna-v1/free"].item() == pytest.approx(1 / 3)
    assert scores["faults/lasagna-v1/free/missing"] == 2


@settings(deadline=None)
@given(st.lists(st.sampled_from(QUERY), max_size=5))
def test_complete_means_the_same_names_in_the_same_order(names):
    answered = Answer("", tuple(AnsweredEntry(name, False, 0.1) for name in names))
    assert is_complete(dialogue(QUERY, {}), answered) == (tuple(names) == QUERY)


@given(st.lists(st.sampled_from(FAULTS)))
def test_every_fault_is_counted_once(faults):
    assert sum(count_faults(faults)) == len(faults)


def test_an_unknown_fault_is_an_error():
    with pytest.raises(ValueError, match=r"faults: \['lazy'\] are not among \['missing'"):
        count_faults(["missing", "lazy"])
