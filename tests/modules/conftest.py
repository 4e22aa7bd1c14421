"""Fixtures of the parts' tests."""

from __future__ import annotations

import pytest
from conftest_modules import random_assistant

from lasagna.modules import Assistant


@pytest.fixture(scope="session")
def assistant() -> Assistant:
    return random_assistant()
