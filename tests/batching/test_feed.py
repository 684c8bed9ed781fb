"""A feed gives the batch of any place, made ahead where the place follows the last one."""

import itertools
import os
import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.batching.feed import feed_of
from headrace.sampling.keys import Place

N = 12


class Counted(hr.Threads):
    """Counts the iterations that were started."""

    started = 0

    def map(self, make_batch, keys):
        self.started += 1
        return super().map(make_batch, keys)


class Noted:
    """Samples that note when they are read; one of them may be bad."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self):
        self.bad = None
        self.read_samples = []

    def __len__(self):
        return N

    def read(self, indices, out):
        if self.bad in indices:
            raise ValueError(f"{self.bad} is bad")
        self.read_samples += indices.tolist()
        out[:] = indices


@pytest.fixture
def loader():
    with hr.Loader(np.arange(N), 4, seed=1, executor=Counted(2)) as loader:
        yield loader


@pytest.fixture
def feed(loader):
    return feed_of(loader)


def places_of(loader, epochs=3):
    return [loader.sampler.place(*at) for at in itertools.product(range(epochs), range(3))]


def expected(loader, place):
    return loader.batch(place.epoch, place.position // 4).tolist()


def test_places_in_a_row_are_made_ahead_by_one_iteration_across_epochs(loader, feed):
    for place in places_of(loader):
        assert feed.take(place).tolist() == expected(loader, place)
    assert loader.executor.started == 1
    assert loader.stats().batches == 9


def test_any_other_place_begins_an_iteration_there(loader, feed):
    places = places_of(loader)
    order = np.random.default_rng(0).permutation(len(places))
    jumps = 1 + sum(b != a + 1 for a, b in itertools.pairwise(order.tolist()))
    for number in [*order, order[-1]]:  # the last one again
        assert feed.take(places[number]).tolist() == expected(loader, places[number])
    assert loader.executor.started == jumps + 1


def test_taking_moves_no_cursor(loader, feed):
    feed.take(Place(0, 0))
    list(feed.take_epoch(Place(2, 4)))
    list(feed.batches_from(Place(1, 0), epochs=1))
    feed.ready(2)
    assert loader.place == (0, 0)


def test_the_rest_of_an_epoch(loader, feed):
    rest = [batch.tolist() for batch in feed.take_epoch(Place(1, 4))]
    assert rest == [expected(loader, Place(1, position)) for position in (4, 8)]
    with pytest.warns(UserWarning, match="no step"):
        empty = hr.Loader(np.arange(3), 4)
    assert list(feed_of(empty).take_epoch(Place(0, 0))) == []


def test_iterations_of_their_own_go_on_side_by_side(loader, feed):
    one = feed.batches_from(Place(0, 4), epochs=2)
    other = feed.batches_from(Place(5, 0))
    places = places_of(loader, 6)
    for place, its in zip(places[1:6], places[15:18], strict=False):
        assert next(one).tolist() == expected(loader, place)
        assert next(other).tolist() == expected(loader, its)
    assert [batch.tolist() for batch in one] == [expected(loader, place) for place in places[4:6]]
    assert next(other).shape == (4,)  # without an end


def test_without_look_ahead_nothing_is_read_before_it_is_asked_for():
    reader = Noted()
    feed = feed_of(hr.Loader(reader, 4, shuffle=False, executor=hr.Inline()))
    feed.take(Place(0, 0))
    feed.take(Place(0, 4))
    assert reader.read_samples == list(range(8))


def test_a_failure_is_that_of_its_place_and_can_be_mended():
    reader = Noted()
    reader.bad = 5
    with hr.Loader(reader, 4, shuffle=False, executor=Counted(1)) as loader:
        feed = feed_of(loader)
        assert feed.take(Place(0, 0)).tolist() == [0, 1, 2, 3]
        for _ in range(2):
            with pytest.raises(ValueError, match="5 is bad"):
                feed.take(Place(0, 4))
        reader.bad = None
        assert feed.take(Place(0, 4)).tolist() == [4, 5, 6, 7]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_what_was_made_ahead_before_a_fork_is_the_parents(loader, feed):
    feed.take(Place(0, 0))
    child = os.fork()
    if not child:
        try:
            right = feed.take(Place(0, 4)).tolist() == expected(loader, Place(0, 4))
            os._exit(0 if right and loader.executor.started == 2 else 1)
        finally:
            os._exit(2)
    assert feed.take(Place(0, 4)).tolist() == expected(loader, Place(0, 4))
    assert loader.executor.started == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_closing_drops_what_was_made_ahead_and_the_next_call_begins_again(loader, feed):
    for place in (Place(0, 0), Place(0, 4)):
        assert feed.take(place).tolist() == expected(loader, place)
        feed.close()
    assert loader.executor.started == 2


def test_a_pickle_has_neither_what_was_made_ahead_nor_what_was_counted(loader, feed):
    feed.take(Place(0, 0))
    feed.cursor.advance()
    copy = pickle.loads(pickle.dumps(feed))
    assert (copy.cursor.place, copy.meter.stats().batches) == ((0, 4), 0)
    assert copy.take(Place(0, 4)).tolist() == expected(loader, Place(0, 4))
    assert copy.executor is not feed.executor
    copy.close()
