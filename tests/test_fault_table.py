"""The table in docs/faults.md says what the tests with a mark `fault` show."""

import os
from pathlib import Path

import pytest
from fault_table import check, columns, table

from headrace.formats import formats

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- The table: written by tests/test_fault_table.py -->", "<!-- End -->"


def test_the_table_says_what_is_tested():
    expected = table()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("HEADRACE_WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}\n\n{expected}\n\n{END}{after}", encoding="utf-8")
    else:
        assert written.strip() == expected, "run it again with HEADRACE_WRITE_DOCS=1"


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
