"""Executors that the tests of a module share, as processes take long to start."""

import pytest

import headrace as hr

MADE = {
    "Inline": hr.Inline,
    "Threads": lambda: hr.Threads(2),
    "Processes": lambda: hr.Processes(2),
    "1 thread": lambda: hr.Threads(1),
    "8 threads": lambda: hr.Threads(8),
    "no budget": lambda: hr.Threads(3, lookahead_bytes=0),
    "default": lambda: None,
}


def each_of(*names):
    """A fixture that is each of them, one after the other, with all tests of a module."""

    @pytest.fixture(scope="module", params=names)
    def executor(request):
        made = MADE[request.param]()
        yield made
        if made is not None:
            made.close()

    return executor


def all_of(*names):
    """A fixture with all of them, by name."""

    @pytest.fixture(scope="module")
    def executors():
        made = {name: MADE[name]() for name in names}
        yield made
        for executor in made.values():
            executor.close()

    return executors
