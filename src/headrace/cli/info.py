"""`headrace info`: what there is at a path, how long an epoch takes here, and what would help."""

import json
import os
import shlex
import time
import warnings
from typing import NamedTuple, TypedDict

import numpy as np
from rich.filesize import decimal

import headrace as hr
from headrace.arrays import Indices
from headrace.cli.lengths import Lengths, lengths_found, lines
from headrace.cli.opening import TypedOptions, open_reader
from headrace.cli.report import Report
from headrace.cli.transfer import clock
from headrace.formats import Opened
from headrace.packing import parts_of
from headrace.pytree import named_leaves
from headrace.readers.access import access_of
from headrace.readers.reader import Spec, is_ragged
from headrace.readers.shared.samples.mean_lengths import known_lengths, mean_sample_nbytes
from headrace.storage.opening import is_url

_SECONDS = 2.0
_BATCH_SIZE = 128
_MOST_BATCH_BYTES = 2**28
# Opening, reading and closing a file takes about as long as copying so many bytes.
_SMALL_FILE_BYTES = 2**18
_MANY_FILES = 1000


class _Array(TypedDict):
    shape: list[int | None]
    dtype: str


class Epoch(NamedTuple):
    """How long a shuffled epoch takes, from batches that were read for a while.

    Attributes:
        seconds: for the whole epoch, as far as can be told.
        samples_per_second: of the batches that were read.
        samples_read: in them.
        batch_size: of them.
        executor: the one that read them.
    """

    seconds: float
    samples_per_second: float
    samples_read: int
    batch_size: int
    executor: str


def run_info(
    path: str, *, format_name: str | None, options: TypedOptions, batch_size: int, as_json: bool
) -> None:
    """Prints what is there.

    Raises:
        HeadraceError: nothing is there, or it can't be read.
    """
    opened = open_reader(path, format_name, options)
    arrays = arrays_of(opened.reader)
    report = Report()
    of_all = known_lengths(opened.reader)
    nbytes = mean_sample_nbytes(opened.reader, of_all)
    n = len(opened.reader)
    epoch, advice = None, []
    lengths: dict[str, Lengths] = {}
    if n:
        with report.status("reading batches"):
            epoch, warned, read = measure(opened.reader, batch_size, _SECONDS, nbytes)
        advice = warned + advise(path, opened, nbytes)
        known = dict(parts_of(of_all))
        for name, some in read.items():
            every = known[name]
            lengths[name] = lengths_found(some if every is None else every, epoch.batch_size)
    if opened.format.guesses_size and options.size is None:
        advice.append("The size is that of the first image. Pass the one to train with as --size.")
    access = access_of(opened.reader)
    block = access.block
    classes = opened.reader.class_names if isinstance(opened.reader, hr.ImageFolder) else None
    if as_json:
        content = {
            "path": path,
            "format": opened.format.name,
            "samples": n,
            "arrays": arrays,
            "sample_bytes": nbytes,
            "bytes": n * nbytes,
            "block": block,
            "classes": classes,
            "lengths": {
                name: {**found._asdict(), "padding": found.padding._asdict()}
                for name, found in lengths.items()
            },
            "epoch": epoch and epoch._asdict(),
            "advice": advice,
        }
        print(json.dumps(content, indent=1))
        return
    report.heading(path)
    report.line(f"format         {opened.format.name}")
    report.line(f"samples        {n}")
    for name, array in arrays.items():
        report.line(f"{name:<14} {array['dtype']} of shape {tuple(array['shape'])}")
    report.line(f"in memory      {decimal(nbytes)} a sample, {decimal(n * nbytes)} in all")
    if classes is not None:
        report.line(f"classes        {len(classes)}: {', '.join(classes[:8])}")
    if block > 1:
        kept = min(access.blocks_kept, -(-n // block))
        report.line(f"blocks         of {block} samples, each read as a whole; {kept} are kept")
    for name, found in lengths.items():
        for line in lines(name, found, epoch.batch_size if epoch else batch_size):
            report.line(line)
    if epoch is not None:
        report.line(
            f"an epoch       {clock(epoch.seconds)}: {epoch.samples_per_second:,.0f} samples/s, "
            f"{decimal(int(epoch.samples_per_second * nbytes))}/s"
        )
        report.line(
            f"               told from {epoch.samples_read} samples in shuffled batches of "
            f"{epoch.batch_size}, made by {epoch.executor}"
        )
        report.line(
            "               what the page cache holds already comes faster than from the disk"
        )
    if advice:
        report.section("Advice")
    for advised in advice:
        report.line(advised)


def arrays_of(reader: hr.Reader) -> dict[str, _Array]:
    """The shape and dtype of each array of a sample, by name."""
    return {
        name: {"shape": list(spec.shape), "dtype": str(spec.dtype)}
        for name, spec in parts_of(reader.spec)
    }


def measure(
    reader: hr.Reader, batch_size: int, seconds: float, nbytes: int
) -> tuple[Epoch, list[str], dict[str, Indices]]:
    """Reads shuffled batches for a while.

    Args:
        nbytes: of a sample, on average.

    Returns:
        How long an epoch takes; what the loader warns of; and how long samples of any length are,
        among those that were read.
    """
    n = len(reader)
    batch_size = max(1, min(batch_size, n, _MOST_BATCH_BYTES // nbytes))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader = hr.Loader(reader, batch_size, shuffle=True, tail="partial")
    samples = batches = 0
    noted: list[dict[str, Indices]] = []
    with loader:
        stream = loader.stream()
        noted.append(_lengths_in(next(stream)))  # which opens handles, and starts threads
        started = time.perf_counter()
        while True:
            batch = next(stream)
            batches += 1
            samples += len(next(leaf for _, leaf in named_leaves(batch)))
            if len(noted) < len(loader):  # an epoch at most
                noted.append(_lengths_in(batch))
            elapsed = time.perf_counter() - started
            if elapsed >= seconds:
                break
    rate = samples / elapsed
    epoch = Epoch(n / rate, rate, samples, batch_size, repr(loader.executor))
    told = [str(warning.message) for warning in caught]
    return (
        epoch,
        told,
        {name: np.concatenate([lengths[name] for lengths in noted]) for name in noted[0]},
    )


def _lengths_in(batch: object) -> dict[str, Indices]:
    """The lengths of the samples in a batch, of parts that may have any."""
    return {name: part.lengths for name, part in parts_of(batch) if isinstance(part, hr.Ragged)}


def advise(path: str, opened: Opened, nbytes: int) -> list[str]:
    """What would make reading faster or smaller, of samples of so many bytes on average."""
    reader, advice = opened.reader, []
    n = len(reader)
    many = opened.format.sample_suffix is not None and n >= _MANY_FILES
    if many and nbytes < _SMALL_FILE_BYTES:
        # A packed target is on this machine, and one .npy file holds one array.
        target = os.path.basename(path.rstrip("/")) if is_url(path) else path.rstrip("/")
        one = isinstance(reader.spec, Spec)
        if is_ragged(reader.spec):
            target += ".ragged" if one else ".parquet"
        else:
            target += ".npy" if one else ".zarr"
        advice.append(
            f"{n} small files: most of the time goes into opening them. Packed they are read "
            f"faster: {shlex.join(['headrace', 'pack', path, target, *_ragged(reader)])}"
        )
    wide = [name for name, spec in parts_of(reader.spec) if spec.dtype == np.float64]
    if wide:
        if "dtype" not in opened.format.options:
            remedy = "Store them as float32 where they are made, or convert them in the transform."
        elif isinstance(reader.spec, Spec):
            remedy = 'Pass dtype="float32" to the reader, or pack with --dtype float32.'
        else:
            remedy = f"Pass dtype={dict.fromkeys(wide, 'float32')} to the reader."
        advice.append(f"float64: models mostly train in float32, which is half the size. {remedy}")
    if is_url(path):
        advice.append(
            "Far away: give the reader hr.Remote(url, cache=hr.Cache(folder, max_bytes)), so that "
            "only the first epoch goes over the network."
        )
    memory = memory_bytes()
    whole = not is_ragged(reader.spec)  # of any length, they are no array
    if whole and n * nbytes < memory // 4 and not access_of(reader).in_memory:
        advice.append(
            f"All samples take {decimal(n * nbytes)}, and this machine has {decimal(memory)} of "
            "memory: read them once, and pass the array itself to the loader."
        )
    return advice


def _ragged(reader: hr.Reader) -> list[str]:
    """The option of samples of any length."""
    named = [name for name, spec in parts_of(reader.spec) if spec.ragged]
    if not named:
        return []
    return ["--ragged", "all" if isinstance(reader.spec, Spec) else ",".join(named)]


def memory_bytes() -> int:
    """The memory of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
