"""What all tests share: patience for slow machines, and the marks of the table of faults."""

import pytest
from fault_table import check, parametrized
from hypothesis import HealthCheck, settings

# Property tests may take long over an example: a slow machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "fault(fault, outcome, *columns): what a test shows; see fault_table.py"
    )


def pytest_generate_tests(metafunc):
    """A test with marks runs with each of the formats that they name."""
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
