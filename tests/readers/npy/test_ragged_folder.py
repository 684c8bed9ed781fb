"""Folders with values.npy and offsets.npy, opened by their path."""

import numpy as np
import pytest

import headrace as hr
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


def test_a_folder_of_another_name_is_opened_by_the_format(tmp_path):
    reader = hr.open(write(tmp_path / "x", np.arange(3), np.array([0, 1, 3])), format="ragged")
    assert reader.sample_lengths().tolist() == [1, 2]


@pytest.mark.fault("a file that was cut short", "error", "ragged")
@pytest.mark.parametrize("name", ["values.npy", "offsets.npy"])
def test_a_damaged_file_is_named(tmp_path, name):
    path = write(tmp_path / "x.ragged", np.arange(3), np.array([0, 1, 3])) / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(hr.SampleFormatError, match=rf"{name}' can't be read.*header promises"):
        hr.open(tmp_path / "x.ragged")
    path.unlink()
    with pytest.raises(hr.SampleNotFoundError, match=name):
        hr.open(tmp_path / "x.ragged")


@pytest.mark.fault("offsets that do not fit to their values", "error", "ragged")
def test_files_that_do_not_fit_together_are_an_error(tmp_path):
    write(tmp_path / "x.ragged", np.arange(3), np.array([0, 1, 4]))
    with pytest.raises(hr.SampleFormatError, match=r"x\.ragged' can't be read: offsets must be"):
        hr.open(tmp_path / "x.ragged")
    with pytest.raises(hr.ArgumentError, match="of this machine"):
        hr.open("https://localhost/x.ragged")
