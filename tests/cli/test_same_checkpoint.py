"""Processes that see different checkpoints do not train."""

import pytest

from lasagna.cli import same_checkpoint
from lasagna.errors import CheckpointError


def test_processes_that_see_other_checkpoints_are_refused(monkeypatch):
    seen = [("a", "x/last.ckpt", 3, 100), ("b", None, None, None)]
    monkeypatch.setattr(same_checkpoint, "gather", lambda own: [seen[0], own])
    monkeypatch.setattr(same_checkpoint, "gethostname", lambda: "b")
    with pytest.raises(CheckpointError) as refused:
        same_checkpoint.SameCheckpoint(None).setup(None, None, "fit")
    assert "process 0 on a has x/last.ckpt of step 3 (100 bytes), process 1 on b has none; all machines" in str(
        refused.value
    )
