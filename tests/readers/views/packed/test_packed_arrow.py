"""Packed rows of lists and strings in Arrow files."""

import numpy as np
import pytest
from reading import read

import headrace as hr

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")

TEXTS = ["to be", "or", "", "not to be", "that is", "the question: whether 'tis nobler"]


@pytest.fixture
def path(tmp_path):
    table = pa.table(
        {
            "tokens": [list(text.encode()) for text in TEXTS],
            "weights": [[0.5 * byte for byte in text.encode()] for text in TEXTS],
            "text": TEXTS,
        }
    )
    path = tmp_path / "texts.arrow"
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


@pytest.mark.parametrize("split", ["long", "always"])
def test_columns_are_packed_alongside(path, split):
    columns = hr.Arrow(path, columns=["tokens", "weights"], ragged=True)
    batch = read(hr.Packed(columns, 8, split))
    assert list(batch) == ["tokens", "weights", "segment_ids", "positions"]
    assert np.array_equal(batch["weights"], 0.5 * batch["tokens"])
    packed = np.sort(batch["tokens"][batch["segment_ids"] > 0])
    assert bytes(packed.astype(np.uint8)) == bytes(sorted("".join(TEXTS).encode()))


def test_strings_are_packed_as_their_bytes(path):
    texts = hr.Arrow(path, columns="text", ragged=True)
    batch = read(hr.Packed(texts, 40))
    found = {
        bytes(row[ids == segment]).decode()
        for row, ids in zip(batch["values"], batch["segment_ids"], strict=True)
        for segment in range(1, ids.max() + 1)
    }
    assert found == set(TEXTS) - {""}
