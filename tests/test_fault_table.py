"""The table in docs/faults.md says what the tests with a mark `fault` show."""

import pytest
from docs_table import check_table
from fault_table import check, columns, table

from headrace.formats import formats


def test_the_table_says_what_is_tested():
    check_table("faults.md", "tests/test_fault_table.py", table())


def test_a_group_has_the_formats_that_declare_it():
    assert list(columns(["every format"])) == list(formats())
    assert set(columns(["folders of files"])) >= {"npy-files", "parquet", "images", "tar"}
    of_files = {"npy-files", "npz-files", "images", "audio", "files"}
    assert set(columns(["a file for each sample"])) == of_files
    assert "hdf5" in columns(["one path"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x", "surprise", "npy"), "none of the outcomes"),
        (("x", "error", "tape"), "none of the columns"),
        (("x", "error"), "no column"),
    ],
)
def test_a_mark_that_says_nothing_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        check(*arguments)
