"""NpyFiles: which samples there are, by their ids or by what lies in the folder."""

import gc
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from reading import read

import headrace as hr


@pytest.fixture
def folder(tmp_path):
    """A folder of samples that hold their numbers, some in folders of their own."""
    root = tmp_path / "root"
    names = ["id-0", "id-1", "7", "cats/0", "cats/1", "cats/wild/0"]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / f"{name}.npy", np.array([number]))
    return root


def numbers(reader):
    return read(reader)[:, 0].tolist()


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["id-1", "id-0"], [1, 0]),
        (("cats/wild/0", "cats/0"), [5, 3]),
        (["id-0", "id-0"], [0, 0]),
        ([7, "id-1"], [2, 1]),
        (np.array([7, 7]), [2, 2]),
        (np.array(["id-1", "id-0"]), [1, 0]),
        (np.array(["id-1", 7], object), [1, 2]),
        ([np.str_("id-1"), np.int64(7)], [1, 2]),
        (range(7, 8), [2]),
        ({"id-1": "a", "id-0": "b"}, [1, 0]),
        ({"id-1": "a", "id-0": "b"}.keys(), [1, 0]),
        pytest.param((name for name in ["id-1", "id-0"]), [1, 0], id="a generator"),
    ],
    ids=str,
)
def test_ids_give_the_samples_and_their_order(folder, ids, expected):
    reader = hr.NpyFiles(folder, ids)
    assert numbers(reader) == expected
    assert len(reader) == len(expected)


ODD_NAMES = ["ünï/çödé", "with space", "a'b\"c", "new\nline", "%s {0}", "a..b", "a../b", "-1", "~",
             "日本", "\udcff"]  # fmt: skip
HIDDEN_NAMES = ["...", "..a", ".a/b", "a/..."]


@pytest.mark.parametrize("name", ODD_NAMES + HIDDEN_NAMES)
def test_odd_names_below_the_root_are_found(tmp_path, name):
    file = tmp_path / f"{name}.npy"
    file.parent.mkdir(exist_ok=True)
    np.save(file, np.array([7]))
    ways = [hr.NpyFiles(tmp_path, [name])]
    if name in ODD_NAMES:
        ways.append(hr.NpyFiles(tmp_path))
    for reader in ways:
        assert reader.ids == [name]
        assert reader.path(0) == str(file)
        assert numbers(reader) == [7]


@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("", "not empty"),
        ("/etc/passwd", "not absolute"),
        ("..", "without '..'"),
        ("../x", "without '..'"),
        ("cats/../../x", "without '..'"),
        ("cats/..", "without '..'"),
        ("a\0b", "NUL"),
        ("\0", "NUL"),
        (1.5, "a str or an int, but a float"),
        (None, "a str or an int, but a NoneType"),
        (True, "a str or an int, but a bool"),
        (b"id-0", "a str or an int, but a bytes"),
        (("id-0",), "a str or an int, but a tuple"),
        ("\ud800", "a name that a file can have"),
    ],
)
def test_bad_id_is_refused_by_its_number(folder, bad, said, at):
    ids = ["id-0", "id-1", "cats/0", "cats/1"]
    ids.insert(at, bad)
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        hr.NpyFiles(folder, ids)
    assert str(caught.value).startswith(f"ids[{at}] must be ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ("id-0", "an iterable of ids, not a single one"),
        (b"id-0", "an iterable of ids, not a single one"),
        ({"id-0", "id-1"}, "Pass sorted(ids)"),
        (frozenset({"id-0"}), "Pass sorted(ids)"),
        (5, "an iterable of ids"),
        ([], "at least one id"),
        (np.array([], str), "at least one id"),
    ],
)
def test_ids_as_a_whole_are_refused_by_name(folder, ids, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        hr.NpyFiles(folder, ids)
    assert str(caught.value).startswith("ids must be ")
    assert said in str(caught.value)


def test_folder_is_scanned_in_sorted_order(folder):
    (folder / "not a sample.txt").write_text("")
    (folder / "no-suffix").write_text("")
    (folder / "empty").mkdir()
    (folder / "folder.npy").mkdir()
    np.save(folder / "folder.npy" / "z.npy", np.array([9]))
    reader = hr.NpyFiles(folder)
    assert reader.ids == sorted(reader.ids)
    expected = {"7": 2, "cats/0": 3, "cats/1": 4, "cats/wild/0": 5, "folder.npy/z": 9, "id-0": 0,
                "id-1": 1}  # fmt: skip
    assert dict(zip(reader.ids, numbers(reader), strict=True)) == expected


def test_a_dot_in_the_path_of_the_root_itself_does_not_matter(tmp_path):
    root = tmp_path / ".hidden" / "root"
    root.mkdir(parents=True)
    np.save(root / "a.npy", np.zeros(1))
    assert hr.NpyFiles(root).ids == ["a"]


def test_links_to_files_and_folders_elsewhere_are_followed(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "a.npy", np.array([9]))
    (folder / "link").symlink_to(elsewhere)
    (folder / "link.npy").symlink_to(elsewhere / "a.npy")
    got = dict(zip(hr.NpyFiles(folder).ids, numbers(hr.NpyFiles(folder)), strict=True))
    assert got["link/a"] == got["link"] == 9


def test_loop_of_links_ends(folder):
    before = hr.NpyFiles(folder).ids
    (folder / "cats" / "up").symlink_to(folder)
    (folder / "cats" / "self").symlink_to(folder / "cats")
    assert hr.NpyFiles(folder).ids == before


def test_samples_do_not_depend_on_the_order_in_which_a_folder_is_listed(tmp_path):
    # Two ways to one folder: which one names the samples must not be up to the file system.
    for number in range(30):
        names = ["a", "b"] if number % 2 else ["b", "a"]
        root = tmp_path / str(number)
        (root / names[0]).mkdir(parents=True)
        np.save(root / names[0] / "x.npy", np.zeros(1))
        (root / names[1]).symlink_to(root / names[0])
    assert {tuple(hr.NpyFiles(tmp_path / str(number)).ids) for number in range(30)} == {("a/x",)}


@pytest.mark.parametrize("root", ["missing", "file"])
def test_root_must_be_a_folder(tmp_path, root):
    (tmp_path / "file").write_text("")
    with pytest.raises(hr.ArgumentError, match=r"^root must be an existing folder, but .* given"):
        hr.NpyFiles(tmp_path / root)


def test_root_may_be_relative_and_the_working_folder_may_change(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    reader = hr.NpyFiles("root", ["id-1"])
    monkeypatch.chdir("/")
    assert numbers(reader) == [1]
    assert numbers(pickle.loads(pickle.dumps(reader))) == [1]


def test_fingerprint_tells_ids_and_their_order_apart(folder):
    orders = [["id-0", "id-1"], ["id-1", "id-0"], ["id-0"], ["id-0", "7"]]
    prints = [hr.NpyFiles(folder, ids).fingerprint() for ids in orders]
    assert len(set(prints)) == len(orders)
    assert prints[0] == hr.NpyFiles(folder, iter(["id-0", "id-1"])).fingerprint()


def test_many_ids_are_few_objects_and_little_memory(folder):
    n = 200_000

    def ids():
        yield "id-0"
        for number in range(1, n):
            yield f"missing-{number:06}"

    hr.NpyFiles(folder, ["id-0"])  # what is imported and cached once does not count
    gc.collect()
    tracemalloc.start()
    try:
        blocks, (held, _) = sys.getallocatedblocks(), tracemalloc.get_traced_memory()
        reader = hr.NpyFiles(folder, ids())
        gc.collect()
        more_blocks = sys.getallocatedblocks() - blocks
        more_held = tracemalloc.get_traced_memory()[0] - held
    finally:
        tracemalloc.stop()
    assert len(reader) == n
    assert more_blocks < 2000
    assert more_held < n * (len("missing-000000.npy\0") + 2 * 4) + 50_000
    assert reader.path(n - 1) == os.path.join(folder, "missing-199999.npy")
