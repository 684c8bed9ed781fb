"""A cursor is a value: it moves by steps, says where it stands, and is moved by one at a time."""

import itertools
import json
import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.batching.cursor import Cursor, Identity
from headrace.readers import ArrayReader
from headrace.sampling.keys import Place


class Hashed(ArrayReader):
    """Counts how often its fingerprint is asked for."""

    asked = 0

    def fingerprint(self):
        self.asked += 1
        return "those"


def make_cursor(n=10, batch_size=4, tail="partial", reader=None, **options):
    sampler = hr.BatchSampler(n, batch_size, tail=tail, **options)
    reader = ArrayReader(np.arange(n)) if reader is None else reader
    return Cursor(sampler, Identity(reader, sampler, ""), Place(0, 0))


@pytest.mark.parametrize(
    ("tail", "positions"), [("drop", [0, 4]), ("partial", [0, 4, 8]), ("pad", [0, 4, 8])]
)
def test_it_advances_by_steps_through_all_epochs(tail, positions):
    cursor, seen = make_cursor(tail=tail), []
    for expected in itertools.product(range(3), positions):
        assert cursor.place == expected
        seen.append(cursor.advance())
        assert cursor.place == seen[-1]
    assert seen[-1] == (3, 0)


def test_a_copy_moves_alone():
    cursor = make_cursor()
    cursor.advance()
    copy = cursor.copy()
    assert copy.state_dict() == cursor.state_dict()
    copy.advance()
    copy.advance()
    assert (cursor.place, copy.place) == ((0, 4), (1, 0))
    cursor.seek(7, 2)
    assert (cursor.place, copy.place) == ((7, 8), (1, 0))
    copy.load_state_dict(cursor.state_dict())
    assert copy.place == (7, 8)


def test_a_batch_is_delivered_from_where_it_was_left_alone():
    cursor = make_cursor()
    place = cursor.deliver(cursor.place, cursor.start)
    assert place == cursor.place == (0, 4)
    assert cursor.start == (1, 0)
    cursor.seek(3)
    with pytest.raises(hr.LoaderMovedError) as caught:
        cursor.deliver(place, place)
    assert f"{Place(3, 0)} while" in str(caught.value)
    assert f"left it at {place}. Begin another iteration" in str(caught.value)
    assert cursor.place == (3, 0)


def test_it_stands_at_the_next_epoch_where_no_step_is_left():
    cursor = make_cursor(tail="drop")
    cursor.place = Place(2, 6)  # 4 samples are left
    assert cursor.place == (2, 6)
    cursor.place = Place(2, 7)
    assert cursor.place == (3, 0)


@pytest.mark.parametrize("place", [(-1, 0), (0, -7), (0, 13), (0.5, 0)])
def test_it_stays_where_it_is_when_it_is_sent_nowhere(place):
    cursor = make_cursor(12)
    cursor.seek(1, 1)
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match="must be an int"):
        cursor.place = place
    with pytest.raises(hr.OutOfRangeError, match=r"step must lie in range\(3\)"):
        cursor.seek(0, 3)
    assert cursor.place == (1, 4)


def test_a_state_is_json_of_its_own_and_hashes_the_data_once():
    reader = Hashed(np.arange(10))
    cursor = make_cursor(reader=reader, seed=5)
    first = cursor.state_dict()
    assert json.loads(json.dumps(first)) == first
    assert list(first) == [
        *("format", "epoch", "position", "samples", "order", "seed", "data", "transform_version")
    ]
    kept = dict(first)
    cursor.copy().load_state_dict(first)
    cursor.advance()
    assert first == kept
    first["data"] = "spoilt"
    assert cursor.state_dict() == {**kept, "position": 4}
    assert reader.asked == 1


def test_a_state_that_is_refused_moves_nothing():
    cursor = make_cursor()
    cursor.seek(2, 1)
    state = cursor.state_dict()
    for bad in ({"seed": 1}, {"position": 11}, {"epoch": None}, {"format": 2}):
        with pytest.raises(hr.StateError, match=next(iter(bad))):
            cursor.load_state_dict({**state, **bad})
    with pytest.raises(hr.StateError, match="format"):
        cursor.load_state_dict([])
    assert cursor.place == (2, 4)


def at(place):
    cursor = make_cursor()
    cursor.place = place
    return cursor.state_dict()


def test_a_trainer_that_counts_from_0_in_every_run_goes_on_with_the_epochs_of_a_state():
    cursor = make_cursor()
    cursor.load_state_dict(at((5, 4)))
    cursor.count_epoch(0)
    assert cursor.start == (5, 4)
    cursor.advance()
    cursor.count_epoch(1)
    assert cursor.start == (6, 0)
    cursor.count_epoch(2)
    assert pickle.loads(pickle.dumps(cursor)).start == cursor.start == (7, 0)
    cursor.set_epoch(1)  # who says this means it
    assert cursor.start == (1, 0)


@pytest.mark.parametrize(
    ("place", "count", "start"),
    [
        ((5, 4), 5, (5, 4)),
        ((5, 4), 6, (6, 0)),  # the epoch was a short one
        ((5, 4), 4, (5, 4)),  # a loader that is cycled within an epoch of the trainer's
        ((0, 4), 0, (0, 4)),
        ((0, 4), 1, (1, 0)),
    ],
)
def test_a_trainer_that_goes_on_counting_has_its_epochs(place, count, start):
    cursor = make_cursor()
    cursor.load_state_dict(at(place))
    cursor.count_epoch(count)
    assert cursor.start == start
    cursor.advance()
    cursor.count_epoch(count + 1)
    assert cursor.start == (count + 1, 0)


def test_a_trainer_that_cycles_a_loader_within_its_epochs_has_them_after_a_state_too():
    cursor = make_cursor()
    cursor.count_epoch(0)
    for _ in range(3 + 1):  # a pass and the first batch of the next one
        cursor.advance()
    states = [cursor.state_dict()]
    cursor.count_epoch(1)
    for _ in range(2 * 3 + 1):
        cursor.advance()
    states.append(cursor.state_dict())
    assert cursor.copy().state_dict() == pickle.loads(pickle.dumps(cursor)).state_dict()
    assert cursor.copy().state_dict() == states[1]
    for count, state in enumerate(states):
        for said in ([count], [count, count + 1], [count + 1]):
            resumed = make_cursor()
            resumed.load_state_dict(state)
            for number in said:
                resumed.count_epoch(number)
            went_on = said == [count]
            assert resumed.start == ((state["epoch"], 4) if went_on else (count + 1, 0))
            resumed.advance()
            resumed.count_epoch(count + 2)
            assert resumed.start == (count + 2, 0)


def test_a_count_means_itself_where_no_state_was_loaded():
    cursor = make_cursor()
    for count in 0, 3, 0:
        cursor.count_epoch(count)
        assert cursor.start == (count, 0)
    cursor.seek(4, 1)
    cursor.count_epoch(0)
    assert cursor.start == (0, 0)
