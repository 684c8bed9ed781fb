"""Delivery: a batch counts when it is delivered, fails at its turn, and is then the consumer's."""

import gc
import itertools
import weakref

import numpy as np
import pytest

import headrace as hr
from headrace.adapters.adapter import deliver, one_ahead
from headrace.batching.feed import feed_of


@pytest.fixture
def feed():
    return feed_of(hr.Loader(np.arange(12), 4, shuffle=False, executor=hr.Inline()))


class Batch:
    def __init__(self, number):
        self.number = number


def batches(count=3, fails_after=None):
    """Those of the numbers from 0 on, of which no name is kept here."""
    for number in range(count):
        if number == fails_after:
            raise OSError(f"batch {number}")
        yield Batch(number)


def same(batch):
    return lambda: batch


class TestDeliver:
    def test_the_feed_has_moved_when_the_consumer_gets_a_batch(self, feed):
        places = [feed.cursor.place for _ in deliver(feed, batches())]
        assert places == [(0, 4), (0, 8), (1, 0)]

    def test_it_goes_on_from_where_the_feed_stands_when_it_is_first_asked(self, feed):
        delivered = deliver(feed, batches(1))
        feed.cursor.seek(4, 1)
        next(delivered)
        assert feed.cursor.place == (4, 8)

    def test_a_batch_that_fails_does_not_count(self, feed):
        delivered = deliver(feed, batches(fails_after=1))
        next(delivered)
        with pytest.raises(OSError, match="batch 1"):
            next(delivered)
        assert feed.cursor.place == (0, 4)
        assert list(delivered) == []

    def test_a_feed_that_something_else_has_moved_is_an_error(self, feed):
        delivered = deliver(feed, batches())
        next(delivered)
        feed.cursor.seek(2)
        with pytest.raises(hr.LoaderMovedError):
            next(delivered)
        assert feed.cursor.place == (2, 0)

    def test_no_name_is_left_for_a_batch_that_was_delivered(self, feed):
        for batch in deliver(feed, batches()):
            kept = weakref.ref(batch)
            del batch
            assert kept() is None


class TestOneAhead:
    def test_the_next_one_is_started_before_one_is_waited_for(self):
        said = []

        def start(batch):
            said.append(f"start {batch.number}")
            return lambda: said.append(f"finish {batch.number}") or batch.number

        converted = one_ahead(batches(), start)
        assert said == []
        assert list(itertools.islice(converted, 2)) == [0, 1]
        assert said == ["start 0", "start 1", "finish 0", "start 2", "finish 1"]
        assert list(converted) == [2]

    def test_nothing_comes_of_nothing(self):
        assert list(one_ahead(batches(0), same)) == []

    @pytest.mark.parametrize("where", ["source", "start", "finish"])
    def test_a_failure_comes_at_its_turn_and_nothing_after_it(self, where):
        source = batches(9, fails_after=2 if where == "source" else None)

        def fail():
            raise OSError("batch 2")

        def start(batch):
            if batch.number == 2 and where == "start":
                fail()
            return fail if batch.number == 2 and where == "finish" else same(batch.number)

        converted = one_ahead(source, start)
        assert [next(converted), next(converted)] == [0, 1]
        with pytest.raises(OSError, match="batch 2"):
            next(converted)
        assert list(converted) == []

    def test_a_conversion_that_raises_stop_iteration_is_not_the_end(self):
        def stop():
            raise StopIteration

        for start in (lambda batch: stop(), lambda batch: stop):
            with pytest.raises(RuntimeError) as caught:
                list(one_ahead(batches(), start))
            assert type(caught.value.__cause__) is StopIteration

    def test_no_name_is_left_for_a_batch_that_was_delivered(self):
        for batch in one_ahead(batches(), same):
            kept = weakref.ref(batch)
            del batch
            assert kept() is None

    def test_a_failure_holds_no_batch_in_a_cycle(self):
        started = []

        def start(batch):
            started.append(weakref.ref(batch))
            return same(batch)

        gc.disable()
        try:
            converted = one_ahead(batches(fails_after=2), start)
            with pytest.raises(OSError, match="batch 2"):
                for batch in converted:  # noqa: B007
                    pass
            del converted, batch
            assert [kept() for kept in started] == [None, None]
        finally:
            gc.enable()

    def test_together_they_count_what_is_delivered_and_not_what_was_started(self, feed):
        started = []

        def start(batch):
            started.append(batch.number)
            return same(batch)

        for batch in deliver(feed, one_ahead(batches(), start)):
            assert feed.cursor.place == ((0, 4), (0, 8), (1, 0))[batch.number]
            assert started == [0, 1, 2][: batch.number + 2]
