"""How what lies in a folder is counted for messages, and what is bookkeeping."""

import pytest

from headrace.readers.shared.listing import counted, instead_of, is_bookkeeping, none_of


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.npy"], "1 .npy file"),
        (["a"], "1 other file"),
        (["a.npy", "b/c.npy"], "2 .npy files"),
        (["a.tar.gz", "b.TAR.GZ", "c.tar.gz"], "2 .tar.gz and 1 .TAR.GZ files"),
        (["v1.2.npy", "a.tgz", "x.y/a", ".gz"], "2 other, 1 .npy and 1 .tgz files"),
        ([f"a.{letter}" for letter in "abcdefghij"],
         "1 .a, 1 .b, 1 .c, 1 .d, 1 .e, 1 .f, 1 .g, 1 .h and 2 more files"),
    ],
)  # fmt: skip
def test_files_are_counted_by_what_their_names_end_with(names, said):
    assert counted(names) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ": it has no files at all."),
        (["a.txt"], ": it has 1 .txt file."),
        (["_a.npy"], ": it has 1 .npy file. Names that begin with '_' are bookkeeping, not data."),
    ],
)
def test_what_is_there_is_said_with_what_would_help(names, said):
    assert instead_of(names, (".npy",)) == said


def test_a_url_of_a_file_is_told_to_be_that_of_its_folder():
    said = str(none_of("s3://bucket/a/b.JSONL", [], (".jsonl",), "shards"))
    assert said.endswith("pass 's3://bucket/a' as root, and shards=['b.JSONL'].")
    for root, suffix in [
        ("s3://bucket/a", ".jsonl"),
        ("s3://bucket/a", ""),
        ("/b.jsonl", ".jsonl"),
    ]:
        assert str(none_of(root, [], (suffix,), "shards")).endswith("it has no files at all.")


def test_a_part_of_a_name_may_tell_bookkeeping():
    assert all(map(is_bookkeeping, ["_a", ".a", "a/_b/c", "a/.b", "__MACOSX/a"]))
    assert not any(map(is_bookkeeping, ["a_b", "a/b_", "a.b/c", "k=_v/a"]))
