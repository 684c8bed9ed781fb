import threading

import pytest

from headrace import Inline
from headrace.testing import ExecutorContract


class TestInlineContract(ExecutorContract):
    looks_ahead = False
    raises_when_closed = False

    def make_executor(self, lookahead_bytes):
        del lookahead_bytes
        return Inline()


def test_makes_a_batch_when_it_is_taken_in_the_thread_that_takes_it():
    made = []

    def make_batch(key):
        made.append((key, threading.get_ident()))

    batches = Inline().map(make_batch, range(10))
    assert made == []
    for key in range(3):
        next(batches)
        assert made == [(number, threading.get_ident()) for number in range(key + 1)]


def test_takes_a_key_when_its_batch_is_asked_for():
    taken = []
    batches = Inline().map(str, (taken.append(key) or key for key in range(10)))
    assert [next(batches), next(batches)] == ["0", "1"]
    assert taken == [0, 1]


def test_failure_of_the_keys_reaches_the_consumer():
    batches = Inline().map(str, (1 // (2 - key) for key in range(5)))
    assert [next(batches), next(batches)] == ["0", "1"]
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_repr_is_how_it_is_made():
    assert repr(Inline()) == "Inline()"
