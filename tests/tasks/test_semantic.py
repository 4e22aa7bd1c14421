import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Dialogue
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import TINY
from lasagna.core.record import Region
from lasagna.errors import ConfigError
from lasagna.tasks import Semantic, Task
from lasagna.tasks.metrics import AnswerOrder, MeanIoU, Presence, collect
from tests.helpers.made_records import manifest, mask, record

RNG = np.random.default_rng(0)
LABELS = [[1, 1, 3, 255], [2, 2, 2, 255]]


def only(made):
    (dialogue,) = Semantic().dialogues(made, RNG)
    return dialogue


def perfect(dialogue):
    masks = {entry.name: entry.mask.decode() for entry in dialogue.entries}
    return Answer(
        "",
        tuple(
            AnsweredEntry(name, name in masks, 0.1 + 0.8 * (name in masks), masks.get(name), 0.9)
            for name in dialogue.query
        ),
    )


def samples(*dialogues):
    return [Sample("made", "one", 0, dialogue) for dialogue in dialogues]


def test_all_names_are_asked_and_present_ones_have_masks():
    dialogue = only(record(LABELS))
    assert dialogue.kind == "categories"
    assert dialogue.query == ("sky", "sea", "dog", "cat")
    assert [(entry.name, entry.present) for entry in dialogue.entries] == [("sky", True), ("sea", True), ("dog", True)]
    assert dialogue.entries[1].mask.decode().tolist() == [[False] * 4, [True, True, True, False]]
    assert dialogue.ignore.decode().tolist() == [[False, False, False, True]] * 2


def test_where_unannotated_means_unknown_only_verified_names_are_absent():
    unknown = manifest(unannotated="unknown")
    assert only(record(LABELS, about=unknown)).query == ("sky", "sea", "dog")
    asked = only(record(LABELS, about=unknown, absent=("cat", "Sky", "zebra")))
    assert asked.query == ("sky", "sea", "dog", "cat", "zebra")
    assert len(asked.entries) == 3


def test_a_verified_absent_name_outside_the_manifest_is_asked_too():
    assert only(record(LABELS, absent=("zebra",))).query == ("sky", "sea", "dog", "cat", "zebra")


def test_a_wholly_ignored_category_is_neither_present_nor_absent():
    dialogue = only(record(LABELS, ignore=mask("..#.", "....")))
    assert dialogue.query == ("sky", "sea", "cat")
    assert [entry.name for entry in dialogue.entries] == ["sky", "sea"]


def test_a_partly_ignored_category_keeps_its_mask():
    dialogue = only(record(LABELS, ignore=mask("#...", "....")))
    assert dialogue.entries[0].mask.decode().sum() == 2
    assert dialogue.ignore.decode()[0, 0]


def test_an_empty_mask_says_nothing():
    dialogue = only(record(regions=(Region("dog", mask("....", "....")), Region("cat", mask("#...", "....")))))
    assert dialogue.query == ("sky", "sea", "cat")
    assert [entry.name for entry in dialogue.entries] == ["cat"]


@pytest.mark.parametrize("unannotated", ["absent", "unknown"])
def test_what_is_unclear_is_not_asked_for(unannotated):
    made = record(LABELS, about=manifest(unannotated=unannotated), absent=("cat",), unclear=("sea", "Cat"))
    assert only(made).query == ("sky", "dog")


def test_nothing_to_ask_makes_no_dialogue():
    assert Semantic().dialogues(record(about=manifest(unannotated="unknown")), RNG) == []


def test_nothing_present_is_asked_all_the_same():
    dialogue = only(record())
    assert dialogue.query == ("sky", "sea", "dog", "cat")
    assert dialogue.entries == ()


@given(st.lists(st.sampled_from([1, 2, 3, 4, 255]), min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_any_labels_and_ignored_pixels(values, ignored):
    labels = np.array(values).reshape(2, 4)
    ignore = np.array([byte % 3 == 0 for byte in ignored]).reshape(2, 4)
    made = record(labels, ignore=RLEMask.from_array(ignore))
    dialogue = only(made) if Semantic().dialogues(made, RNG) else Dialogue("categories", ())
    names = dict(enumerate(made.manifest.categories, start=1))
    there = {name for label, name in names.items() if ((labels == label) & ~ignore).any()}
    hidden = {name for label, name in names.items() if (labels == label).any()} - there
    assert {entry.name for entry in dialogue.entries} == there
    assert set(dialogue.query) == set(names.values()) - hidden


@pytest.mark.parametrize("free", [False, True])
def test_a_perfect_answer_has_perfect_scores(free):
    task, dialogue = Semantic(free_decoding=free), only(record(LABELS))
    metrics = task.metrics(record().manifest.categories)
    for decoding in task.decoding:
        task.score(metrics, samples(dialogue), [perfect(dialogue)], decoding)
    scores = {key: value.item() for key, value in metrics.compute().items()}
    for key, value in scores.items():
        assert value == (0 if key.startswith(("false", "faults")) else 1), key
    expected = {
        "miou",
        "presence_f1",
        "presence_precision",
        "presence_recall",
        "false_positive_rate",
        "il_mcc",
        "presence_auroc",
    }
    assert {key for key in scores if "/free" not in key} == {f"{name}/lasagna-v1" for name in expected}
    assert ("complete_in_order/lasagna-v1/free" in scores) == free


def test_free_answers_are_scored_by_themselves():
    task, dialogue = Semantic(free_decoding=True), only(record(LABELS))
    entries, faults = TINY.parse("categories", dialogue.query, "sky <NEG> sea <NEG>")
    free = Answer("", tuple(AnsweredEntry(entry.name, entry.present, 0.1) for entry in entries), faults)
    metrics = task.metrics(record().manifest.categories)
    task.score(metrics, samples(dialogue), [perfect(dialogue)], "ordered")
    task.score(metrics, samples(dialogue), [free], "free")
    scores = {key: value.item() for key, value in metrics.compute().items()}
    assert scores["presence_recall/lasagna-v1"] == 1
    assert scores["presence_recall/lasagna-v1/free"] == 0
    assert scores["miou/lasagna-v1"] == 1
    assert scores["miou/lasagna-v1/free"] == 0
    assert scores["faults/lasagna-v1/free/missing"] == 2
    assert scores["complete_in_order/lasagna-v1/free"] == 0


def test_lengths_are_reported_where_asked_for():
    task, dialogue = Semantic(lengths=[3]), only(record(LABELS))
    metrics = task.metrics(record().manifest.categories)
    task.score(metrics, samples(dialogue), [perfect(dialogue)])
    assert metrics.compute()["presence_recall/lasagna-v1/names-4-up"] == 1
    assert metrics.compute()["presence_recall/lasagna-v1/names-1-3"].isnan()


def test_as_many_answers_as_samples():
    dialogue = only(record(LABELS))
    with pytest.raises(ValueError, match="shorter"):
        Semantic().score(collect([Presence()]), samples(dialogue, dialogue), [perfect(dialogue)])


class OnlySky(Task):
    """A task of a user's own."""

    def dialogues(self, record, rng):
        return [Dialogue("categories", ("sky",))]

    def metrics(self, categories):
        return collect([MeanIoU(categories), AnswerOrder("ordered")])


def test_a_task_of_ones_own_is_one_subclass():
    task = OnlySky()
    (dialogue,) = task.dialogues(record(), RNG)
    metrics = task.metrics(("sky",))
    task.score(metrics, samples(dialogue), [perfect(dialogue)])
    assert metrics.compute()["complete_in_order/lasagna-v1"] == 1


def test_a_task_whose_kinds_are_texts_is_refused():
    with pytest.raises(ConfigError, match=r"Own\.kinds: 'spots' is not a QueryKind; give the kind itself"):
        type("Own", (Semantic,), {"kinds": ("spots",)})
