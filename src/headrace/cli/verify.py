"""`headrace verify`: reads everything, and lists what is bad, by name and reason."""

import functools
import json
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

import headrace as hr
from headrace.arrays import Indices, MemoryPool
from headrace.cli.opening import NONE, TypedOptions, guess_format, open_reader
from headrace.cli.report import Report
from headrace.cli.transfer import transfer
from headrace.errors import bad_value
from headrace.executors.lookahead import available_cpus
from headrace.formats import formats
from headrace.ragged import Empty
from headrace.readers.access import access_of, ids_of
from headrace.readers.format import MANIFESTS, Format, with_manifest
from headrace.readers.reader import read_batch
from headrace.readers.shared.listing import chosen_among
from headrace.readers.shared.samples.mean_lengths import mean_sample_nbytes
from headrace.readers.views.chosen import Choice, Chosen
from headrace.storage import Request, Storage, open_storage
from headrace.storage.manifest import Manifest, file_sums
from headrace.storage.opening import is_url

_BATCH_BYTES = 2**23
_MOST_IN_A_BATCH = 1024
# A larger block may be read once more by the next batch.
_MOST_BLOCK_BYTES = 2**28
# How readers begin.
_NUMBERED = re.compile(r"sample \d+ (can't be read|does not exist): ")
_MOST_LISTED = 1000

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")


class Bad(NamedTuple):
    """A sample or file that is bad.

    Attributes:
        name: the sample's id, or the file.
        sample: its index; None for a file.
        reason: why.
    """

    name: str
    sample: int | None
    reason: str


class Verified(NamedTuple):
    """What was found."""

    format: str
    samples: int
    files: int
    bad: list[Bad]


def run_verify(
    path: str,
    *,
    format_name: str | None,
    options: TypedOptions,
    subset: Choice | None,
    manifest: str | None,
    workers: int | None,
    as_json: bool,
) -> bool:
    """Verifies, and prints what is bad; whether nothing is.

    Raises:
        HeadraceError: it could not be verified.
    """
    found = verify(path, format_name, options, manifest, workers, subset)
    if as_json:
        print(json.dumps({"path": path, "good": not found.bad, **_as_dict(found)}, indent=1))
        return not found.bad
    report = Report()
    for bad in found.bad[:_MOST_LISTED]:
        where = "file" if bad.sample is None else f"sample {bad.sample}"
        report.line(f"{where}, {bad.name}: {bad.reason}")
    if len(found.bad) > _MOST_LISTED:
        report.line(f"... and {len(found.bad) - _MOST_LISTED} more; --json lists all")
    files = f", {found.files} files by their checksums" if found.files else ""
    verdict = f"{len(found.bad)} bad" if found.bad else "all good"
    report.line(f"{found.samples} samples ({found.format}){files}: {verdict}")
    return not found.bad


def _as_dict(found: Verified) -> dict[str, object]:
    return found._asdict() | {"bad": [bad._asdict() for bad in found.bad]}


def verify(
    path: str,
    format_name: str | None = None,
    options: TypedOptions = NONE,
    manifest: str | None = None,
    workers: int | None = None,
    subset: Choice | None = None,
) -> Verified:
    """Reads all samples at `path`, and compares the files with a manifest, where there is one.

    Args:
        subset: read only these samples, and compare no files, as most would not be theirs.

    Raises:
        HeadraceError: it could not be verified, as nothing is there, or the network fails.
    """
    workers = min(8, available_cpus()) if workers is None else workers
    format_name = format_name or guess_format(path, options).name
    if subset is not None and manifest is not None:
        raise bad_value("--manifest", manifest, "left out with --subset")
    manifests = _manifests(path, manifest) if subset is None else []
    found = formats().get(format_name)
    if found and "missing" in found.options and options.missing is None and not manifests:
        options = replace(options, missing="error")  # a manifest knows what there should be
    reader, bad = _open(path, format_name, options, bool(manifests))
    first = sum(one.sample is not None for one in bad)
    n = first + (0 if reader is None else len(reader))
    # Of what can't be opened, no samples are known.
    chosen = Chosen(slice(None) if subset is None or not n else subset, n, "--subset")
    if subset is not None:
        bad = [one for one in bad if one.sample is None or one.sample in chosen.all()]
    if reader is not None:
        bad += _read_all(path, reader, chosen, first, workers)
    files = sum(len(listed) for _, listed in manifests)
    for root, listed in manifests:
        bad += _compare_all(root, listed, workers)
    return Verified(format_name, len(chosen), files, bad)


def _open(
    path: str, format_name: str, options: TypedOptions, expected: bool
) -> tuple[hr.Reader | None, list[Bad]]:
    """The reader of all samples but the first ones, if those are bad: these show what is expected.

    None if there is no good one, or the one file that holds all is bad, or is gone though it is
    `expected` by a manifest.
    """
    opened = _opened(path, format_name, options)
    if isinstance(opened, hr.Reader):
        return opened, []
    suffixes = _suffixes(formats()[format_name], options)
    if not suffixes:
        if isinstance(opened, FileNotFoundError) and is_url(path) and not expected:
            raise opened  # there is nothing; a path of this machine was looked at before
        return None, [Bad(path, None, _reason(opened))]
    if options.ids is None:
        names = chosen_among(open_storage(with_manifest(path)).names(), suffixes)
        suffix = suffixes[0] if len(suffixes) == 1 else ""
        ids = sorted(name.removesuffix(suffix) for name in names)
    else:
        ids = [str(name) for name in options.ids]
    bad: list[Bad] = []
    for number, name in enumerate(ids):
        # One alone, as each opening takes as long as there are ids.
        opened = _opened(path, format_name, replace(options, ids=[name]))
        if isinstance(opened, hr.Reader):
            rest = replace(options, ids=ids[number:])
            return open_reader(path, format_name, rest).reader, bad
        bad.append(Bad(name, number, _reason(opened)))
    return None, bad


def _suffixes(chosen: Format, options: TypedOptions) -> tuple[str, ...]:
    """What the names of files end with that are a sample each, whose first may be bad."""
    if "suffixes" not in chosen.options:
        return () if chosen.sample_suffix is None else (chosen.sample_suffix,)
    return ("",) if options.suffixes is None else tuple(options.suffixes)


def _opened(path: str, format_name: str, options: TypedOptions) -> hr.Reader | Exception:
    """The reader, or why it can't be opened."""
    try:
        return open_reader(path, format_name, options).reader
    except (hr.SampleError, OSError) as error:
        if isinstance(error, hr.MissingExtraError) or _is_network(path, error):
            raise
        return error


def _read_all(path: str, reader: hr.Reader, chosen: Chosen, first: int, workers: int) -> list[Bad]:
    """The bad ones among chosen samples of a reader whose samples are counted from `first` on."""
    n, nbytes = len(chosen), mean_sample_nbytes(reader)
    block = access_of(reader).block
    rows = max(1, min(_MOST_IN_A_BATCH, _BATCH_BYTES // nbytes))
    rows = max(rows // block, 1) * block if block * nbytes <= _MOST_BLOCK_BYTES else rows
    pool = MemoryPool()

    def read(start: int) -> list[tuple[int, str]]:
        indices = chosen.at(np.arange(start, min(n, start + rows)))
        return _bad_among(path, reader, indices[indices >= first] - first, pool.empty)

    found: list[tuple[int, str]] = []
    with transfer("reading samples", n * nbytes) as show:
        show(0)
        for start, bad in in_threads(read, range(0, n, rows), workers):
            found += bad
            show(min(n, start + rows) * nbytes)
    if not found:
        return []
    ids = ids_of(reader)
    name = (lambda index: f"row {index}") if ids is None else ids.__getitem__
    return [Bad(str(name(index)), first + index, reason) for index, reason in sorted(found)]


def _bad_among(
    path: str, reader: hr.Reader, indices: Indices, empty: Empty
) -> list[tuple[int, str]]:
    """The bad ones among `indices`, found by halving what can't be read."""
    try:
        read_batch(reader, indices, empty)
    except Exception as error:  # whatever a library raises over damage
        if _is_network(path, error):
            raise
        if len(indices) == 1:
            return [(int(indices[0]), _reason(error))]
        half = len(indices) // 2
        return [
            *_bad_among(path, reader, indices[:half], empty),
            *_bad_among(path, reader, indices[half:], empty),
        ]
    return []


def _is_network(path: str, error: Exception) -> bool:
    """Whether the error says nothing of the samples."""
    if not is_url(path) or not isinstance(error, hr.StorageError):
        return False
    return not isinstance(error, (hr.FileMissingError, hr.ChecksumError))


def _reason(error: Exception) -> str:
    text = " ".join((str(error) or type(error).__name__).split())
    return _NUMBERED.sub("", text)  # it is the number in a reader of fewer samples, perhaps


def _manifests(path: str, given: str | None) -> list[tuple[str, Manifest]]:
    """Manifests, each with the folder that its names are below."""
    is_folder = is_url(path) or os.path.isdir(path)
    parent, _, name = path.rstrip("/").rpartition("/")
    parent = parent or ("/" if path.startswith("/") else ".")
    if given is not None:
        try:
            return [(path if is_folder else parent, Manifest.load(given))]
        except hr.StorageError as error:
            raise bad_value("--manifest", given, "a file that can be read", f"{error}.") from None
    # Next to the root of a server or bucket there is nothing.
    candidates = [(parent, f"{name}.manifest.json")] if is_url(parent) or not is_url(path) else []
    if is_folder:
        candidates += [(path, inside) for inside in MANIFESTS]
    found = []
    for root, file in candidates:
        storage = open_storage(root)
        try:
            size = storage.size(file)
            (data,) = (bytes(part) for _, part in storage.fetch([Request(file, 0, size)]))
        except hr.FileMissingError:
            continue
        try:
            found.append((root, Manifest.load(data)))
        except hr.ArgumentError as error:
            raise hr.ArgumentError(f"{root.rstrip('/')}/{file}: {error}") from None
    return found


def _compare_all(root: str, manifest: Manifest, workers: int) -> list[Bad]:
    """The files that are not as the manifest says."""
    storage = open_storage(root)
    bad, done, stopped, lock = [], 0, False, threading.Lock()
    with transfer("comparing files", sum(entry.bytes for entry in manifest.values())) as show:
        show(0)

        def count(nbytes: int) -> None:
            nonlocal done
            if stopped:  # a large file would keep the process from ending
                raise InterruptedError
            with lock:
                done += nbytes
                show(done)

        compare = functools.partial(_compare, storage, manifest, count)
        try:
            for name, reason in in_threads(compare, manifest, workers):
                if reason is not None:
                    bad.append(Bad(name, None, reason))
        finally:
            stopped = True
    return bad


def _compare(
    storage: Storage, manifest: Manifest, count: Callable[[int], None], name: str
) -> str | None:
    """What is wrong with a file; `count` is called with the numbers of bytes that are read."""
    expected = manifest[name]
    try:
        size = storage.size(name)
        if size != expected.bytes:
            return f"it has {size} bytes; the manifest says {expected.bytes}"
        found = file_sums(storage, name, expected.block_bytes, count)
    except hr.StorageError as error:
        if _is_network(storage.root, error):
            raise
        return _reason(error)
    if found == expected:
        return None
    blocks = zip(found.crc32, expected.crc32, strict=True)
    wrong = [block for block, (ours, theirs) in enumerate(blocks) if ours != theirs]
    starts = ", ".join(str(block * expected.block_bytes) for block in wrong[:8])
    where = f", in the {expected.block_bytes} bytes from {starts}" if wrong else ""
    return f"its bytes are not those of the manifest{where}"


def in_threads(
    function: Callable[[_Key], _Result], keys: Iterable[_Key], workers: int
) -> Iterator[tuple[_Key, _Result]]:
    """(key, result) of each key, in order, computed by threads that run a little ahead."""
    waiting: deque[tuple[_Key, Future[_Result]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for key in keys:
            if len(waiting) >= 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
            waiting.append((key, pool.submit(function, key)))
        for key, future in waiting:
            yield key, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
