"""Fixtures of the parts' tests."""

from __future__ import annotations

import pytest

from lasagna.modules import Assistant
from tests.helpers.assistants import random_assistant


@pytest.fixture(scope="session")
def assistant() -> Assistant:
    return random_assistant()
