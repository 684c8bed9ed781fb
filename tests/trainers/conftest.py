"""Trainers that others wrote, with the habits that people have.

Each test is of a client and a habit: `@pytest.mark.cell("Lightning Trainer", "peek")`. It compares
the samples that were seen with those that were expected. The table of all of them is part of
docs/trainers.md; test_matrix.py compares it, and writes it with HEADRACE_WRITE_DOCS=1.
"""

import pytest
from trainer_habits import HABITS


def pytest_configure(config):
    config.addinivalue_line("markers", "cell(client, *habits): what of the table a test shows")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("cell"):
            client, *habits = mark.args
            unknown = set(habits) - set(HABITS)
            if unknown or not habits:
                raise pytest.UsageError(f"{item.nodeid}: {client} has the habits {habits}")
