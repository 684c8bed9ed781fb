"""What does not work in another process, which imports it by name: readers and executors."""

import os

import headrace as hr
from headrace.readers import ArrayReader
from headrace.testing.processes import KeptProcesses

_kept = KeptProcesses()


class Good(ArrayReader):
    """An array in memory, which all of the contract allows but for the size of its pickle."""

    def __init__(self, array):
        super().__init__(array)
        self.array = array

    def __reduce__(self):
        return type(self), (self.array,)


class WrongInAnotherProcess(Good):
    """Knows its samples only where it was made."""

    def __init__(self, array, home=None):
        super().__init__(array)
        self.home = os.getpid() if home is None else home

    def __reduce__(self):
        return type(self), (self.array, self.home)

    def read(self, indices, out):
        super().read(indices, out)
        if os.getpid() != self.home:
            out[:] = 0


class WrongInAForkedChild(WrongInAnotherProcess):
    """The same, but it may travel in a pickle."""

    def __reduce__(self):
        return type(self), (self.array,)


class LoadsOnlyAtHome(WrongInAnotherProcess):
    def __reduce__(self):
        return _loaded_at, (self.home, self.array)


class EndsAnotherProcess(WrongInAnotherProcess):
    def read(self, indices, out):
        super().read(indices, out)
        if os.getpid() != self.home:
            os._exit(3)


class RefusesInAForkedChild(hr.Threads):
    def __init__(self, n, lookahead_bytes=None):
        super().__init__(n, lookahead_bytes=lookahead_bytes)
        self.home = os.getpid()

    def map(self, make_batch, keys):
        if os.getpid() != self.home:
            raise hr.HeadraceError("not here")
        return super().map(make_batch, keys)


def _loaded_at(home, array):
    if os.getpid() != home:
        raise OSError("not here")
    return LoadsOnlyAtHome(array, home)


def function_of(number):
    """Something that can't travel."""
    return lambda: number


def keep_a_process():
    """Has a process kept, without ending it; its number."""
    return _kept.call(os.getpid)
