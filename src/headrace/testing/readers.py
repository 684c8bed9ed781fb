"""What every reader has to do, as tests: ours and third parties'."""

import gc
import pickle
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from headrace.arrays import Array, Indices
from headrace.readers import Reader, Spec
from headrace.readers.access import fingerprint_of, ids_at, ids_of
from headrace.testing.processes import (
    DEADLINE_SECONDS,
    START_METHODS,
    KeptProcesses,
    frequent_thread_switches,
    in_new_process,
    kept_processes,
    needs_fork,
)
from headrace.testing.special_files import (
    DAMAGES,
    SPECIAL,
    assert_named,
    assert_unreadable,
    damage,
    in_place_of,
)

_FILLER = 0xA5


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

    @pytest.fixture
    def processes(self, request: pytest.FixtureRequest) -> KeptProcesses:
        return kept_processes(request)

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
            barrier.wait(DEADLINE_SECONDS)
            for _ in range(20):
                _check_read(fresh, samples, rng.integers(len(samples), size=24))

        with frequent_thread_switches(), ThreadPoolExecutor(8) as threads:
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
            _check_read(with_frozen_buffers(reader), samples, np.arange(8))
            sizes.append(len(pickled))
        if not self.pickles_data:
            assert sizes[1] - sizes[0] < 500, f"the pickle grows with the samples: {sizes} bytes"

    @pytest.mark.parametrize("method", [m for m in START_METHODS if m != "fork"])
    def test_works_in_another_process(
        self, reader: Reader, samples: Array, processes: KeptProcesses, method: str
    ) -> None:
        indices = np.array([5, 1, 5])
        _check_read(reader, samples, indices)
        assert _same(processes.call(_read, reader, indices, method=method), samples[indices])

    @needs_fork
    def test_works_in_a_forked_child(
        self, reader: Reader, samples: Array, processes: KeptProcesses
    ) -> None:
        indices = np.array([5, 1, 5])
        for array in processes.call(_read_around_fork, reader, indices):
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
            # What a sample leaves behind is there each time; what another thread of the process
            # makes meanwhile, such as a thread of a pool that grows, is not.
            for attempt in range(5):
                few, many = blocks_held(60, f"few {attempt}"), blocks_held(600, f"many {attempt}")
                if many - few < 540 / 4:
                    break
        finally:
            gc.unfreeze()
        assert many - few < 540 / 4, f"{few} objects for 60 samples, {many} for 600"

    def test_fingerprint_survives_pickling(self, reader: Reader, samples: Array) -> None:
        fingerprint = fingerprint_of(reader)
        if fingerprint == "":
            pytest.skip("this reader has no fingerprint")
        assert isinstance(fingerprint, str)
        _check_read(reader, samples, np.arange(len(samples)))
        assert fingerprint_of(reader) == fingerprint
        assert fingerprint_of(pickle.loads(pickle.dumps(reader))) == fingerprint

    @pytest.mark.parametrize("kind", DAMAGES)
    def test_names_the_file_and_index_of_a_bad_sample(
        self, folder: Path, reader: Reader, samples: Array, kind: str
    ) -> None:
        file = self.sample_file(folder, 5)
        if file is None:
            pytest.skip("a sample has no file of its own")
        with pytest.raises(damage(file, kind)) as caught:
            reader.read(np.array([1, 5, 2]), _filled(reader, 3))
        assert_named(caught.value, file, 5)
        _check_read(reader, samples, np.array([4, 6]))  # the others stay good

    @pytest.mark.parametrize("kind", SPECIAL)
    def test_refuses_what_can_not_be_read(
        self, folder: Path, reader: Reader, samples: Array, kind: str
    ) -> None:
        file = self.sample_file(folder, 5)
        if file is None:
            pytest.skip("a sample has no file of its own")
        with in_place_of(file, kind):
            with assert_unreadable(file, 5):
                reader.read(np.array([1, 5, 2]), _filled(reader, 3))
            _check_read(reader, samples, np.array([4, 6]))

    def test_ids_name_the_samples(self, folder: Path, reader: Reader, samples: Array) -> None:
        ids = ids_of(reader)
        if ids is None:
            pytest.skip("this reader has no ids")
        assert [type(name) for name in ids] == [str] * len(samples)
        assert len(set(ids)) == len(samples), "two samples have the same id"
        assert ids_of(pickle.loads(pickle.dumps(reader))) == ids
        some = np.array([len(samples) - 1, 0, 2, 0])
        assert ids_at(reader, some) == [ids[index] for index in some]
        for index in range(len(samples)):
            file = self.sample_file(folder, index)
            assert file is None or ids[index] in file.as_posix()


def _read(reader: Reader, indices: Indices) -> Array:
    out = _filled(reader, len(indices))
    reader.read(indices, out)
    return out


def _plain_spec(reader: Reader) -> Spec:
    assert isinstance(reader.spec, Spec), "the contract is tested with samples of one array"
    return reader.spec


def _check_read(reader: Reader, samples: Array, indices: Indices) -> None:
    spec = _plain_spec(reader)
    assert spec.shape == samples.shape[1:]
    assert spec.dtype == samples.dtype
    assert spec.dtype.isnative
    assert _same(_read(reader, indices), samples[indices]), f"wrong data at indices {indices}"


def with_frozen_buffers(reader: Reader) -> Reader:
    """A copy from a pickle whose arrays lie in memory that can't be written, as those of Ray do."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(reader, 5, buffer_callback=buffers.append)
    copy: Reader = pickle.loads(pickled, buffers=[bytes(buffer.raw()) for buffer in buffers])
    return copy


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


def _read_around_fork(reader: Reader, indices: Indices) -> list[Array]:
    """What is read before a fork, in the child, and in the parent after it."""
    before = _read(reader, indices)
    return [before, in_new_process(_read, reader, indices, method="fork"), _read(reader, indices)]
