"""What every storage has to do, as tests: ours and third parties'."""

import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.errors import FileMissingError, StorageError
from headrace.storage.opening import open_storage
from headrace.storage.storage import Request, Storage
from headrace.testing.processes import (
    DEADLINE_SECONDS,
    START_METHODS,
    KeptProcesses,
    in_new_process,
    kept_processes,
    needs_fork,
)

_MANY = 150


class StorageContract:
    """What every storage has to do, as tests. See `headrace.storage.Storage`."""

    def make_storage(self, folder: Path, files: dict[str, bytes]) -> Storage:
        """A storage that holds these files and no others, by name; `folder` is empty."""
        raise NotImplementedError

    @pytest.fixture
    def files(self) -> dict[str, bytes]:
        """Small files, one without bytes, one in a folder and one with an odd name."""
        files = {f"many/{i:03}.bin": bytes([i]) * (i % 40 + 1) for i in range(_MANY)}
        files |= {"a.bin": bytes(range(256)), "empty.bin": b"", "b.txt": b"text"}
        return files | {"sub/a b+c%25é.bin": b"odd", "sub/.hidden.bin": b"1", ".x/y.bin": b"2"}

    @pytest.fixture
    def storage(self, tmp_path: Path, files: dict[str, bytes]) -> Storage:
        folder = tmp_path / "files"
        folder.mkdir()
        return self.make_storage(folder, files)

    @pytest.fixture
    def processes(self, request: pytest.FixtureRequest) -> KeptProcesses:
        return kept_processes(request)

    def test_is_a_storage(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)
        assert open_storage(storage) is storage
        assert isinstance(storage.root, str)
        assert storage.root

    def test_gives_whole_files(self, storage: Storage, files: dict[str, bytes]) -> None:
        names = [name for name in files if "/." not in f"/{name}"]
        assert _fetched(storage, list(map(Request, names))) == [files[name] for name in names]

    def test_gives_parts(self, storage: Storage, files: dict[str, bytes]) -> None:
        bounds = [(0, None), (3, 9), (250, None), (0, 256), (255, 256)]
        bounds += [(7, 7), (256, 256), (256, None)]  # no bytes
        requests = [Request("a.bin", start, stop) for start, stop in bounds]
        requests += [Request("empty.bin", 0, 0), Request("b.txt", 1, 3)]
        expected = [files["a.bin"][start:stop] for start, stop in bounds]
        assert _fetched(storage, requests) == [*expected, b"", b"ex"]

    def test_nothing_is_asked_for(self, storage: Storage) -> None:
        assert list(storage.fetch([])) == []
        assert list(storage.sizes([])) == []

    def test_the_same_is_asked_for_twice(self, storage: Storage, files: dict[str, bytes]) -> None:
        requests = [Request("a.bin", 2, 5), Request("b.txt"), Request("a.bin", 2, 5)]
        part = files["a.bin"][2:5]
        assert _fetched(storage, requests) == [part, b"text", part]

    def test_what_was_given_stays_as_it_is(self, storage: Storage, files: dict[str, bytes]) -> None:
        requests = [Request(name) for name in files if name.startswith("many/")]
        parts = [Request("a.bin", i, i + 100) for i in range(_MANY)]
        kept = [dict(storage.fetch(wanted)) for wanted in (requests, parts) * 3]
        for found, wanted in zip(kept, (requests, parts) * 3, strict=True):
            for position, (name, start, stop) in enumerate(wanted):
                assert found[position] == files[name][start:stop]

    def test_closing_early_drops_the_rest(self, storage: Storage, files: dict[str, bytes]) -> None:
        requests = [Request(name) for name in files if name.startswith("many/")]
        for taken in (0, 1, 20):
            fetching = storage.fetch(requests)
            for _ in range(taken):
                next(fetching)
            fetching.close()
        assert _fetched(storage, requests) == [files[r.name] for r in requests]

    @pytest.mark.parametrize("name", ["nope", "sub/nope.bin", "nope/a.bin"])
    def test_a_missing_file_is_named(self, storage: Storage, name: str) -> None:
        requests = [Request("a.bin"), Request("b.txt"), Request(name), Request("empty.bin")]
        with pytest.raises(FileMissingError, match=name) as raised:
            _fetched(storage, requests)
        assert raised.value.position == 2
        with pytest.raises(FileMissingError, match=name):
            storage.size(name)
        with pytest.raises(FileMissingError, match=name) as raised:
            storage.sizes([request.name for request in requests])
        assert raised.value.position == 2

    @pytest.mark.parametrize("bounds", [(250, 257), (256, 257), (1000, 2000), (-1, 2), (5, 3)])
    def test_never_gives_fewer_bytes(self, storage: Storage, bounds: tuple[int, int]) -> None:
        with pytest.raises(StorageError, match=r"a\.bin") as raised:
            _fetched(storage, [Request("b.txt"), Request("a.bin", *bounds)])
        assert raised.value.position == 1

    def test_sizes(self, storage: Storage, files: dict[str, bytes]) -> None:
        names = ["b.txt", "empty.bin", "a.bin", "sub/a b+c%25é.bin", "a.bin"]
        assert list(storage.sizes(names)) == [len(files[name]) for name in names]
        assert [storage.size(name) for name in names] == list(storage.sizes(names))

    def test_names(self, storage: Storage, files: dict[str, bytes]) -> None:
        expected = sorted(name for name in files if "/." not in f"/{name}")
        assert storage.names() == expected
        assert storage.names((".txt", "mpty.bin")) == ["b.txt", "empty.bin"]
        assert storage.names(("no such suffix",)) == []

    def test_locations(self, storage: Storage) -> None:
        for name in ("a.bin", "sub/a b+c%25é.bin", "nope"):
            assert storage.location(name).endswith(name)
            assert storage.location(name) != name

    def test_a_local_path_is_that_of_the_file(
        self, storage: Storage, files: dict[str, bytes]
    ) -> None:
        folder = storage.local_path()
        for name in ("a.bin", "sub/a b+c%25é.bin"):
            path = storage.local_path(name)
            assert (path is None) == (folder is None)
            if path is not None and folder is not None:
                assert os.path.isabs(path)
                assert Path(path).read_bytes() == files[name]
                assert os.path.samefile(os.path.join(folder, name), path)

    def test_threads_read_at_once(self, storage: Storage, files: dict[str, bytes]) -> None:
        names = [name for name in files if "/." not in f"/{name}"]

        def read(turn: int) -> bool:
            chosen = names[turn:] + names[:turn]
            found = _fetched(storage, list(map(Request, chosen)))
            return found == [files[name] for name in chosen]

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(read, range(18), timeout=DEADLINE_SECONDS))

    def test_pickles_as_a_description(self, storage: Storage, files: dict[str, bytes]) -> None:
        before = pickle.dumps(storage)
        _fetched(storage, [Request("a.bin"), Request("b.txt")])
        again = pickle.dumps(storage)
        assert len(again) < len(before) + 200, "it pickles what it has fetched"
        for pickled in (before, again):
            copy = pickle.loads(pickled)
            assert copy.root == storage.root
            assert _fetched(copy, [Request("a.bin")]) == [files["a.bin"]]

    @pytest.mark.parametrize("method", [one for one in START_METHODS if one != "fork"])
    def test_works_in_another_process(
        self, storage: Storage, files: dict[str, bytes], processes: KeptProcesses, method: str
    ) -> None:
        _fetched(storage, [Request("a.bin")])  # what is open here is not needed there
        assert processes.call(_looked_at, storage, method=method) == _expected(files)

    @needs_fork
    def test_works_in_a_forked_child_and_its_child(
        self, storage: Storage, files: dict[str, bytes], processes: KeptProcesses
    ) -> None:
        for found in processes.call(_around_forks, storage):
            assert found == _expected(files)


_Look = tuple[list[bytes], int, int | None]


def _looked_at(storage: Storage) -> _Look:
    """Some bytes, a size, and the position of a request for a file that is missing."""
    found = _fetched(storage, [Request("a.bin"), Request("b.txt", 1, 3)])
    try:
        _fetched(storage, [Request("b.txt"), Request("nope")])
    except FileMissingError as error:
        return found, storage.size("a.bin"), error.position
    return found, storage.size("a.bin"), None


def _expected(files: dict[str, bytes]) -> _Look:
    return [files["a.bin"], files["b.txt"][1:3]], len(files["a.bin"]), 1


def _around_forks(storage: Storage) -> list[_Look]:
    """What is seen before a fork, in a child, in its child, and in the parent afterwards."""
    looks = [_looked_at(storage), *in_new_process(_in_child, storage, method="fork")]
    return [*looks, _looked_at(storage)]


def _in_child(storage: Storage) -> list[_Look]:
    return [_looked_at(storage), in_new_process(_looked_at, storage, method="fork")]


def _fetched(storage: Storage, requests: Sequence[Request]) -> list[bytes]:
    """The bytes for each request, in their order."""
    found: dict[int, bytes] = {}
    for position, data in storage.fetch(requests):
        assert position not in found, "a request is answered twice"
        found[position] = bytes(data)
    assert sorted(found) == list(range(len(requests)))
    return [found[position] for position in range(len(requests))]
