"""Skipped records are counted, and the first ones are named."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, DialogueMaker, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QUESTION, QueryKind
from lasagna.core.record import Question
from lasagna.datamodules import ShardDataModule, Source, write_shards
from lasagna.datamodules.streaming.skipped import SkippedRecordWarning
from lasagna.errors import QueryError
from lasagna.tasks import VQA
from tests.helpers.data_fakes import MANIFEST, Listing, keys, processors, record


def test_warnings_about_single_records_end_and_the_count_continues(tmp_path):
    broken = [record(index) for index in range(15)]
    broken = [type(item)(item.key, item.image_bytes[:90], (9, 12), MANIFEST) for item in broken]
    write_shards([*broken, record(99)], tmp_path, MANIFEST)
    data = ShardDataModule(val=[Source(str(tmp_path), Listing())], broken="skip", batch_size=2)
    data.connect(processors())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert keys(data.val_dataloader()[0]) == [["r-99"]]
    texts = [str(warning.message) for warning in told if warning.category is SkippedRecordWarning]
    assert len(texts) == 10
    assert texts[-1].endswith("further ones are only counted")
    assert data.tallies["val"].broken == {"made up-listing": 15}


TEXTS = {
    "a question with the image's token": Question("what is <image>?", "a token"),
    "an answer with the present token": Question("what is it?", "<SEG>"),
    "a question that is too long": Question("what is " + 500 * "very " + "long?", "this"),
}


@pytest.mark.parametrize("question", TEXTS.values(), ids=TEXTS)
def test_a_text_that_the_assistant_cannot_read_is_an_error_or_skipped(tmp_path, question):
    """The sixth record, so that no dry run meets it."""
    good = Question("what is it?", "sky")
    write_shards([replace(record(n), questions=(good if n != 5 else question,)) for n in range(8)], tmp_path, MANIFEST)

    def data(broken):
        source = Source(str(tmp_path), VQA())
        made = ShardDataModule([source], val=[source], broken=broken, batch_size=2, shuffle_buffer=0)
        made.connect(processors())
        return made

    for loader in (data("error").train_dataloader(), data("error").val_dataloader()[0]):
        with pytest.raises(QueryError, match=r"000000\.tar: record r-5: (query|answer): ") as error:
            list(loader)
        assert len(str(error.value)) < 500
    skipping = data("skip")
    with pytest.warns(SkippedRecordWarning, match=r"skipped a broken record: .*000000\.tar: record r-5: "):
        for loader in (skipping.val_dataloader()[0], skipping.train_dataloader()):
            assert all("r-5" not in batch for batch in keys(loader))
    assert skipping.tallies["val"].broken == {"made up-vqa": 1}
    assert skipping.tallies["train"].broken


def test_settings_that_fit_no_record_are_an_error_also_where_records_are_skipped(tmp_path):
    write_shards([record(index) for index in range(8)], tmp_path, MANIFEST)
    data = ShardDataModule([Source(str(tmp_path), Listing())], broken="skip", batch_size=2)
    data.connect(processors(max_length=40))
    with pytest.raises(QueryError, match=r"record r-0: query: 5 names .* at most 40"):
        data.train_dataloader()


@dataclass
class OneAnswer(DialogueMaker):
    """Asks every record the same, whatever it shows."""

    dialogue: Dialogue

    def dialogues(self, record, rng):
        return [self.dialogue]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (QueryKind("counting", words=True), "kind: 'counting' is not in this prompt format, .*; add a line"),
        (QUESTION, "answer: 'sky' has a mask, and answers of kind 'question' have none; leave it out"),
    ],
)
def test_tasks_whose_dialogues_have_no_form_end_before_the_run(tmp_path, kind, message):
    write_shards([record(index) for index in range(4)], tmp_path, MANIFEST)
    task = OneAnswer(Dialogue(kind, ("sky",), (Entry("sky", True, RLEMask.from_array(np.eye(9, 12))),), text="blue"))
    data = ShardDataModule([Source(str(tmp_path), task)], broken="skip", batch_size=2)
    data.connect(processors())
    with pytest.raises(QueryError, match=rf"000000\.tar: record r-\d: {message}"):
        data.train_dataloader()
