"""What all tests share: patience for slow machines, and the marks of two tables in the docs.

`@pytest.mark.cell("Keras", "peek")` names the client and the habits of the table in
docs/trainers.md, which trainers/test_matrix.py compares. `@pytest.mark.fault(...)` is a cell of the
table in docs/faults.md, which test_fault_table.py compares; see support/fault_table.py. Both tables
are written with HEADRACE_WRITE_DOCS=1.
"""

import os

import pytest

pytest.register_assert_rewrite("adapter_contract", "docs_table", "other_python")

from fault_table import check, parametrized
from hypothesis import HealthCheck, settings
from trainer_habits import HABITS

# Property tests may take long over an example: a slow machine is no failure. They take the same
# examples each time, so that no run fails by chance, and new ones with `searching`. Those that want
# more examples than others say how many times as many, so that the profile has its say.
settings.register_profile(
    "patient", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("few", settings.get_profile("patient"), max_examples=20)
settings.register_profile(
    "searching", settings.get_profile("patient"), derandomize=False, max_examples=1000
)
settings.load_profile("patient")

# Servers of tests are of this machine, and in no proxy's reach.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def pytest_configure(config):
    config.addinivalue_line("markers", "cell(client, *habits): what of the table a test shows")
    config.addinivalue_line("markers", "fault(fault, outcome, *columns): what a test shows")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("cell"):
            client, *habits = mark.args
            unknown = set(habits) - set(HABITS)
            if unknown or not habits:
                raise pytest.UsageError(f"{item.nodeid}: {client} has the habits {habits}")


def pytest_generate_tests(metafunc):
    """A test with marks of faults runs with each of the formats that they name."""
    marks = list(metafunc.definition.iter_markers("fault"))
    for mark in marks:
        check(*mark.args)
    wanted = [name for name in ("format_name", "outcome") if name in metafunc.fixturenames]
    if marks and "format_name" in wanted:
        pairs = parametrized(marks)
        values = [pair[: len(wanted)] for pair in pairs]
        metafunc.parametrize(wanted, values, ids=[name for name, _ in pairs])
    elif marks and "outcome" in wanted:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} takes an outcome but no format_name")
