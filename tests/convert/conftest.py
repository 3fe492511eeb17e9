"""Fixtures of the conversion tests."""

from pathlib import Path

import pytest

from tests.support.siesta_runs import DATA


@pytest.fixture
def data() -> Path:
    """Return the folder of the sample runs."""
    return DATA
