"""Folders with values.npy and offsets.npy, opened by their path."""

import numpy as np
import pytest
from far_folder import FarFolder

import headrace as hr
from headrace.readers.access import fingerprint_of
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


def write(folder, values, offsets):
    folder.mkdir(exist_ok=True)
    np.save(folder / "values.npy", values)
    np.save(folder / "offsets.npy", offsets)
    return folder


class TestContract(RaggedReaderContract):
    dtypes = ("int32",)
    elements = ((), (2, 1))

    def make_reader(self, folder, samples):
        whole = hr.Ragged.of(samples)
        return hr.open(write(folder / "x.ragged", whole.values, whole.offsets))


class TestFarAway(RaggedReaderContract):
    dtypes = ("int32", "float16")
    elements = ((), (2, 1))

    def make_reader(self, folder, samples):
        whole = hr.Ragged.of(samples)
        values = whole.values.astype(whole.dtype.newbyteorder("S"))
        write(folder, values, whole.offsets.astype("uint32"))
        return hr.RaggedFolder(FarFolder(folder))


def test_behind_a_url_it_is_the_same(tmp_path):
    pytest.importorskip("obstore", reason="needs headrace[remote]")
    from web_server import FileServer

    lengths = np.random.default_rng(0).integers(0, 40, 200)
    here = write(tmp_path / "x.ragged", np.arange(lengths.sum()), np.cumsum([0, *lengths]))
    cache = hr.Cache(tmp_path / "cache", max_bytes=2**20)
    with FileServer(tmp_path) as server:
        url = f"{server.url}/x.ragged"
        far = [hr.open(url), hr.RaggedFolder(hr.Remote(url, cache=cache)), hr.RaggedFolder(here)]
        rows = [list(hr.Loader(hr.Packed(one, 64, split="always"), 8, seed=1)) for one in far]
        state = hr.Loader(far[0], 16).state_dict()
    hr.Loader(hr.RaggedFolder(here), 16).load_state_dict(state)
    assert {fingerprint_of(one) for one in far} == {fingerprint_of(hr.open(here))}
    for batches in rows:
        np.testing.assert_equal(batches, rows[-1])


def test_of_a_batch_no_more_than_its_samples_are_fetched(tmp_path):
    write(tmp_path, np.zeros((10_000, 4)), np.arange(0, 10_001, 100))
    far = FarFolder(tmp_path)
    reader = hr.RaggedFolder(far)
    far.asked.clear()
    read_batch(reader, np.array([40, 3, 41]))
    assert sum(request.stop - request.start for request in far.asked) == 3 * 3200


def test_a_folder_of_another_name_is_opened_by_the_format(tmp_path):
    reader = hr.open(write(tmp_path / "x", np.arange(3), np.array([0, 1, 3])), format="ragged")
    assert reader.sample_lengths().tolist() == [1, 2]


@pytest.mark.fault("a file that was cut short", "error", "ragged")
@pytest.mark.parametrize("name", ["values.npy", "offsets.npy"])
def test_a_damaged_file_is_named(tmp_path, name):
    path = write(tmp_path / "x.ragged", np.arange(3), np.array([0, 1, 3])) / name
    whole = path.read_bytes()
    for root in (path.parent, FarFolder(path.parent)):
        path.write_bytes(whole[:-1])
        with pytest.raises(hr.SampleFormatError, match=rf"{name}' can't be read.*header promises"):
            hr.RaggedFolder(root)
        path.unlink()
        with pytest.raises(hr.SampleNotFoundError, match=name):
            hr.RaggedFolder(root)


@pytest.mark.fault("offsets that do not fit to their values", "error", "ragged")
def test_files_that_do_not_fit_together_are_an_error(tmp_path):
    said = r"x\.ragged.*' can't be read: (offsets must be|its dtype is float64; expected are int)"
    for offsets in ([0, 1, 4], [0.0, 1.0, 3.0]):
        near = write(tmp_path / "x.ragged", np.arange(3), np.array(offsets))
        root = FarFolder(near)
        for open_, where in ((hr.open, near), (hr.RaggedFolder, near), (hr.RaggedFolder, root)):
            with pytest.raises(hr.SampleFormatError, match=said):
                open_(where)
    write(tmp_path / "x.ragged", np.zeros((3, 2), order="F"), np.array([0, 3]))
    with pytest.raises(hr.SampleFormatError, match="not in C order"):
        hr.RaggedFolder(root)
