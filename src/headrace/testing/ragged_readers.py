"""What every reader of samples of any length has to do, as tests."""

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from headrace.arrays import Array, Indices
from headrace.ragged import Ragged, RaggedOut
from headrace.readers import Reader, Spec
from headrace.readers.access import fingerprint_of, lengths_of
from headrace.readers.reader import read_batch
from headrace.testing.processes import (
    DEADLINE_SECONDS,
    KeptProcesses,
    frequent_thread_switches,
    kept_processes,
)
from headrace.testing.special_files import (
    DAMAGES,
    SPECIAL,
    assert_named,
    assert_unreadable,
    damage,
    in_place_of,
)

_LENGTHS = (3, 0, 7, 1, 0, 40, 2, 5)


class RaggedReaderContract:
    """What every reader of samples of any length has to do. See `headrace.readers.Reader`.

    Attributes:
        dtypes: the dtypes that the storage can hold.
        elements: the shapes, without the first axis, that it can hold.
        knows_lengths: whether it knows the lengths without reading the samples.
        takes_any_bytes: whether samples are the bytes of files as they are, which are always good.
    """

    dtypes: ClassVar[Sequence[str]] = ("int32", "float64", "uint8", "float16", "int64")
    elements: ClassVar[Sequence[tuple[int, ...]]] = ((), (3,), (2, 1))
    knows_lengths: ClassVar[bool] = True
    takes_any_bytes: ClassVar[bool] = False

    def make_reader(self, folder: Path, samples: list[Array]) -> Reader:
        """Stores `samples`, each of shape (length, *element), and returns their reader."""
        raise NotImplementedError

    def make_samples(self, lengths: Sequence[int], element: tuple[int, ...], dtype: str) -> Ragged:
        """The samples to be stored. To override where not all values will do."""
        rng = np.random.default_rng(len(lengths))
        return Ragged.of(
            [rng.integers(100, size=(length, *element)).astype(dtype) for length in lengths]
        )

    def sample_file(self, folder: Path, index: int) -> Path | None:
        """The file that holds sample `index` and no other; None if there is no such file."""
        del folder, index
        return None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tests that take a dtype or an element run with each of the class's."""
        for name, values in (("dtype", self.dtypes), ("element", self.elements)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=str)

    @pytest.fixture
    def samples(self) -> Ragged:
        return self.make_samples(_LENGTHS, self.elements[0], self.dtypes[0])

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "samples"
        folder.mkdir()
        return folder

    @pytest.fixture
    def reader(self, folder: Path, samples: Ragged) -> Reader:
        return self.make_reader(folder, list(samples))

    @pytest.fixture
    def processes(self, request: pytest.FixtureRequest) -> KeptProcesses:
        return kept_processes(request)

    def test_follows_the_protocol(self, reader: Reader, samples: Ragged) -> None:
        assert isinstance(reader, Reader)
        assert len(reader) == len(samples)
        assert reader.spec == Spec((None, *samples.values.shape[1:]), samples.dtype)

    def test_gives_back_every_dtype(self, folder: Path, dtype: str) -> None:
        samples = self.make_samples(_LENGTHS, self.elements[0], dtype)
        _check_read(self.make_reader(folder, list(samples)), samples, np.arange(len(samples)))

    def test_gives_back_every_element(self, folder: Path, element: tuple[int, ...]) -> None:
        samples = self.make_samples(_LENGTHS, element, self.dtypes[0])
        _check_read(self.make_reader(folder, list(samples)), samples, np.arange(len(samples)))

    @pytest.mark.parametrize(
        "indices",
        [range(8), range(7, -1, -1), [3, 6, 0, 5], [2, 2, 7, 2], [4], [], [1, 5] * 20],
        ids=["sequential", "backwards", "random", "repeated", "single", "none", "more than all"],
    )
    def test_reads_any_indices(
        self, reader: Reader, samples: Ragged, indices: Sequence[int]
    ) -> None:
        _check_read(reader, samples, np.array(indices, np.int64))
        _check_read(reader, samples, np.repeat(np.array(indices, np.int64), 2)[::2])

    @pytest.mark.parametrize("length", [0, 1, 5000])
    def test_gives_samples_that_are_all_of_one_length(self, folder: Path, length: int) -> None:
        samples = self.make_samples([length] * 4, self.elements[0], self.dtypes[0])
        _check_read(self.make_reader(folder, list(samples)), samples, np.array([2, 0]))

    @pytest.mark.parametrize("index", [8, -1, -8, 2**62, -(2**63), 2**63 - 1])
    def test_refuses_indices_out_of_range(self, reader: Reader, index: int) -> None:
        with pytest.raises(IndexError):
            read_batch(reader, np.array([0, index, 1]))

    def test_refuses_an_out_that_does_not_fit(self, reader: Reader) -> None:
        spec = reader.spec
        assert isinstance(spec, Spec)
        wrong = {
            "an array": np.empty((2, 3, *spec.element), spec.dtype),
            "too few rows": RaggedOut(1, spec.element, spec.dtype),
            "an axis more": RaggedOut(2, (*spec.element, 1), spec.dtype),
            "another dtype": RaggedOut(2, spec.element, np.dtype("V3")),
        }
        for description, out in wrong.items():
            with pytest.raises((ValueError, TypeError)):  # noqa: PT012
                reader.read(np.arange(2), out)
                pytest.fail(f"an out with {description} must be refused")

    def test_knows_the_lengths(self, reader: Reader, samples: Ragged) -> None:
        lengths = lengths_of(reader)
        assert (lengths is not None) == self.knows_lengths
        if lengths is not None:
            assert isinstance(lengths, np.ndarray)
            assert lengths.dtype == np.int64
            assert lengths.tolist() == samples.lengths.tolist()

    def test_threads_may_read_at_once(self, reader: Reader, samples: Ragged) -> None:
        fresh = pickle.loads(pickle.dumps(reader))  # so that they meet at its first use, too
        barrier = threading.Barrier(8)

        def read_often(seed: int) -> None:
            rng = np.random.default_rng(seed)
            barrier.wait(DEADLINE_SECONDS)
            for _ in range(10):
                _check_read(fresh, samples, rng.integers(len(samples), size=24))

        with frequent_thread_switches(), ThreadPoolExecutor(8) as threads:
            list(threads.map(read_often, range(8)))

    def test_works_in_another_process(
        self, reader: Reader, samples: Ragged, processes: KeptProcesses
    ) -> None:
        indices = np.array([5, 1, 5])
        read = processes.call(read_batch, reader, indices, method="spawn")
        _check_same(read, samples, indices)

    def test_fingerprint_survives_pickling(self, reader: Reader) -> None:
        fingerprint = fingerprint_of(reader)
        assert fingerprint_of(pickle.loads(pickle.dumps(reader))) == fingerprint

    @pytest.mark.parametrize("kind", DAMAGES)
    def test_names_the_file_and_index_of_a_bad_sample(
        self, folder: Path, reader: Reader, samples: Ragged, kind: str
    ) -> None:
        file = self.sample_file(folder, 5)
        if file is None:
            pytest.skip("a sample has no file of its own")
        if self.takes_any_bytes and kind != "removed":
            pytest.skip("any bytes are a good sample")
        expected = damage(file, kind)
        with pytest.raises(expected) as caught:
            read_batch(reader, np.array([1, 5, 2]))
        assert_named(caught.value, file, 5)
        self._check_lengths(reader, samples, file, expected)
        _check_read(reader, samples, np.array([4, 6]))  # the others stay good

    @pytest.mark.parametrize("kind", SPECIAL)
    def test_refuses_what_can_not_be_read(
        self, folder: Path, reader: Reader, samples: Ragged, kind: str
    ) -> None:
        file = self.sample_file(folder, 5)
        if file is None:
            pytest.skip("a sample has no file of its own")
        with in_place_of(file, kind):
            with assert_unreadable(file, 5) as caught:
                read_batch(reader, np.array([1, 5, 2]))
            self._check_lengths(reader, samples, file, type(caught.value))
            _check_read(reader, samples, np.array([4, 6]))

    def _check_lengths(
        self, reader: Reader, samples: Ragged, file: Path, expected: type[Exception]
    ) -> None:
        """Lengths are those that were known before, or the error of sample 5."""
        try:
            lengths = lengths_of(reader)
        except expected as error:
            assert_named(error, file, 5)
            return
        if lengths is not None:
            assert isinstance(lengths, np.ndarray)
            assert lengths.tolist() == samples.lengths.tolist()


def _check_read(reader: Reader, samples: Ragged, indices: Indices) -> None:
    _check_same(read_batch(reader, indices), samples, indices)


def _check_same(read: object, samples: Ragged, indices: Indices) -> None:
    assert isinstance(read, Ragged)
    assert read.dtype == samples.dtype
    assert read.dtype.isnative
    expected = [samples[index] for index in indices.tolist()]
    assert read.lengths.tolist() == list(map(len, expected)), f"wrong lengths at {indices}"
    for sample, other in zip(read, expected, strict=True):
        assert sample.shape == other.shape
        assert sample.tobytes() == other.tobytes(), f"wrong data at indices {indices}"
