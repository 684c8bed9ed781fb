"""SampleFiles: files that hold one sample each, read a batch at a time from any storage.

What readers of such files have in common: each adds how the bytes of a file become a sample.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from headrace.arrays import Array, Indices
from headrace.errors import FileMissingError, SampleNotFoundError, StorageError
from headrace.ragged import RaggedOut
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError, sample_error, while_reading
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.names import Names, check_names
from headrace.readers.shared.near_names import instead_of_missing
from headrace.storage.opening import Root, open_storage
from headrace.storage.ranged_file import RangedFile
from headrace.storage.stamps import Stamps, stamps_of_files
from headrace.storage.storage import Request, Storage

T = TypeVar("T")

# So many samples are looked at together, and so many files that are far away at once.
LOOKED_AT_TOGETHER, _FAR_AT_ONCE = 1024, 32

# Of samples that are the bytes of files, which are not decoded.
ENCODED = Spec((None,), np.dtype(np.uint8))


class InFiles:
    """What readers have in common whose samples lie in `SampleFiles`."""

    _files: "SampleFiles"

    @property
    def ids(self) -> list[str]:
        """The ids, in order, in a new list at each call."""
        return self._files.names.without_suffix()

    def ids_at(self, indices: Indices) -> list[str]:
        """The ids of these samples."""
        return self._files.names.at(indices, with_suffix=False)

    def __len__(self) -> int:
        return len(self._files)

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        return self._files.stamps(indices)


class SampleFiles:
    """The files of samples below a root.

    Args:
        root: a folder, a URL, or a storage.
        ids: the samples in their order, without `suffix`. Default: all files below root that end
            with one of `suffixes`, sorted; those whose name, or that of a folder, begins with a dot
            or an underscore are passed over.
        suffixes: what the names of the files end with. Ids leave it out if there is only one.
    """

    def __init__(
        self, root: Root, ids: Iterable[str | int] | None, suffixes: tuple[str, ...]
    ) -> None:
        self.storage: Storage = open_storage(root)
        suffix = suffixes[0] if len(suffixes) == 1 else ""
        if ids is None:
            listed = samples_below(self.storage, suffixes, "ids")
            names = sorted(name.removesuffix(suffix) for name in listed)
        else:
            names = check_names(ids)
        self.names = Names(names, suffix)

    def __len__(self) -> int:
        return len(self.names)

    def location(self, index: int) -> str:
        """The path or URL of the file of sample `index`."""
        return self.storage.location(self.names[index])

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file: see `stamps_of_files`."""
        return stamps_of_files(self.storage, list(self.names.at(indices)))

    def read(self, indices: Indices, decode: Callable[[memoryview, int], None]) -> None:
        """Calls `decode(bytes of the file, row)` for each row of `indices`, in any order.

        Raises:
            SampleNotFoundError, SampleFormatError: the file does not exist, or `decode` raised a
                `FormatError`.
            StorageError: it could not be read.
        """
        requests = [Request(name) for name in self.names.at(indices)]
        for row, data in fetched(self.storage, requests, indices):
            try:
                decode(data, row)
            except FormatError as error:
                index = int(indices[row])
                raise sample_error(error, index, self.location(index)) from error.__cause__
            except Exception as error:
                index = int(indices[row])
                while_reading(error, index, f", {self.location(index)!r}")
                raise

    def sizes(self) -> Indices:
        """The bytes of each file: int64, shape (n,); raises as `read` does."""
        sizes = np.empty(len(self), np.int64)
        for indices in self._together():
            names = self.names.at(indices)
            with _of_samples(self.storage, names.__getitem__, indices):
                sizes[indices] = self.storage.sizes(names)
        return sizes

    def looked_at(
        self, piece: Callable[[int], tuple[int, int]], look: Callable[[RangedFile], T]
    ) -> Iterator[T]:
        """`look(file)` of each file, in order; raises as `read` does.

        Args:
            piece: of a file of so many bytes, where the part begins and ends that is fetched
                before, for many files at once. What else is looked at is fetched then.
        """
        for indices in self._together():
            names = self.names.at(indices)
            with _of_samples(self.storage, names.__getitem__, indices):
                sizes = self.storage.sizes(names)
            requests = [
                Request(name, *piece(size)) for name, size in zip(names, sizes, strict=True)
            ]
            pieces = dict(fetched(self.storage, requests, indices))
            files = [
                RangedFile(self.storage, name, size, {requests[row].start: pieces[row]})
                for row, (name, size) in enumerate(zip(names, sizes, strict=True))
            ]
            look_at = functools.partial(self._look_at, look)
            if self.storage.local_path() is not None:
                yield from map(look_at, indices.tolist(), files)
                continue
            from concurrent.futures import ThreadPoolExecutor  # which imports logging

            with ThreadPoolExecutor(_FAR_AT_ONCE) as threads:
                yield from threads.map(look_at, indices.tolist(), files)

    def _look_at(self, look: Callable[[RangedFile], T], index: int, file: RangedFile) -> T:
        try:
            return look(file)
        except (FormatError, StorageError) as error:
            raise sample_error(error, index, self.location(index)) from error.__cause__

    def _together(self) -> Iterator[Indices]:
        n = len(self)
        for begin in range(0, n, LOOKED_AT_TOGETHER):
            yield np.arange(begin, min(n, begin + LOOKED_AT_TOGETHER))

    def read_encoded(self, indices: Indices, out: RaggedOut) -> None:
        """Writes the bytes of the files into `out`, whose samples are as `ENCODED`.

        Raises:
            SampleNotFoundError, StorageError: as of `read`.
        """

        def put(data: memoryview, row: int) -> None:
            out[row] = as_bytes(data)

        self.read(indices, put)


def as_bytes(data: bytes | memoryview) -> Array:
    """The bytes of a file as a sample."""
    return np.frombuffer(data, np.uint8)


def fetched(
    storage: Storage, requests: Sequence[Request], indices: Indices
) -> Iterator[tuple[int, memoryview]]:
    """`storage.fetch(requests)`, where request i is for sample `indices[i]`.

    What it raises names the sample.
    """
    with _of_samples(storage, lambda position: requests[position].name, indices):
        yield from storage.fetch(requests)


@contextlib.contextmanager
def _of_samples(
    storage: Storage, name_at: Callable[[int], str], indices: Indices
) -> Iterator[None]:
    """What the storage raises within over a file names its sample, `indices[position]`."""
    try:
        yield
    except FileMissingError as error:
        index = _index_of(error, indices)
        path = storage.local_path(name_at(error.position or 0))
        there = "" if path is None else instead_of_missing(path)
        raise SampleNotFoundError.at(
            index, f"sample {index} does not exist: {error}{there}"
        ) from None
    except StorageError as error:
        while_reading(error, _index_of(error, indices))
        raise


def _index_of(error: StorageError, indices: Indices) -> int:
    return int(indices[error.position or 0])
