"""The datasets of an HDF5 file that is open in this process. Requires h5py."""

import os

import h5py
import numpy as np

from headrace.arguments import check_dtype
from headrace.errors import ArgumentError, HeadraceError, StorageError, bad_value, unreadable
from headrace.readers.hdf5.filters import check_filters
from headrace.readers.hdf5.layout import (
    FAILURES,
    ByBlock,
    BySample,
    RaggedThroughH5py,
    open_dataset,
)
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import bad_file, is_of_storage, missing_file
from headrace.readers.shared.named_arrays import Chosen, ChosenArrays, StoredArray, stored_array
from headrace.readers.shared.samples.ragged_parts import REMEDY, AnyLength, ragged_keys
from headrace.storage.local.regular import check_regular

# What HDF5 1.14 says of a mark in the file that whoever writes to it takes away in the end.
_IS_WRITTEN_TO = "file is already open for"


class Opened:
    """The datasets of a file that is open in this process, by their keys in a sample.

    Args:
        chosen: a dataset, a group, several datasets by key, or None: all.
        ragged: which of them may have rows of any length.
    """

    def __init__(self, path: str, chosen: Chosen, ragged: AnyLength) -> None:
        self.stored: dict[str, StoredArray] = {}
        self.data: dict[str, BySample | ByBlock] = {}
        try:
            self._statuses = {path: os.stat(path)}
            check_regular(path, self._statuses[path].st_mode)
            # Where the file system has no locks, none is needed to read.
            self._file = h5py.File(path, "r", locking="best-effort")
            names = _names(self._file, chosen)
            named = ragged_keys(ragged, names)
            for key, name in names.items():
                dataset = _dataset(self._file, name)
                behind_link = os.path.abspath(dataset.file.filename)
                self._statuses.setdefault(behind_link, os.stat(behind_link))
                if RaggedThroughH5py.can_read(dataset) and (ragged is True or key in named):
                    check_filters(dataset, path)
                    rows = self.data[key] = RaggedThroughH5py(dataset)
                    spec = Spec((None,), check_dtype(rows.dtype))
                    self.stored[key] = StoredArray(name, len(dataset), spec, rows.block)
                    continue
                if key in named:
                    allowed = f"keys of datasets with rows of any length; {name!r} has others"
                    raise bad_value("ragged", key, allowed)
                remedy = f"{REMEDY}. " if RaggedThroughH5py.can_read(dataset) else _of_rows(dataset)
                # First, as it refuses what can't be read.
                shape, dtype = dataset.shape, dataset.dtype
                stored = stored_array("datasets", name, shape, dtype, 1, path, remedy)
                check_filters(dataset, path)
                data = self.data[key] = open_dataset(dataset)
                self.stored[key] = stored._replace(block=data.block)
        except FileNotFoundError:
            raise missing_file(path) from None
        except HeadraceError:
            raise
        except FAILURES as error:
            raise _explained(path, error) from error

    def cut(self) -> str | None:
        """A file that is shorter than it was, if any; HDF5 would read zeros, and a map crash."""
        for path, was in self._statuses.items():
            try:
                now = os.stat(path)
            except OSError:
                continue  # what is removed or out of reach by its name is still open
            if os.path.samestat(now, was) and now.st_size < was.st_size:
                return path
        return None


def reopened(path: str, arrays: ChosenArrays) -> Opened:
    """The datasets in another process than the one that chose them."""
    ragged = tuple(key for key, array in arrays.found.items() if array.spec.ragged)
    opened = Opened(path, arrays.names, ragged)
    reason = arrays.check_again(opened.stored)
    if reason is not None:
        raise bad_file(path, reason)
    return opened


def _of_rows(dataset: h5py.Dataset) -> str:
    """Why its rows of any length can't be read, if it has such, as part of a message."""
    of_rows = h5py.check_vlen_dtype(dataset.dtype)
    if of_rows is None:
        return ""
    if dataset.ndim != 1:
        return "Rows of any length have one axis before them, that of the samples. "
    if not np.dtype(of_rows).isnative:
        return "Rows of any length must be in this machine's byte order, as h5py misreads others. "
    return ""


def _explained(path: str, error: Exception) -> HeadraceError:
    """The error about a file that HDF5 refuses to open."""
    if isinstance(error, BlockingIOError):
        return StorageError(
            f"{path!r} is open for writing in another program. Close it there. If nothing is "
            "written to it any more, set HDF5_USE_FILE_LOCKING=FALSE in the environment of this one"
        )
    if _IS_WRITTEN_TO in str(error):
        return StorageError(
            f"{path!r} is open for writing, or the program that wrote to it was killed. Close it; "
            "if no program has it open, check what it holds and call `h5clear --status` of HDF5"
        )
    return unreadable(path, error) if is_of_storage(error) else bad_file(path, error)


def _names(file: h5py.File, chosen: Chosen) -> dict[str, str]:
    """The names of the datasets in the file, by key."""
    if isinstance(chosen, dict):
        return chosen
    group = file if chosen is None else file.get(chosen)
    if not isinstance(group, h5py.Group):
        return {str(chosen): str(chosen)}
    names = {name: f"{group.name}/{name}".strip("/") for name in _inside(group)}
    if not names:
        raise ArgumentError(
            f"path must contain datasets, but {group.name!r} in {file.filename!r} has none."
        )
    return names


def _inside(group: h5py.Group) -> list[str]:
    """The names of all datasets below a group that have axes."""
    names: list[str] = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            names.append(name)

    group.visititems(visit)
    return names


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
        there = ", ".join(map(repr, _inside(file))) or "none"
        raise bad_value("datasets", name, f"a dataset with axes in {file.filename!r}: {there}")
    return dataset
