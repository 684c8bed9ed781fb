"""The contract tests: what every reader and every executor has to do, ours and third parties'.

Requires pytest. A test class inherits `ReaderContract` or `ExecutorContract`, says how to make the
thing under test, and has all the tests of its contract:

    from headrace.testing import ReaderContract

    class TestMyReader(ReaderContract):
        def make_reader(self, folder, samples):
            my_format.save(folder / "data", samples)
            return MyReader(folder / "data")

The contracts make the samples and the batches themselves, so that what is expected never passes
through the code under test. What they pickle must be importable by name in another process.
"""

import contextlib
import gc
import itertools
import multiprocessing
import pickle
import re
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from headrace.errors import ExecutorClosedError, SampleFormatError
from headrace.executors import Executor
from headrace.readers import Reader, Spec

__all__ = ["ExecutorContract", "ReaderContract"]

Array = npt.NDArray[Any]

# For what should take milliseconds: only something that hangs takes longer.
_DEADLINE_SECONDS = 120.0
_FILLER = 0xA5
_BATCH_BYTES = 1024
_START_METHODS = multiprocessing.get_all_start_methods()
_needs_fork = pytest.mark.skipif("fork" not in _START_METHODS, reason="this system can't fork")


class ReaderContract:
    """What every reader has to do, as tests. See `headrace.readers.Reader`.

    Attributes:
        dtypes: the dtypes that the storage can hold.
        shapes: the shapes of a sample that it can hold.
        pickles_data: whether a pickle of the reader holds the samples themselves, as that of an
            array in memory does.
    """

    dtypes: ClassVar[Sequence[str]] = (
        *("float32", "float64", "float16", "int64", "int8", "uint8", "bool"),
        *("complex64", "datetime64[s]"),
    )
    shapes: ClassVar[Sequence[tuple[int, ...]]] = ((3, 4), (5,), (), (1, 2, 1), (0,), (2, 0, 3))
    pickles_data: ClassVar[bool] = False

    def make_reader(self, folder: Path, samples: Array) -> Reader:
        """Stores `samples`, shape (n, *shape), in the empty `folder` and returns their reader."""
        raise NotImplementedError

    def make_samples(self, n: int, shape: tuple[int, ...], dtype: str) -> Array:
        """The samples to be stored, shape (n, *shape). To override where not all bytes will do."""
        rng = np.random.default_rng([n, *shape])
        item_bytes = np.dtype(dtype).itemsize
        data = rng.integers(256, size=(n, *shape, item_bytes), dtype=np.uint8)
        if np.dtype(dtype) == np.bool_:
            data &= 1
        return np.frombuffer(data.tobytes(), dtype).reshape(n, *shape)

    def sample_file(self, folder: Path, index: int) -> Path | None:
        """The file that holds sample `index` and no other; None if there is no such file."""
        del folder, index
        return None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tests that take a dtype or a shape run with each of the class's."""
        for name, values in (("dtype", self.dtypes), ("shape", self.shapes)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=str)

    @pytest.fixture
    def samples(self) -> Array:
        return self.make_samples(8, self.shapes[0], self.dtypes[0])

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "samples"
        folder.mkdir()
        return folder

    @pytest.fixture
    def reader(self, folder: Path, samples: Array) -> Reader:
        return self.make_reader(folder, samples)

    def test_follows_the_protocol(self, reader: Reader, samples: Array) -> None:
        assert isinstance(reader, Reader)
        assert len(reader) == len(samples)

    def test_gives_back_every_dtype(self, folder: Path, dtype: str) -> None:
        samples = self.make_samples(6, self.shapes[0], dtype)
        _check_read(self.make_reader(folder, samples), samples, np.arange(6))

    def test_gives_back_every_shape(self, folder: Path, shape: tuple[int, ...]) -> None:
        samples = self.make_samples(6, shape, self.dtypes[0])
        _check_read(self.make_reader(folder, samples), samples, np.arange(6))

    @pytest.mark.parametrize(
        "indices",
        [range(8), range(7, -1, -1), [3, 6, 0, 5], [2, 2, 7, 2], [4], [], [1, 5] * 20],
        ids=["sequential", "backwards", "random", "repeated", "single", "none", "more than all"],
    )
    def test_reads_any_indices(
        self, reader: Reader, samples: Array, indices: Sequence[int]
    ) -> None:
        _check_read(reader, samples, np.array(indices, np.int64))
        _check_read(reader, samples, np.repeat(np.array(indices, np.int64), 2)[::2])

    def test_fills_the_given_array_and_nothing_beside_it(
        self, reader: Reader, samples: Array
    ) -> None:
        rows = _filled(reader, 9)
        indices = np.array([6, 0, 3, 3, 7])
        assert reader.read(indices, rows[2:7]) is None  # type: ignore[func-returns-value]
        assert _same(rows[2:7], samples[indices])
        assert set(rows[:2].tobytes() + rows[7:].tobytes()) <= {_FILLER}, "it wrote beside out"

    @pytest.mark.parametrize("index", [8, -1, -8, 2**62, -(2**63), 2**63 - 1])
    def test_refuses_indices_out_of_range(self, reader: Reader, index: int) -> None:
        with pytest.raises(IndexError):
            reader.read(np.array([0, index, 1]), _filled(reader, 3))

    def test_refuses_an_out_that_does_not_fit(self, reader: Reader) -> None:
        indices = np.arange(2)
        spec = _plain_spec(reader)
        shape, dtype = (2, *spec.shape), spec.dtype
        read_only = np.empty(shape, dtype)
        read_only.flags.writeable = False
        wrong = {
            "too few rows": np.empty((1, *shape[1:]), dtype),
            "too many rows": np.empty((3, *shape[1:]), dtype),
            "an axis more": np.empty((*shape, 1), dtype),
            "another dtype": np.empty(shape, "V3"),
            "every other row": np.empty((4, *shape[1:]), dtype)[::2],
            "read-only": read_only,
        }
        if len(shape) > 1:
            wrong["a longer sample"] = np.empty((2, shape[1] + 1, *shape[2:]), dtype)
        if dtype.newbyteorder("S") != dtype:
            wrong["the other byte order"] = np.empty(shape, dtype.newbyteorder("S"))
        for description, out in wrong.items():
            with pytest.raises(ValueError):  # noqa: PT011, PT012  (each reader has its own words)
                reader.read(indices, out)
                pytest.fail(f"an out with {description} must be refused")

    def test_threads_may_read_at_once(self, reader: Reader, samples: Array) -> None:
        fresh = pickle.loads(pickle.dumps(reader))  # so that they meet at its first use, too
        barrier = threading.Barrier(8)

        def read_often(seed: int) -> None:
            rng = np.random.default_rng(seed)
            barrier.wait(_DEADLINE_SECONDS)
            for _ in range(20):
                _check_read(fresh, samples, rng.integers(len(samples), size=24))

        with _frequent_thread_switches(), ThreadPoolExecutor(8) as threads:
            list(threads.map(read_often, range(8)))

    def test_pickles_as_a_description(self, tmp_path: Path) -> None:
        sizes = []
        for length in (4, 4000):
            folder = tmp_path / f"{length:04}"
            folder.mkdir()
            samples = self.make_samples(8, (length,), self.dtypes[0])
            reader = self.make_reader(folder, samples)
            _check_read(reader, samples, np.arange(8))  # what it opened must not be in the pickle
            pickled = pickle.dumps(reader)
            _check_read(pickle.loads(pickled), samples, np.arange(8))
            sizes.append(len(pickled))
        if not self.pickles_data:
            assert sizes[1] - sizes[0] < 500, f"the pickle grows with the samples: {sizes} bytes"

    @pytest.mark.parametrize("method", [m for m in _START_METHODS if m != "fork"])
    def test_works_in_another_process(self, reader: Reader, samples: Array, method: str) -> None:
        indices = np.array([5, 1, 5])
        _check_read(reader, samples, indices)
        assert _same(_in_new_process(_read, reader, indices, method=method), samples[indices])

    @_needs_fork
    def test_works_in_a_forked_child(self, reader: Reader, samples: Array) -> None:
        indices = np.array([5, 1, 5])
        for array in _in_new_process(_read_around_fork, reader, indices):
            assert _same(array, samples[indices])

    def test_holds_no_object_for_each_sample(self, tmp_path: Path) -> None:
        def blocks_held(n: int, name: str) -> int:
            folder = tmp_path / name
            folder.mkdir()
            samples = self.make_samples(n, self.shapes[0], self.dtypes[0])
            # From a pickle, as what stores the samples may leave objects behind, such as names.
            pickled = pickle.dumps(self.make_reader(folder, samples))
            gc.collect()
            before = sys.getallocatedblocks()
            reader = pickle.loads(pickled)
            _check_read(reader, samples, np.array([0, n - 1]))
            gc.collect()
            return sys.getallocatedblocks() - before

        gc.freeze()  # what is there already is not looked through each time
        try:
            blocks_held(60, "warm-up")  # what is imported and cached once does not count
            few, many = blocks_held(60, "few"), blocks_held(600, "many")
        finally:
            gc.unfreeze()
        assert many - few < 540 / 4, f"{few} objects for 60 samples, {many} for 600"

    def test_fingerprint_survives_pickling(self, reader: Reader, samples: Array) -> None:
        if not hasattr(reader, "fingerprint"):
            pytest.skip("this reader has no fingerprint")
        fingerprint = reader.fingerprint()
        assert isinstance(fingerprint, str)
        _check_read(reader, samples, np.arange(len(samples)))
        assert reader.fingerprint() == fingerprint
        assert pickle.loads(pickle.dumps(reader)).fingerprint() == fingerprint

    @pytest.mark.parametrize("damage", ["removed", "cut short", "emptied", "overwritten"])
    def test_names_the_file_and_index_of_a_bad_sample(
        self, folder: Path, reader: Reader, samples: Array, damage: str
    ) -> None:
        file = self.sample_file(folder, 5)
        if file is None:
            pytest.skip("a sample has no file of its own")
        if damage == "removed":
            file.unlink()
        else:
            data = file.read_bytes()
            damaged = {"cut short": data[:-1], "emptied": b"", "overwritten": b"?" * len(data)}
            file.write_bytes(damaged[damage])
        expected = FileNotFoundError if damage == "removed" else ValueError
        with pytest.raises(expected) as caught:
            reader.read(np.array([1, 5, 2]), _filled(reader, 3))
        said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
        assert file.name in said
        assert re.search(r"\b5\b", said.replace(file.name, ""))
        _check_read(reader, samples, np.array([4, 6]))  # the others stay good


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

    def running(self) -> set[Any]:
        """All that could be a worker now. To be overridden where workers are neither threads nor
        children of `multiprocessing`."""
        return {*threading.enumerate(), *multiprocessing.active_children()}

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = self.make_executor(10 * _BATCH_BYTES)
        yield executor
        executor.close()

    def test_follows_the_protocol(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)

    def test_results_come_in_the_order_of_the_keys(self, executor: Executor) -> None:
        keys = [7, 0, 3, 3, *range(60)]
        assert _numbers(executor.map(_uneven_batch, keys)) == keys

    def test_no_keys_give_no_results(self, executor: Executor) -> None:
        assert list(executor.map(_batch, [])) == []

    def test_keys_may_be_endless(self, executor: Executor) -> None:
        assert _numbers(executor.map(_batch, itertools.count()), 50) == list(range(50))

    def test_results_may_be_anything(self, executor: Executor) -> None:
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        assert list(executor.map(_nothing, range(3))) == [None, None, None]

    @pytest.mark.parametrize("budget", [0, 1, 5, 40])
    def test_looks_ahead_within_its_budget(self, budget: int) -> None:
        executor = self.make_executor(budget * _BATCH_BYTES)
        keys = _CountedKeys()
        batches = executor.map(_nested_batch, keys)
        for _ in range(150):
            keys.asked += 1
            next(batches)
        if self.looks_ahead:
            assert _eventually(lambda: keys.taken > keys.asked), "it does not look ahead"
        executor.close()
        assert keys.most_ahead <= budget + 2

    def test_a_failure_comes_at_its_turn_as_it_was_raised(self, executor: Executor) -> None:
        error = SampleFormatError.at(41, "sample 41 is bad")
        error.add_note("a note")
        batches = executor.map(_FailsAt(7, error), itertools.count())
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
                list(executor.map(_FailsAt(key, ValueError("bad")), range(20)))
            assert _numbers(executor.map(_batch, range(20))) == list(range(20))

    def test_what_ends_an_interpreter_reaches_the_consumer(self, executor: Executor) -> None:
        with pytest.raises(SystemExit) as caught:
            list(executor.map(_FailsAt(3, SystemExit(17)), range(20)))
        assert caught.value.code == 17
        assert _numbers(executor.map(_batch, range(20))) == list(range(20))

    def test_a_stop_iteration_is_a_failure_and_not_the_end(self, executor: Executor) -> None:
        with pytest.raises(RuntimeError):  # which Python makes of one that leaves a generator
            list(executor.map(_FailsAt(3, StopIteration()), range(20)))

    def test_workers_stay_from_one_map_to_the_next(self, executor: Executor) -> None:
        before = self.running()
        list(executor.map(_uneven_batch, range(30)))
        workers = self.running() - before
        list(executor.map(_uneven_batch, range(30)))
        assert self.running() - before == workers
        assert bool(workers) == self.looks_ahead

    def test_serves_several_maps_at_once(self, executor: Executor) -> None:
        evens = executor.map(_batch, range(0, 80, 2))
        odds = executor.map(_uneven_batch, range(1, 80, 2))
        pairs = [(int(even[0]), int(odd[0])) for even, odd in zip(evens, odds, strict=True)]
        assert pairs == [(key, key + 1) for key in range(0, 80, 2)]

    @pytest.mark.parametrize("how", ["closed", "dropped", "failed"])
    def test_a_map_that_ends_early_lets_go_of_its_keys(self, executor: Executor, how: str) -> None:
        keys = _CountedKeys()
        kept = weakref.ref(keys)
        batches: Any = executor.map(_FailsAt(4, ValueError("bad")), keys)
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
        assert _eventually(lambda: gc.collect() >= 0 and _is_gone(kept))
        assert _numbers(executor.map(_batch, range(20))) == list(range(20))

    def test_a_batch_is_freed_once_its_consumer_drops_it(self, executor: Executor) -> None:
        batches = executor.map(_batch, itertools.count())
        for _ in range(5):
            kept = weakref.ref(next(batches))
            assert _eventually(partial(_is_gone, kept))

    def test_a_map_keeps_its_executor(self) -> None:
        batches = self.make_executor(_BATCH_BYTES).map(_batch, range(100))
        gc.collect()
        assert _numbers(batches) == list(range(100))

    def test_dropping_it_leaves_nothing_running(self) -> None:
        before = self.running()
        executor = self.make_executor(10 * _BATCH_BYTES)
        assert _numbers(executor.map(_batch, range(20))) == list(range(20))
        batches = executor.map(_batch, itertools.count())
        next(batches)
        assert bool(self.running() - before) == self.looks_ahead
        del executor, batches
        gc.collect()
        assert _eventually(lambda: self.running() <= before)

    def test_close_waits_for_the_workers_to_end(self) -> None:
        before = self.running()
        executor = self.make_executor(10 * _BATCH_BYTES)
        executor.close()  # before its first use
        batches = executor.map(_uneven_batch, itertools.count())
        next(batches)
        executor.close()
        assert self.running() <= before
        executor.close()
        assert _numbers(executor.map(_batch, range(20))) == list(range(20)), "it may be used again"
        executor.close()
        assert self.running() <= before

    def test_closing_it_under_a_map_does_not_hang(self, executor: Executor) -> None:
        batches = executor.map(_batch, itertools.count())
        next(batches)
        _within_deadline(executor.close)
        if self.raises_when_closed:
            with pytest.raises(ExecutorClosedError):
                _within_deadline(lambda: _numbers(batches, 10_000))
        else:
            assert _within_deadline(lambda: _numbers(batches, 3)) == [1, 2, 3]

    def test_pickles_as_its_configuration(self, executor: Executor) -> None:
        unused = pickle.dumps(executor)
        next(executor.map(_batch, range(20)))
        assert pickle.dumps(executor) == unused
        copy = pickle.loads(unused)
        assert _numbers(copy.map(_batch, range(20))) == list(range(20))
        copy.close()

    @_needs_fork
    def test_a_new_map_works_in_a_forked_child(self, executor: Executor) -> None:
        assert _in_new_process(_map_around_fork, executor) == [0, 1, 2, *range(20), 3, 4, 5]

    def test_a_running_map_does_not_keep_the_interpreter_from_ending(
        self, executor: Executor
    ) -> None:
        assert _in_new_process(_leave_a_map_running, executor) == [0, 1, 2]


def _read(reader: Reader, indices: npt.NDArray[np.int64]) -> Array:
    out = _filled(reader, len(indices))
    reader.read(indices, out)
    return out


def _plain_spec(reader: Reader) -> Spec:
    assert isinstance(reader.spec, Spec), "the contract is tested with samples of one array"
    return reader.spec


def _check_read(reader: Reader, samples: Array, indices: npt.NDArray[np.int64]) -> None:
    spec = _plain_spec(reader)
    assert spec.shape == samples.shape[1:]
    assert spec.dtype == samples.dtype
    assert spec.dtype.isnative
    assert _same(_read(reader, indices), samples[indices]), f"wrong data at indices {indices}"


def _filled(reader: Reader, n: int) -> Array:
    """`n` rows to read into, of bytes that no test expects to be left over."""
    spec = _plain_spec(reader)
    rows = np.empty((n, *spec.shape), spec.dtype)
    rows.reshape(-1).view(np.uint8)[:] = _FILLER
    return rows


def _same(actual: Array, expected: Array) -> bool:
    """Whether they agree in every bit, which NaNs do not hide."""
    return (
        actual.shape == expected.shape
        and actual.dtype == expected.dtype
        and actual.tobytes() == expected.tobytes()
    )


def _read_around_fork(reader: Reader, indices: npt.NDArray[np.int64]) -> list[Array]:
    """What is read before a fork, in the child, and in the parent after it."""
    before = _read(reader, indices)
    return [before, _in_new_process(_read, reader, indices, method="fork"), _read(reader, indices)]


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


@dataclass(frozen=True)
class _FailsAt:
    """Makes batches, but raises `error` for `key`."""

    key: int
    error: BaseException

    def __call__(self, key: int) -> Array:
        if key == self.key:
            raise self.error
        return _batch(key)


def _batch(key: int) -> Array:
    return np.full(_BATCH_BYTES // 8, key, np.int64)


def _uneven_batch(key: int) -> Array:
    """One that takes long for every third key, so that those after it are ready before it."""
    if key % 3 == 0:
        np.random.default_rng(key).random(100_000).sort()
    return _batch(key)


def _nested_batch(key: int) -> Any:
    return {"x": _batch(key)[::2], "y": (_batch(key)[1::4], _batch(key)[3::4])}


def _nothing(key: int) -> None:
    del key


def _numbers(batches: Iterable[Array], most: int | None = None) -> list[int]:
    """The keys of the batches, or of the first `most`."""
    return [int(batch[0]) for batch in itertools.islice(batches, most)]


def _map_first_20(executor: Executor) -> list[int]:
    return _numbers(executor.map(_batch, range(20)))


def _map_around_fork(executor: Executor) -> list[int]:
    """The numbers of the beginning of a map, of another one in a forked child, and of its rest."""
    batches = executor.map(_batch, itertools.count())
    before = _numbers(batches, 3)
    in_child: list[int] = _in_new_process(_map_first_20, executor, method="fork")
    return before + in_child + _numbers(batches, 3)


_left_running: list[Any] = []


def _leave_a_map_running(executor: Executor) -> list[int]:
    batches = executor.map(_uneven_batch, itertools.count())
    _left_running.append(batches)
    return _numbers(batches, 3)


def _in_new_process(function: Callable[..., Any], *arguments: Any, method: str = "spawn") -> Any:
    """What `function(*arguments)` returns in a process of its own, which then has to end."""
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_outcome, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        assert receiver.poll(_DEADLINE_SECONDS), f"{function.__name__} hangs in a new process"
        result, failure = receiver.recv()
        assert not failure, failure
        process.join(_DEADLINE_SECONDS)
        assert process.exitcode == 0, f"the process does not end: exit code {process.exitcode}"
        return result
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _send_outcome(sender: Connection, function: Callable[..., Any], arguments: Any) -> None:
    try:
        outcome = function(*arguments), ""
    except BaseException:
        outcome = None, traceback.format_exc()
    sender.send(outcome)
    sender.close()


def _is_gone(reference: "weakref.ref[Any]") -> bool:
    return reference() is None


def _within_deadline(function: Callable[[], Any]) -> Any:
    """What `function()` returns or raises; fails if it hangs."""
    outcome: Future[Any] = Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return outcome.result(_DEADLINE_SECONDS)


def _eventually(condition: Callable[[], bool]) -> bool:
    """Whether `condition()` comes true before the deadline."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


@contextlib.contextmanager
def _frequent_thread_switches() -> Iterator[None]:
    """Makes threads take turns so often that what they share is seen half-done."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
