"""What the tests of job programs share."""

import pytest

from tests.hls.jobs.networks import small_unit


@pytest.fixture(scope="session")
def unit():
    return small_unit()
