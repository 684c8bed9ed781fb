"""Worker processes for tests, and a look at those of a script."""

import pytest

from headrace import Processes


@pytest.fixture(scope="module")
def shared():
    """Two processes for all tests that leave them whole."""
    with_two = Processes(2)
    yield with_two
    with_two.close()


@pytest.fixture
def two_processes():
    with_two = Processes(2)
    yield with_two
    with_two.close()
