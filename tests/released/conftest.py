"""Numbers of the original code, where they are."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

REPORTS = ("random", "fit")
"""Names of the original's reports."""


@pytest.fixture(scope="module")
def golden(shared):
    if not (shared / "golden" / "checkpoints" / "release").is_dir():
        pytest.skip("there are no golden numbers of the original code in shared/golden")
    pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
    return shared / "golden"


@pytest.fixture(scope="module")
def checkpoints(golden):
    return golden / "checkpoints"


@pytest.fixture(scope="module")
def facts(golden):
    return SimpleNamespace(
        inputs=json.loads((golden / "inputs" / "inputs.json").read_text(encoding="utf-8")),
        tokens=np.load(golden / "inputs" / "inputs_tokens.npz"),
        masks=np.load(golden / "inputs" / "inputs_masks.npz"),
        outputs={
            weights: json.loads(file.read_text(encoding="utf-8"))
            for weights in REPORTS
            if (file := golden / "outputs" / f"{weights}.json").is_file()
        },
    )
