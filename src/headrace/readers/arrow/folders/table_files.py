"""Which files of a folder hold the rows of its table: what its own lists say, where it has some.

`datasets` of Hugging Face lists the files of a dataset in state.json, and the splits of several in
dataset_dict.json; what else lies there are results that it keeps. Delta, Iceberg and Hudi list in a
log which of the files count. Source: save_to_disk of datasets 5.2; the protocols of Delta 4.0 and
of Iceberg, version 2; the layout of Hudi 1.0.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from headrace.errors import ArgumentError, FileMissingError, StorageError
from headrace.readers.shared.listing import chosen_among, none_of, warn_of_others
from headrace.readers.shared.names import check_names
from headrace.readers.shared.splits import check_numbered
from headrace.storage.storage import Request, Storage

_STATE, _DICT, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"
# Datasets before 1.2 kept the rows of a selection beside those that they are of.
_SELECTIONS = ("_indices_data_files", "_indices_files")
_ICEBERG = re.compile(r"(?:(.*)/)?metadata/[^/]*\.metadata\.json\Z")
_DELTA = re.compile(r"(?:(.*)/)?_delta_log/")
_HUDI = ".hoodie/hoodie.properties"
_KEPT = re.compile(r"(?:.*/)?(?:cache-|tmp)[^/]*\Z")


def table_files(storage: Storage, suffixes: tuple[str, ...]) -> list[str]:
    """The names of the files below a root that hold the rows of its table, in their order.

    Args:
        storage: where they lie.
        suffixes: what their names end with.

    Raises:
        ArgumentError: there are none, or they are of several tables, or of one with a log.
        StorageError: a list can't be read.
    """
    names = storage.names()
    chosen = chosen_among(names, suffixes)
    if ".arrow" in suffixes:
        listed = _saved_by_datasets(storage, names, chosen)
        if listed is not None:
            return listed
    else:
        _refuse_logs(storage, names)
    if not chosen:
        raise none_of(storage.root, names, suffixes, "names")
    check_numbered(storage.root, chosen, "names")
    warn_of_others(storage.root, names, chosen, suffixes, "names")
    return chosen


def _saved_by_datasets(storage: Storage, names: list[str], chosen: list[str]) -> list[str] | None:
    """The files that a dataset of Hugging Face lists; None if there is none."""
    if _STATE in names:
        state = _json(storage, _STATE)
        if "_data_files" in state:
            return _listed(storage.root, state)
    for name in names:
        folder, base = posixpath.split(name)
        if base == _DICT:
            splits = _json(storage, name).get("splits", [])
            raise _several(storage.root, [posixpath.join(folder, split) for split in splits])
    folders = {posixpath.dirname(name) for name in chosen}
    states = {posixpath.dirname(name) for name in names if posixpath.basename(name) == _STATE}
    saved = [
        folder
        for folder in sorted(states & folders - {""})
        if "_data_files" in _json(storage, posixpath.join(folder, _STATE))
    ]
    if saved:
        raise _several(storage.root, saved)
    if _INFO in names and _STATE not in names:
        return _of_cache(storage, [name for name in chosen if not _KEPT.fullmatch(name)])
    return None


def _listed(root: str, state: Mapping[str, Any]) -> list[str]:
    if any(state.get(key) for key in _SELECTIONS):
        raise ArgumentError(
            f"root must be a dataset whose rows are those of its files, but {root!r} is a "
            "selection of them, such as filter, select or shuffle make it. With the version of "
            "datasets that has saved it, save dataset.flatten_indices() to another folder."
        )
    return check_names([one["filename"] for one in state["_data_files"]], "root")


def _of_cache(storage: Storage, chosen: list[str]) -> list[str] | None:
    """The files of what load_dataset has downloaded, if they are of one split."""
    splits = _json(storage, _INFO).get("splits") or {}
    if len(splits) < 2 or len(chosen) < 2:
        return chosen or None
    raise ArgumentError(
        f"root must be a dataset of one split, but {storage.root!r} has {_quoted(sorted(splits))}. "
        f"Pass the files of one as names, such as names=[{chosen[0]!r}]."
    )


def _several(root: str, folders: Iterable[str]) -> ArgumentError:
    folders = sorted(folders)
    first = posixpath.join(root, folders[0] if folders else "train")
    return ArgumentError(
        f"root must be one dataset, but {root!r} has several, saved by Hugging Face: "
        f"{_quoted(folders)}. Open one of them: {first!r}."
    )


def _refuse_logs(storage: Storage, names: list[str]) -> None:
    """Raises an ArgumentError for a table whose log says which of the files count."""
    for name in names:
        delta = _DELTA.match(name)
        if delta:
            raise _with_log(storage.root, delta[1], "Delta", "deltalake.DeltaTable(path)")
        iceberg = _ICEBERG.match(name)
        if iceberg:
            raise _with_log(storage.root, iceberg[1], "Iceberg", "table.scan() of pyiceberg")
    try:
        storage.size(_HUDI)
    except FileMissingError:
        return
    except StorageError:  # of a store that does not say what is missing
        return
    raise _with_log(storage.root, None, "Hudi", "Spark")


def _with_log(root: str, folder: str | None, kind: str, source: str) -> ArgumentError:
    where = posixpath.join(root, folder) if folder else root
    return ArgumentError(
        f"root must be Parquet files that all count, but {where!r} is a table of {kind}, whose log "
        f"says which of its files and rows do. Write its rows to a folder of Parquet files, as "
        f"{source} gives them, and read that."
    )


def _json(storage: Storage, name: str) -> Mapping[str, Any]:
    """What is in a JSON file, if it is an object; else nothing."""
    ((_, data),) = storage.fetch([Request(name)])
    try:
        content = json.loads(bytes(data))
    except ValueError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
