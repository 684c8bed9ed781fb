"""The contract of readers finds what it is there to find: each broken reader fails its test."""

import contextlib
import inspect
import threading

import numpy as np
import pytest
from tied_to_a_process import Good

import headrace as hr
from headrace.testing import ReaderContract

SAMPLES = ReaderContract().make_samples(8, (3, 4), "float32")


class OffByOne(Good):
    def read(self, indices, out):
        super().read((indices + 1) % len(self), out)


class SortsIndices(Good):
    def read(self, indices, out):
        super().read(np.sort(indices), out)


class WrapsIndices(Good):
    def read(self, indices, out):
        super().read(indices % len(self), out)


class ReturnsItsArray(Good):
    def read(self, indices, out):
        out[...] = self.array[indices]
        return out


class WritesARowTooMany(Good):
    def read(self, indices, out):
        super().read(indices, out)
        if out.base is not None and len(out.base) > len(out):
            out.base[len(out) + 2] = 0


class FillsWhateverItGets(Good):
    def read(self, indices, out):
        if ((indices < 0) | (indices >= len(self))).any():
            raise IndexError
        with np.errstate(all="ignore"):
            np.copyto(out, np.resize(self.array[indices], out.shape), casting="unsafe")


class SharesABuffer(Good):
    """Copies through an array that all threads share."""

    def __init__(self, array):
        super().__init__(array)
        self.buffer = np.empty_like(array[:1])
        self.two_threads = threading.Barrier(2)

    def read(self, indices, out):
        for row, index in enumerate(indices.tolist()):
            self.buffer[:] = self.array[index]
            # Two threads have written before either goes on; one that is left alone goes on too.
            with contextlib.suppress(threading.BrokenBarrierError):
                self.two_threads.wait(0.5)
            out[row] = self.buffer


class HoldsObjects(Good):
    def __init__(self, array):
        super().__init__(array)
        self.rows = list(array)


class ForeignByteOrder(Good):
    @property
    def spec(self):
        return hr.Spec(self.array.shape[1:], self.array.dtype.newbyteorder("S"))


class NewFingerprints(Good):
    """Names its samples by where they are in memory."""

    def fingerprint(self):
        return str(id(self))


class Short(Good):
    def __len__(self):
        return 7


class HidesWhatIsBad(hr.NpyFiles):
    """Says neither which file is bad nor its index."""

    def read(self, indices, out):
        try:
            super().read(indices, out)
        except hr.SampleError as error:
            raise type(error)("a sample can't be read") from None


class WaitsForPipes(hr.NpyFiles):
    """Opens files as anybody would."""

    def read(self, indices, out):
        for index in indices.tolist():
            with open(self.path(index), "rb") as file:
                file.read(1)
        super().read(indices, out)


class TakesAllForDamage(hr.NpyFiles):
    """Says of a file that can't be opened that it is a bad sample."""

    def read(self, indices, out):
        try:
            super().read(indices, out)
        except OSError as error:
            raise hr.SampleFormatError(f"{error} {error.__notes__}") from None


class FewerIds(hr.NpyFiles):
    @property
    def ids(self):
        return super().ids[1:]


class IdsOfOthers(hr.NpyFiles):
    @property
    def ids(self):
        return super().ids[::-1]


class ContractOf(ReaderContract):
    def __init__(self, kind):
        self.kind = kind

    def make_reader(self, folder, samples):
        if not issubclass(self.kind, hr.NpyFiles):
            return self.kind(samples)
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return self.kind(folder)

    def sample_file(self, folder, index):
        return folder / f"{index:04}.npy"


def run(kind, name, folder, options):
    """Runs one test of the contract on readers of this kind, as pytest would."""
    contract = ContractOf(kind)
    reader = contract.make_reader(folder, SAMPLES)
    arguments = {"reader": reader, "samples": SAMPLES, "folder": folder, "tmp_path": folder}
    test = getattr(contract, name)
    test(**{key: (arguments | options)[key] for key in inspect.signature(test).parameters})


@pytest.mark.parametrize(
    ("broken", "name", "options"),
    [
        (Short, "test_follows_the_protocol", {}),
        (OffByOne, "test_reads_any_indices", {"indices": [2]}),
        (SortsIndices, "test_reads_any_indices", {"indices": [2, 1]}),
        (ForeignByteOrder, "test_reads_any_indices", {"indices": [2]}),
        (OffByOne, "test_gives_back_every_dtype", {"dtype": "bool"}),
        (OffByOne, "test_gives_back_every_shape", {"shape": ()}),
        (ReturnsItsArray, "test_fills_the_given_array_and_nothing_beside_it", {}),
        (WritesARowTooMany, "test_fills_the_given_array_and_nothing_beside_it", {}),
        (WrapsIndices, "test_refuses_indices_out_of_range", {"index": 8}),
        (WrapsIndices, "test_refuses_indices_out_of_range", {"index": -1}),
        (FillsWhateverItGets, "test_refuses_an_out_that_does_not_fit", {}),
        (SharesABuffer, "test_threads_may_read_at_once", {}),
        (Good, "test_pickles_as_a_description", {}),
        (HoldsObjects, "test_holds_no_object_for_each_sample", {}),
        (NewFingerprints, "test_fingerprint_survives_pickling", {}),
        *(
            (HidesWhatIsBad, "test_names_the_file_and_index_of_a_bad_sample", {"kind": kind})
            for kind in ("removed", "cut short", "emptied", "overwritten")
        ),
        (WaitsForPipes, "test_refuses_what_can_not_be_read", {"kind": "a pipe"}),
        (TakesAllForDamage, "test_refuses_what_can_not_be_read", {"kind": "a folder"}),
        (TakesAllForDamage, "test_refuses_what_can_not_be_read", {"kind": "a link to itself"}),
        (FewerIds, "test_ids_name_the_samples", {}),
        (IdsOfOthers, "test_ids_name_the_samples", {}),
    ],
)
def test_broken_reader_is_found(tmp_path, broken, name, options):
    for kind in (hr.NpyFiles, broken):
        (tmp_path / kind.__name__).mkdir()
    run(hr.NpyFiles, name, tmp_path / "NpyFiles", options)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(broken, name, tmp_path / broken.__name__, options)
