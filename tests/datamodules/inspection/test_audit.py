"""Names and folders are compared."""

from lasagna.core.record import Manifest
from lasagna.datamodules.inspection.audit import audit_names, audit_overlap
from lasagna.datamodules.inspection.survey import Survey, by_kind


def test_names_that_only_look_alike_are_apart():
    manifest = Manifest("made", ("glass", "glasses", "bus", "buses", "dress", "address"))
    assert "clashing names" not in by_kind(audit_names(manifest, Survey()))
    assert audit_overlap({}) == []


def test_names_that_no_prompt_format_takes_are_found():
    found = by_kind(audit_names(Manifest("made", ("cup, blue", "fork")), Survey()))
    assert found["names that cannot be asked for"] == ["cup, blue"]
