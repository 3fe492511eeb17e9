"""Random numbers of the tests of analysis."""

import numpy as np
import pytest

from tests.support.motion import brownian, cage_and_hops, dragging, write

__all__ = ["brownian", "cage_and_hops", "dragging", "write"]


@pytest.fixture
def rng():
    return np.random.default_rng(20240)
