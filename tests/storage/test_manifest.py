"""Manifest: the checksums of files, and what they find."""

import hashlib
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.storage import FileSums, Folder, Manifest, Summing


def sums_of(data, block_bytes):
    """Made another way: from all bytes at once."""
    blocks = [data[i : i + block_bytes] for i in range(0, len(data), block_bytes)]
    digest = hashlib.sha256(data).hexdigest()
    return FileSums(len(data), digest, block_bytes, tuple(map(zlib.crc32, blocks)))


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_summing_does_not_depend_on_how_bytes_are_cut(parts, block_bytes):
    summing = Summing(block_bytes)
    for part in parts:
        summing.update(part)
    assert summing.sums() == sums_of(b"".join(parts), block_bytes)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 40), st.data())
def test_a_flipped_bit_is_found_in_any_range(data, block_bytes, draws):
    sums = sums_of(data, block_bytes)
    start = draws.draw(st.integers(0, len(data) - 1))
    stop = draws.draw(st.integers(start + 1, len(data)))
    begin, end = sums.rounded(start, stop)
    assert begin <= start < stop <= end <= len(data)
    part = bytearray(data[begin:end])
    sums.check(part, begin)
    at = draws.draw(st.integers(0, len(part) - 1))
    part[at] ^= 1 << draws.draw(st.integers(0, 7))
    with pytest.raises(hr.ChecksumError):
        sums.check(part, begin)


def test_of_a_folder_saved_and_loaded(tmp_path):
    files = {"a": b"", "b": b"x" * 5000, "sub/c": b"y"}
    (tmp_path / "sub").mkdir()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    manifest = Manifest.of(tmp_path, block_bytes=1024)
    assert manifest == {name: sums_of(data, 1024) for name, data in files.items()}
    assert Manifest.of(Folder(tmp_path), ["b"], block_bytes=1024) == {"b": manifest["b"]}
    path = tmp_path / "m.json"
    manifest.save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "m.json", "sub"]
    content = json.loads(path.read_bytes())
    assert content["format"] == 1
    for source in (path, str(path), path.read_bytes(), content, manifest):
        assert Manifest.load(source) == manifest


GOOD = {"bytes": 1, "sha256": "00", "block_bytes": 8, "crc32": [1]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"format": 2, "files": {}}',
        b'{"format": 1}',
        {"format": 1, "files": {"a": {}}},
        {"format": 1, "files": {"a": 3}},
        *(
            {"format": 1, "files": {"a": {**GOOD, key: value}}}
            for key, value in [
                ("bytes", -1), ("bytes", "1"), ("bytes", 9), ("sha256", 3), ("block_bytes", 0),
                ("crc32", []), ("crc32", ["1"]), ("crc32", 3),
            ]
        ),
    ],
)  # fmt: skip
def test_damaged_ones_are_refused(content):
    assert len(Manifest.load({"format": 1, "files": {"a": GOOD}})) == 1
    with pytest.raises(hr.ArgumentError, match="must be a manifest"):
        Manifest.load(content)


def test_arguments():
    with pytest.raises(hr.ArgumentTypeError, match="manifest"):
        Manifest.load(3)
    with pytest.raises(hr.ArgumentError, match="block_bytes"):
        Summing(0)
