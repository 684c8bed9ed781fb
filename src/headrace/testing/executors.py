"""What every executor has to do, as tests: ours and third parties'."""

import gc
import itertools
import multiprocessing
import pickle
import threading
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from typing import ClassVar

import pytest

from headrace.arrays import Array
from headrace.errors import ExecutorClosedError, SampleFormatError
from headrace.executors import Executor, Results
from headrace.testing.batches import (
    BATCH_BYTES,
    FailsAt,
    batch,
    fails_without_pickle,
    nested_batch,
    nothing,
    uneven_batch,
)
from headrace.testing.processes import (
    DEADLINE_SECONDS,
    KeptProcesses,
    eventually,
    in_new_process,
    kept_processes,
    needs_fork,
    within_deadline,
)


class ExecutorContract:
    """What every executor has to do, as tests. See `headrace.executors.Executor`.

    Attributes:
        looks_ahead: whether it has workers that make batches before they are asked for.
        raises_when_closed: whether a map ends with an `ExecutorClosedError` when its executor is
            closed; one without workers may simply go on.
    """

    looks_ahead: ClassVar[bool] = True
    raises_when_closed: ClassVar[bool] = True

    def make_executor(self, lookahead_bytes: int) -> Executor:
        """An executor of more than one worker that looks ahead within `lookahead_bytes`."""
        raise NotImplementedError

    def running(self) -> set[object]:
        """All that could be a worker now. To be overridden where workers are neither threads nor
        children of `multiprocessing`."""
        return {*threading.enumerate(), *multiprocessing.active_children()}

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = self.make_executor(10 * BATCH_BYTES)
        yield executor
        executor.close()

    @pytest.fixture
    def processes(self, request: pytest.FixtureRequest) -> KeptProcesses:
        return kept_processes(request)

    def test_follows_the_protocol(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)
        results = executor.map(batch, range(3))
        assert isinstance(results, Results)
        assert iter(results) is results

    def test_has_the_budget_that_it_is_given(self) -> None:
        for lookahead_bytes in (3, 5 * BATCH_BYTES):
            executor = self.make_executor(lookahead_bytes)
            assert executor.lookahead_bytes == (lookahead_bytes if self.looks_ahead else 0)
            executor.close()

    def test_says_how_many_results_are_ready(self, executor: Executor) -> None:
        results = executor.map(batch, range(8))
        for left in range(8, 0, -1):
            if self.looks_ahead and left < 8:
                # All that the budget has room for, in time, and no more than there is.
                assert eventually(lambda: results.ready > 0)
            assert 0 <= results.ready <= left
            next(results)
        assert results.ready == 0
        assert _numbers(results) == []

    def test_says_how_long_copying_took(self, executor: Executor) -> None:
        results = executor.map(batch, range(20))
        copying_s = [results.copying_s for _ in results]
        assert all(isinstance(seconds, float) for seconds in copying_s)
        assert copying_s[0] >= 0
        assert copying_s == sorted(copying_s), "it is the sum of all that were taken"
        assert copying_s[-1] < DEADLINE_SECONDS

    def test_results_come_in_the_order_of_the_keys(self, executor: Executor) -> None:
        keys = [7, 0, 3, 3, *range(60)]
        assert _numbers(executor.map(uneven_batch, keys)) == keys

    def test_no_keys_give_no_results(self, executor: Executor) -> None:
        assert list(executor.map(batch, [])) == []

    def test_keys_may_be_endless(self, executor: Executor) -> None:
        assert _numbers(executor.map(batch, itertools.count()), 50) == list(range(50))

    def test_results_may_be_anything(self, executor: Executor) -> None:
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        assert list(executor.map(nothing, range(3))) == [None, None, None]

    @pytest.mark.parametrize("budget", [0, 1, 5, 40])
    def test_looks_ahead_within_its_budget(self, budget: int) -> None:
        executor = self.make_executor(budget * BATCH_BYTES)
        keys = _CountedKeys()
        batches = executor.map(nested_batch, keys)
        for _ in range(150):
            keys.asked += 1
            next(batches)
        if self.looks_ahead:
            assert eventually(lambda: keys.taken > keys.asked), "it does not look ahead"
        executor.close()
        assert keys.most_ahead <= budget + 2

    def test_a_failure_comes_at_its_turn_as_it_was_raised(self, executor: Executor) -> None:
        error = SampleFormatError.at(41, "sample 41 is bad")
        error.add_note("a note")
        batches = executor.map(FailsAt(7, error), itertools.count())
        received: list[int] = []
        with pytest.raises(SampleFormatError, match=r"^sample 41 is bad\na note") as caught:
            received.extend(int(batch[0]) for batch in batches)
        assert received == list(range(7))
        assert type(caught.value) is SampleFormatError
        assert caught.value.index == 41
        assert _numbers(batches, 3) == [], "a map is over after its failure"

    def test_a_new_map_works_after_a_failure(self, executor: Executor) -> None:
        for key in (0, 5):
            with pytest.raises(ValueError, match="bad"):
                list(executor.map(FailsAt(key, ValueError("bad")), range(20)))
            assert _numbers(executor.map(batch, range(20))) == list(range(20))

    def test_what_ends_an_interpreter_reaches_the_consumer(self, executor: Executor) -> None:
        with pytest.raises(SystemExit) as caught:
            list(executor.map(FailsAt(3, SystemExit(17)), range(20)))
        assert caught.value.code == 17
        assert _numbers(executor.map(batch, range(20))) == list(range(20))

    def test_an_error_that_can_not_be_pickled_arrives_with_its_text(
        self, executor: Executor
    ) -> None:
        batches = executor.map(fails_without_pickle, range(20))
        with pytest.raises(Exception, match="no batch for 3"):
            within_deadline(lambda: _numbers(batches))
        assert _numbers(executor.map(batch, range(20))) == list(range(20))

    def test_a_stop_iteration_is_a_failure_and_not_the_end(self, executor: Executor) -> None:
        with pytest.raises(RuntimeError):  # which Python makes of one that leaves a generator
            list(executor.map(FailsAt(3, StopIteration()), range(20)))

    def test_workers_stay_from_one_map_to_the_next(self, executor: Executor) -> None:
        before = self.running()
        list(executor.map(uneven_batch, range(30)))
        workers = self.running() - before
        list(executor.map(uneven_batch, range(30)))
        assert self.running() - before == workers
        assert bool(workers) == self.looks_ahead

    def test_serves_several_maps_at_once(self, executor: Executor) -> None:
        evens = executor.map(batch, range(0, 80, 2))
        odds = executor.map(uneven_batch, range(1, 80, 2))
        pairs = [(int(even[0]), int(odd[0])) for even, odd in zip(evens, odds, strict=True)]
        assert pairs == [(key, key + 1) for key in range(0, 80, 2)]

    @pytest.mark.parametrize("how", ["closed", "dropped", "failed"])
    def test_a_map_that_ends_early_lets_go_of_its_keys(self, executor: Executor, how: str) -> None:
        keys = _CountedKeys()
        kept = weakref.ref(keys)
        batches = executor.map(FailsAt(4, ValueError("bad")), keys)
        del keys
        assert _numbers(batches, 3) == [0, 1, 2]
        if how == "closed":
            batches.close()
            assert list(batches) == []
        elif how == "dropped":
            del batches
        else:
            with pytest.raises(ValueError, match="bad"):
                list(batches)
        # The error's traceback leads to all that the map held, and a worker may still be leaving.
        assert eventually(lambda: gc.collect() >= 0 and _is_gone(kept))
        assert _numbers(executor.map(batch, range(20))) == list(range(20))

    def test_a_batch_is_freed_once_its_consumer_drops_it(self, executor: Executor) -> None:
        batches = executor.map(batch, itertools.count())
        for _ in range(5):
            kept = weakref.ref(next(batches))
            assert eventually(partial(_is_gone, kept))

    def test_a_map_keeps_its_executor(self) -> None:
        batches = self.make_executor(BATCH_BYTES).map(batch, range(100))
        gc.collect()
        assert _numbers(batches) == list(range(100))

    def test_dropping_it_leaves_nothing_running(self) -> None:
        before = self.running()
        executor = self.make_executor(10 * BATCH_BYTES)
        assert _numbers(executor.map(batch, range(20))) == list(range(20))
        batches = executor.map(batch, itertools.count())
        next(batches)
        assert bool(self.running() - before) == self.looks_ahead
        del executor, batches
        gc.collect()
        assert eventually(lambda: self.running() <= before)

    def test_close_waits_for_the_workers_to_end(self) -> None:
        before = self.running()
        executor = self.make_executor(10 * BATCH_BYTES)
        executor.close()  # before its first use
        batches = executor.map(uneven_batch, itertools.count())
        next(batches)
        executor.close()
        assert self.running() <= before
        executor.close()
        assert _numbers(executor.map(batch, range(20))) == list(range(20)), "it may be used again"
        executor.close()
        assert self.running() <= before

    def test_closing_it_under_a_map_does_not_hang(self, executor: Executor) -> None:
        batches = executor.map(batch, itertools.count())
        next(batches)
        within_deadline(executor.close)
        if self.raises_when_closed:
            with pytest.raises(ExecutorClosedError):
                within_deadline(lambda: _numbers(batches, 10_000))
        else:
            assert within_deadline(lambda: _numbers(batches, 3)) == [1, 2, 3]

    def test_pickles_as_its_configuration(self, executor: Executor) -> None:
        unused = pickle.dumps(executor)
        next(executor.map(batch, range(20)))
        assert pickle.dumps(executor) == unused
        copy = pickle.loads(unused)
        assert _numbers(copy.map(batch, range(20))) == list(range(20))
        copy.close()

    @needs_fork
    def test_a_new_map_works_in_a_forked_child(
        self, executor: Executor, processes: KeptProcesses
    ) -> None:
        assert processes.call(_map_around_fork, executor) == [0, 1, 2, *range(20), 3, 4, 5]

    def test_a_running_map_does_not_keep_the_interpreter_from_ending(
        self, executor: Executor
    ) -> None:
        assert in_new_process(_leave_a_map_running, executor) == [0, 1, 2]


class _CountedKeys:
    """Endless keys that note how far they were taken ahead of what the consumer `asked` for."""

    def __init__(self) -> None:
        self.taken = self.asked = self.most_ahead = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        self.most_ahead = max(self.most_ahead, self.taken - self.asked)
        return self.taken - 1


def _numbers(batches: Iterable[Array], most: int | None = None) -> list[int]:
    """The keys of the batches, or of the first `most`."""
    return [int(batch[0]) for batch in itertools.islice(batches, most)]


def _map_first_20(executor: Executor) -> list[int]:
    return _numbers(executor.map(batch, range(20)))


def _map_around_fork(executor: Executor) -> list[int]:
    """The numbers of the beginning of a map, of another one in a forked child, and of its rest."""
    batches = executor.map(batch, itertools.count())
    before = _numbers(batches, 3)
    in_child = in_new_process(_map_first_20, executor, method="fork")
    return before + in_child + _numbers(batches, 3)


_left_running: list[Results[Array]] = []


def _leave_a_map_running(executor: Executor) -> list[int]:
    batches = executor.map(uneven_batch, itertools.count())
    _left_running.append(batches)
    return _numbers(batches, 3)


def _is_gone(reference: "weakref.ref[_CountedKeys] | weakref.ref[Array]") -> bool:
    return reference() is None
