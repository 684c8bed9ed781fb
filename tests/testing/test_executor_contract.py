"""The contract of executors finds what it is there to find: each broken executor fails its test."""

import inspect
import itertools
import threading
from collections import deque

import pytest
from passing_results import Passing

import headrace as hr
from headrace.testing import ExecutorContract, processes


class Good(hr.Threads):
    def __reduce__(self):
        return type(self), (self.n,)


class AnyOrder(Good):
    def map(self, make_batch, keys):
        results = super().map(make_batch, keys)
        while pair := list(itertools.islice(results, 2)):
            yield from reversed(pair)


class CountsBatchesNotBytes(Good):
    def map(self, make_batch, keys):
        return self._ahead(super().map(make_batch, keys))

    @staticmethod
    def _ahead(results):
        ready = deque(itertools.islice(results, 60))
        while ready:
            yield ready.popleft()
            ready.extend(itertools.islice(results, 1))


class FailsTooEarly(Good):
    def map(self, make_batch, keys):
        results = super().map(make_batch, keys)
        while pair := list(itertools.islice(results, 2)):
            yield from pair


class HidesTheType(Good):
    def map(self, make_batch, keys):
        try:
            yield from super().map(make_batch, keys)
        except Exception as error:
            raise RuntimeError(str(error)) from error


class EndsAtAFailure(Good):
    def map(self, make_batch, keys):
        try:
            yield from super().map(make_batch, keys)
        except BaseException:
            return


class NewWorkersForEachMap(Good):
    def map(self, make_batch, keys):
        other = Good(self.n)
        everything.append(other)
        return other.map(make_batch, keys)


class KeepsBatches(Good):
    def map(self, make_batch, keys):
        for batch in super().map(make_batch, keys):
            everything.append(batch)
            yield batch


class KeepsKeys(Good):
    def map(self, make_batch, keys):
        everything.append(keys)
        return super().map(make_batch, keys)


class KeepsItsWorkers(Good):
    def __init__(self, n=2, lookahead_bytes=0):
        super().__init__(n, lookahead_bytes=lookahead_bytes)
        everything.append(self)

    def close(self):
        pass


class CloseDoesNotWait(Good):
    def close(self):
        threading.Thread(target=self.close_later).start()

    def close_later(self):
        given_up.wait()
        super().close()


class IgnoresBeingClosed(Good):
    def map(self, make_batch, keys):
        keys = iter(keys)
        try:
            yield from super().map(make_batch, keys)
        except hr.ExecutorClosedError:
            yield from map(make_batch, keys)


class HangsWhenClosed(Good):
    def map(self, make_batch, keys):
        try:
            yield from super().map(make_batch, keys)
        except hr.ExecutorClosedError:
            given_up.wait()


class DoublesItsBudget(Good):
    def __init__(self, n=2, lookahead_bytes=0):
        super().__init__(n, lookahead_bytes=2 * lookahead_bytes)


class AreNeverReady(Passing):
    ready = 0


class AreReadyForEver(Passing):
    ready = 8


class CountTheLastCopy(Passing):
    def __init__(self, results):
        super().__init__(results)
        self.copies = itertools.cycle((1.0, 0.5))

    @property
    def copying_s(self):
        return next(self.copies)


class Says(Good):
    """Its results are of the class `results`."""

    results = None

    def map(self, make_batch, keys):
        return self.results(super().map(make_batch, keys))


def saying(results):
    return type(results.__name__, (Says,), {"results": results})


class PicklesWhatItHasDone(Good):
    def map(self, make_batch, keys):
        self.maps = getattr(self, "maps", 0) + 1
        return super().map(make_batch, keys)

    def __reduce__(self):
        return type(self), (self.n,), {"maps": getattr(self, "maps", 0)}


everything = []
given_up = threading.Event()  # what hangs goes on, so that nothing outlives its test


class ContractOf(ExecutorContract):
    def __init__(self, kind):
        self.kind = kind

    def make_executor(self, lookahead_bytes):
        return self.kind(2, lookahead_bytes=lookahead_bytes)


def run(kind, name, options):
    """Runs one test of the contract on executors of this kind, as pytest would."""
    contract = ContractOf(kind)
    arguments = {"executor": contract.make_executor(10 * 1024), **options}
    test = getattr(contract, name)
    given_up.clear()
    try:
        test(**{key: arguments[key] for key in inspect.signature(test).parameters})
    finally:
        given_up.set()
        hr.Threads.close(arguments["executor"])
        for kept in everything:
            if isinstance(kept, hr.Threads):
                hr.Threads.close(kept)
        everything.clear()


@pytest.mark.parametrize(
    ("broken", "name", "options"),
    [
        (AnyOrder, "test_follows_the_protocol", {}),  # as it gives a generator
        (saying(Passing), "test_follows_the_protocol", {}),  # that can't be closed
        (DoublesItsBudget, "test_has_the_budget_that_it_is_given", {}),
        (saying(AreNeverReady), "test_says_how_many_results_are_ready", {}),
        (saying(AreReadyForEver), "test_says_how_many_results_are_ready", {}),
        (saying(CountTheLastCopy), "test_says_how_long_copying_took", {}),
        (AnyOrder, "test_results_come_in_the_order_of_the_keys", {}),
        (CountsBatchesNotBytes, "test_looks_ahead_within_its_budget", {"budget": 5}),
        (FailsTooEarly, "test_a_failure_comes_at_its_turn_as_it_was_raised", {}),
        (HidesTheType, "test_a_failure_comes_at_its_turn_as_it_was_raised", {}),
        (EndsAtAFailure, "test_a_failure_comes_at_its_turn_as_it_was_raised", {}),
        (EndsAtAFailure, "test_a_new_map_works_after_a_failure", {}),
        (EndsAtAFailure, "test_what_ends_an_interpreter_reaches_the_consumer", {}),
        (EndsAtAFailure, "test_a_stop_iteration_is_a_failure_and_not_the_end", {}),
        (EndsAtAFailure, "test_an_error_that_can_not_be_pickled_arrives_with_its_text", {}),
        (NewWorkersForEachMap, "test_workers_stay_from_one_map_to_the_next", {}),
        (KeepsBatches, "test_a_batch_is_freed_once_its_consumer_drops_it", {}),
        *(
            (KeepsKeys, "test_a_map_that_ends_early_lets_go_of_its_keys", {"how": how})
            for how in ("closed", "dropped", "failed")
        ),
        (KeepsItsWorkers, "test_dropping_it_leaves_nothing_running", {}),
        (KeepsItsWorkers, "test_close_waits_for_the_workers_to_end", {}),
        (CloseDoesNotWait, "test_close_waits_for_the_workers_to_end", {}),
        (IgnoresBeingClosed, "test_closing_it_under_a_map_does_not_hang", {}),
        (HangsWhenClosed, "test_closing_it_under_a_map_does_not_hang", {}),
        (PicklesWhatItHasDone, "test_pickles_as_its_configuration", {}),
    ],
)
def test_broken_executor_is_found(monkeypatch, broken, name, options):
    run(Good, name, options)
    monkeypatch.setattr(processes, "DEADLINE_SECONDS", 0.2)  # it is to be missed
    with pytest.raises(
        (AssertionError, pytest.fail.Exception, RuntimeError, hr.SampleError, TimeoutError)
    ):
        run(broken, name, options)
