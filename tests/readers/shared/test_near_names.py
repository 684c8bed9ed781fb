"""What is said to lie where a file is missing."""

import pytest

from headrace.readers.shared.near_names import instead_of_missing


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("1.npy", "00001.npy"),
        ("00001.npy", "1.npy"),
        ("img_01_a.png", "img_1_a.png"),
        ("1.npy.npy", "1.npy"),
        ("a.npy", "a.NPY"),
        ("CAT.npy", "cat.npy"),
        ("17", "17.jpg"),
    ],
)
def test_a_name_that_is_easily_confused(tmp_path, wanted, there):
    assert instead_of_missing(str(tmp_path / wanted)) == ""
    (tmp_path / there).touch()
    assert instead_of_missing(str(tmp_path / wanted)) == f"; {there!r} lies there"


@pytest.mark.parametrize("there", ["2.npy", "11.npy", "1.json", "a.npy"])
def test_other_names_are_not(tmp_path, there):
    (tmp_path / there).touch()
    assert instead_of_missing(str(tmp_path / "1.npy")) == ""
    assert instead_of_missing(str(tmp_path / "none" / "1.npy")) == ""
    assert instead_of_missing(str(tmp_path / "x\0.npy")) == ""
