"""A report of a realistic run, see `tests.report.samples`."""

import copy

import pytest

from tests.report import samples

_SAMPLE = samples.digital()


@pytest.fixture(scope="session")
def unchanged():
    """The sample report, for tests that only read it."""
    return copy.deepcopy(_SAMPLE)


@pytest.fixture
def sample():
    """A fresh copy of the sample report."""
    return copy.deepcopy(_SAMPLE)
