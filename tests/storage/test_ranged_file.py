"""A file of ranges reads as the same file opened here."""

import io

import numpy as np
import pytest
from far_folder import FarFolder
from hypothesis import given
from hypothesis import strategies as st

from headrace.storage.ranged_file import RangedFile
from headrace.storage.storage import Request

SIZE = 1000
DATA = np.random.default_rng(0).bytes(SIZE)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranged")
    (folder / "x").write_bytes(DATA)
    return FarFolder(folder)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]),
            st.integers(0, SIZE + 50),
            st.integers(-1, 300),
        ),
        max_size=12,
    ),
    pieces=st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 200)), max_size=3),
    least=st.sampled_from([0, 1, 150, 2 * SIZE]),
    buffered=st.booleans(),
)
def test_it_reads_as_a_file(storage, steps, pieces, least, buffered):
    here = {start: memoryview(DATA)[start : start + length] for start, length in pieces}
    file = RangedFile(storage, "x", SIZE, here, least_fetched_bytes=least)
    read = io.BufferedReader(file, 64) if buffered else file
    expected = io.BytesIO(DATA)
    for whence, offset, nbytes in steps:
        if whence == io.SEEK_END:
            offset -= SIZE + 50
            offset = max(offset, -SIZE)
        assert read.seek(offset, whence) == expected.seek(offset, whence) == read.tell()
        assert read.read(nbytes) == expected.read(nbytes)


def test_what_is_here_is_not_fetched(storage):
    storage.asked.clear()
    file = RangedFile(storage, "x", SIZE, {100: memoryview(DATA)[100:200]})
    file.seek(110)
    assert file.view(80) == DATA[110:190]
    assert storage.asked == []
    assert file.view(80) == DATA[190:270]
    assert storage.asked == [Request("x", 190, 270)]


def test_what_lies_close_behind_is_fetched_along(storage):
    storage.asked.clear()
    file = RangedFile(storage, "x", SIZE, least_fetched_bytes=500)
    for start in (0, 400, 499):
        file.seek(start)
        assert file.view(1) == DATA[start : start + 1]
    assert storage.asked == [Request("x", 0, 500)]
    file.seek(900)
    assert file.view(500) == DATA[900:]
    assert file.view(1) == b""
    assert storage.asked[1:] == [Request("x", 900, 1000)]
