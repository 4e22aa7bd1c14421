"""Names and folders are compared."""

from lasagna.core.record import Manifest
from lasagna.datamodules.inspection.audit import audit_names, audit_overlap, audit_tally
from lasagna.datamodules.inspection.findings import Finding
from lasagna.datamodules.inspection.store import Store
from lasagna.datamodules.inspection.survey import Survey
from lasagna.datamodules.shards.tally import UNCLEAR, Skipped, WriteStats
from tests.datamodules.inspection.test_survey import by_kind


def test_names_that_only_look_alike_are_apart():
    manifest = Manifest("made", ("glass", "glasses", "bus", "buses", "dress", "address"))
    assert "clashing names" not in by_kind(audit_names(manifest, Survey()))
    assert audit_overlap(Store(), {}) == []


def test_names_that_no_prompt_format_takes_are_found():
    found = by_kind(audit_names(Manifest("made", ("cup, blue", "fork")), Survey()))
    assert found["names that cannot be asked for"] == ["cup, blue"]


def test_a_set_without_masks_phrases_and_questions_is_noted():
    tally = WriteStats()
    tally.add({UNCLEAR: 2}, (Skipped("box without a mask", "one"),))
    assert audit_tally(tally) == [Finding("nothing to ask for", "1 images")]
    tally.add({"phrases": 1}, ())
    assert audit_tally(tally) == audit_tally(WriteStats()) == []
