"""Property tests may take long over an example: a slow machine is no failure.

And the mark of tests that show what a trainer does: `@pytest.mark.cell("Keras", "peek")` names the
client and the habits of the table in docs/trainers.md, which trainers/test_matrix.py compares, and
writes with HEADRACE_WRITE_DOCS=1.
"""

import pytest
from hypothesis import HealthCheck, settings
from trainer_habits import HABITS

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config):
    config.addinivalue_line("markers", "cell(client, *habits): what of the table a test shows")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("cell"):
            client, *habits = mark.args
            unknown = set(habits) - set(HABITS)
            if unknown or not habits:
                raise pytest.UsageError(f"{item.nodeid}: {client} has the habits {habits}")
