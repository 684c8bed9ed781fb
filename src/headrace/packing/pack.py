"""pack: writes the samples of a reader to a file or folder that appears once it is whole."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headrace.arrays import Array
from headrace.errors import ArgumentError, HeadraceError, StorageError, bad_type, bad_value
from headrace.executors.threads import Threads
from headrace.loader import Loader
from headrace.packing.npy_target import NpyTarget
from headrace.packing.parquet_target import ParquetTarget
from headrace.packing.ragged_target import RaggedTarget
from headrace.packing.staging import Staging
from headrace.packing.sums import DamagedError, SummedFile
from headrace.packing.target import Columns, Shape, Target, parts_of
from headrace.packing.zarr_target import ZarrTarget
from headrace.readers.reader import Reader, Spec, is_ragged, sample_nbytes
from headrace.readers.shared.samples.mean_lengths import mean_sample_nbytes
from headrace.storage.manifest import Manifest

_FORMAT = 2
_SECONDS_BETWEEN_SAVES = 2.0
LABEL = "label"


class Packed(NamedTuple):
    """What was written.

    Attributes:
        target: where.
        samples: in it.
        nbytes: of all its files.
        continued_at: the sample at which an earlier run was gone on with; 0 if there was none.
    """

    target: Path
    samples: int
    nbytes: int
    continued_at: int


DEFAULT_SHAPE = Shape()


def pack(
    source: Reader,
    target: Path,
    *,
    labels: Reader | None = None,
    label_field: str | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    shape: Shape = DEFAULT_SHAPE,
    workers: int | None = None,
    force: bool = False,
    progress: Callable[[int], None] = lambda samples: None,
    seconds_between_saves: float = _SECONDS_BETWEEN_SAVES,
) -> Packed:
    """Writes the samples of `source`, in its order, to `target`.

    Memory stays bounded, whatever the number of samples. What an earlier run with the same
    arguments has left when it was killed is gone on with.

    Args:
        source: whose samples are packed.
        target: "x.npy" for one file, "x.zarr", "x.parquet" for a folder of Parquet files, or a
            name without a suffix for a folder of .npy shards. Of samples of any length, "x.ragged"
            for a folder with their values and offsets, or "x.parquet".
        labels: of the samples, to be the column "label".
        label_field: the part of each sample that is the column "label".
        texts: lists of strings for files next to the target, by name, such as those of ids.
        shape: how the target is laid out.
        workers: threads that read. Default: one for each CPU, at most 8.
        force: replace what is there.
        progress: called with the number of samples written so far.
        seconds_between_saves: how much work a kill can cost.

    Raises:
        ArgumentError: (a ValueError) an argument is not allowed, the target exists, or something
            else was started there.
        SampleError: a sample can't be read.
        StorageError: (an OSError) the target can't be written, as when the disk is full.
    """
    if isinstance(source, type) or not isinstance(source, Reader):
        raise bad_type("source", source, "a reader")
    n = len(source)
    if not n:
        raise ArgumentError(f"source must have at least one sample, but is empty: {source!r}.")
    target = Path(os.path.abspath(target))
    columns = _columns(source, labels, label_field)
    nbytes = 0  # which specs do not tell of samples of any length
    if is_ragged(source.spec):
        nbytes = mean_sample_nbytes(source) + (0 if labels is None else sample_nbytes(labels.spec))
    writer = _target_of(target, columns, n, shape, nbytes)
    loader = Loader(
        (source,) if labels is None else (source, labels),
        writer.batch_size,
        shuffle=False,
        tail="partial",
        executor=Threads(workers),
    )
    texts = {f"{_stem(target)}.{name}.json": list(lines) for name, lines in (texts or {}).items()}
    job = {
        "version": _FORMAT,
        "source": loader.state_dict()["data"],
        "number of samples": n,
        "columns": {name: [list(spec.shape), spec.dtype.str] for name, spec in columns.items()},
        "options": [type(writer).__name__, writer.batch_size, *shape],
        "texts": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
    }
    with _explained(target):
        staging = Staging(target, job, restart=force)
    try:
        continued_at = n
        if not staging.is_whole:
            files = writer.files if isinstance(writer, NpyTarget | RaggedTarget) else {}
            labels_file = files.get(LABEL)
            replaced = _replaced(target, filter(None, [*texts, labels_file]), force)
            continued_at = _begin(staging, writer, n)
            progress(continued_at)
            if continued_at < n:
                loader.seek(0, continued_at // writer.batch_size)
                batches = (_columns_of(batch, label_field) for batch in loader)
                _write(staging, writer, batches, continued_at, progress, seconds_between_saves)
            with _explained(target):
                writer.finish()
                _write_texts(staging, texts)
                _write_manifests(staging)
                staging.save(writer.flush(), whole=True, replaced=replaced)
        nbytes = sum(entry.bytes for entry in staging.sums.entries.values())
        with _explained(target):
            staging.move()
    finally:
        loader.close()
        writer.close()
        staging.close()
    return Packed(target, n, nbytes, continued_at)


def _begin(staging: Staging, writer: Target, n: int) -> int:
    """Makes the target ready; how many samples are there already."""
    with _explained(staging.target):
        done = 0
        try:
            if staging.state is not None:
                done = writer.begin(staging.new, staging.sums, staging.state)
        except DamagedError:  # as when the machine went down: it can't be trusted
            staging.restart()
        if staging.state is None:
            writer.begin(staging.new, staging.sums, None)
            staging.save(writer.flush())
    free = shutil.disk_usage(staging.new).free
    left = 0 if writer.nbytes is None else writer.nbytes * (n - done) // n
    if left > free:
        raise StorageError(
            f"{str(staging.target)!r} can't be written: it takes {left} bytes more, and {free} are "
            "free there. Make room, or choose another DST, and pack again."
        )
    return done


def _write(
    staging: Staging,
    writer: Target,
    batches: Iterator[dict[str, Array]],
    done: int,
    progress: Callable[[int], None],
    seconds_between_saves: float,
) -> None:
    saved_at = time.monotonic()
    for columns in batches:
        with _explained(staging.target):
            writer.write(columns)
            if time.monotonic() - saved_at >= seconds_between_saves:
                staging.save(writer.flush())
                saved_at = time.monotonic()
        done += len(next(iter(columns.values())))
        progress(done)


def _columns(source: Reader, labels: Reader | None, label_field: str | None) -> dict[str, Spec]:
    """The specs of the columns, by name."""
    parts = dict(parts_of(source.spec))
    if label_field is not None and label_field not in parts:
        raise bad_value("--label-field", label_field, f"one of {', '.join(parts)}")
    structure = (source.spec,) if labels is None else (source.spec, labels.spec)
    columns: dict[str, Spec] = _columns_of(structure, label_field)
    if len(columns) < len(parts) + (labels is not None):
        raise ArgumentError(
            f"samples must have no part named {LABEL!r} beside other labels, but they have "
            f"{', '.join(parts)}. Leave out --labels or --label-field, or choose other parts."
        )
    return columns


def _columns_of(structure: tuple[object, ...], label_field: str | None) -> dict[str, Any]:
    """The columns of (sample, label), or of (sample,): of their specs, or of a batch of them."""
    columns = {
        LABEL if name == label_field else name: part for name, part in parts_of(structure[0])
    }
    return columns | ({} if len(structure) == 1 else {LABEL: structure[1]})


def _target_of(target: Path, columns: Columns, n: int, shape: Shape, nbytes: int) -> Target:
    """What writes `target`, by its suffix.

    Args:
        nbytes: of a sample, on average, if it may have any length; else 0.
    """
    if target.suffix == ".parquet":
        return ParquetTarget(columns, n, target.name, shape, nbytes)
    if target.suffix not in (".npy", "", ".zarr", ".ragged"):
        raise bad_value(
            "DST",
            str(target),
            "a name ending in .npy, .zarr, .parquet or .ragged, or a name without a suffix, for a "
            "folder of .npy shards",
        )
    samples = [name for name in columns if name != LABEL]
    ragged = [name for name, spec in columns.items() if spec.ragged]
    if target.suffix == ".ragged":
        if ragged != samples or len(samples) != 1:
            remedy = (
                "Read it with --ragged all, if its first axis may have any length."
                if len(samples) == 1
                else "Choose a name ending in .parquet, or one part with --columns."
            )
            raise ArgumentError(
                f"DST may end in .ragged for samples of one array of any length, but a sample has "
                f"{_listed(columns)}. {remedy}"
            )
        files = {LABEL: f"{_stem(target)}.labels.npy"} if LABEL in columns else {}
        return RaggedTarget(columns, n, target.name, samples[0], files, shape, nbytes)
    if ragged:
        raise ArgumentError(
            f"DST must be of a format for samples of any length, as a sample has "
            f"{_listed(columns)}, but {str(target)!r} was given. Choose a name ending in .ragged "
            "for one such array, or in .parquet."
        )
    if target.suffix == ".zarr":
        return ZarrTarget(columns, n, target.name, shape)
    if len(samples) != 1:
        raise ArgumentError(
            f"DST must be of a format for several arrays, as a sample has {', '.join(columns)}, "
            f"but {str(target)!r} was given. Choose a name ending in .zarr or .parquet, or one "
            "part with --columns, and perhaps another as the labels with --label-field."
        )
    files = {samples[0]: target.name if target.suffix else target.name + "/"}
    if LABEL in columns:
        files[LABEL] = f"{_stem(target)}.labels.npy"
    return NpyTarget(columns, n, files, shape)


def _listed(columns: Columns) -> str:
    return ", ".join(f"{name!r} of shape {spec.shape}" for name, spec in columns.items())


def _stem(target: Path) -> str:
    """What the names of the files that belong to it begin with."""
    return target.name.removesuffix(".npy")


def _replaced(target: Path, companions: Iterable[str], force: bool) -> list[str]:
    """The files in the target's folder that go when the new one comes."""
    manifest = target.with_name(target.name + ".manifest.json")
    names = {target.name, manifest.name, *companions}
    with contextlib.suppress(OSError, ArgumentError):  # there is none, or something else
        # Of the old target, with what belongs to it. A manifest of others may name anything.
        ours = f"{_stem(target)}."
        names.update(
            name for name in Manifest.load(manifest) if name.startswith(ours) and "/" not in name
        )
    existing = sorted(name for name in names if os.path.lexists(target.with_name(name)))
    if existing and not force:
        raise ArgumentError(
            f"DST must not exist yet, nor what goes beside it, but {str(target.parent)!r} has "
            f"{', '.join(existing)}. Choose another DST, or pass --force to replace it."
        )
    return existing


def _write_texts(staging: Staging, texts: Mapping[str, Sequence[str]]) -> None:
    for name, lines in texts.items():
        file = SummedFile(staging.new / name)
        try:
            file.write(json.dumps(lines, indent=0).encode() + b"\n")
            staging.sums.add(name, file.end())
        finally:
            file.close()


def _write_manifests(staging: Staging) -> None:
    """Writes one into the target, if it is a folder, and one next to it for the other files."""
    for leftover in staging.new.rglob(".*.tmp"):  # of a kill while one was written
        leftover.unlink()
    folder = staging.target.name + "/"
    entries = staging.sums.entries
    within = {name[len(folder) :]: entries[name] for name in entries if name.startswith(folder)}
    others = {name: entries[name] for name in entries if not name.startswith(folder)}
    if within:
        # What reads a folder of Parquet files takes all but such names for one.
        name = "_manifest.json" if staging.target.suffix == ".parquet" else "manifest.json"
        Manifest(within).save(staging.new / folder / name)
    if others:
        Manifest(others).save(staging.new / f"{staging.target.name}.manifest.json")


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    """What the system refuses within comes as a StorageError that says how to go on."""
    try:
        yield
    except HeadraceError:
        raise
    except OSError as error:
        raise StorageError(
            f"{str(target)!r} can't be written: {error.strerror or error}. What is written so far "
            "is kept; when the cause is gone, pack again to go on with it."
        ) from error
