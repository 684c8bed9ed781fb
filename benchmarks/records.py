"""TFRecords, JSON lines and sound, against what reads these formats otherwise.

Requires headrace[audio,tfrecord], TensorFlow, pandas and pyarrow; what is missing is named. All is
in the page cache. headrace shuffles all samples; tf.data shuffles within 1024 of them, pandas and
pyarrow read in order, and the loop over soundfile reads the clips of a permutation. What tf.data
makes are its own tensors.

    python benchmarks/records.py --rounds 3 --json records.json
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import (
    MissingError,
    Numbers,
    Pass,
    RunEpoch,
    consume,
    epochs_of,
    measure,
    measure_in_turns,
)

BATCH_SIZE = 64
SCRIPT = Path(__file__).resolve()
FILES = 4
RATE, FRAMES = 16_000, 16_000
SIDE = 64
WIDTHS = {"floats": 32, "json": 32}
# Of each work, the samples of an epoch, and the bytes of one.
SAMPLES = {"images": 4096, "floats": 16_384, "json": 8192, "clips": 1024}
NBYTES = {"images": SIDE * SIDE * 3, "floats": 32 * 4, "json": 32 * 8, "clips": FRAMES * 4}
LABELS = {
    "images": "Examples of 12 KB of bytes",
    "floats": "Examples of 32 floats",
    "json": "lines of JSON of 32 floats",
    "clips": "clips of a second in FLAC files of a minute",
}


def tensorflow() -> Any:
    try:
        import tensorflow as tf
    except ImportError:
        raise MissingError("tensorflow is not installed") from None
    tf.config.set_visible_devices([], "GPU")
    return tf


def soundfile() -> Any:
    try:
        import soundfile
    except ImportError:
        raise MissingError("soundfile is not installed") from None
    return soundfile


def numbers_of(work: str, n: int) -> np.ndarray:
    """The first number of sample i is i % 251, or as much of 512."""
    rng = np.random.default_rng(0)
    if work == "images":
        found = rng.integers(256, size=(n, SIDE, SIDE, 3), dtype=np.uint8)
        found[:, 0, 0, 0] = np.arange(n) % 251
        return found
    found = rng.integers(-512, 512, (n, WIDTHS[work])).astype(np.float32) / 512
    found[:, 0] = np.arange(n) % 251
    return found


def write(work: str, folder: Path, n: int) -> float:
    """Writes the samples; the sum of their first numbers."""
    if work == "clips":
        sounds = soundfile()
        minutes = max(1, n // 60 + (n % 60 > 0))
        sound = np.random.default_rng(0).integers(-(2**14), 2**14, RATE * 60).astype("int16")
        for minute in range(minutes):
            sound[::FRAMES] = np.arange(60) + minute
            sounds.write(folder / f"{minute:03}.flac", sound, RATE)
        firsts = np.arange(minutes * 60) % 60 + np.arange(minutes * 60) // 60
        return float((firsts[:n] / np.float32(2**15)).sum(dtype=np.float64))
    samples = numbers_of(work, n)
    for part, rows in enumerate(np.array_split(samples, FILES)):
        if work == "json":
            lines = (json.dumps({"x": row.tolist()}) + "\n" for row in rows)
            (folder / f"{part}.jsonl").write_text("".join(lines))
            continue
        tf = tensorflow()
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as writer:
            for row in rows:
                if work == "images":
                    listed = tf.train.BytesList(value=[row.tobytes()])
                    feature = tf.train.Feature(bytes_list=listed)
                else:
                    feature = tf.train.Feature(float_list=tf.train.FloatList(value=row))
                features = tf.train.Features(feature={"x": feature})
                writer.write(tf.train.Example(features=features).SerializeToString())
    return float(samples.reshape(n, -1)[:, 0].sum(dtype=np.float64))


def as_image(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3)


@contextmanager
def headrace(work: str, folder: Path, n: int, executor: str | None) -> Iterator[RunEpoch]:
    import headrace as hr

    if work == "clips":
        names = sorted(path.name for path in folder.glob("*.flac"))
        clips = [(names[i // 60], i % 60 * FRAMES) for i in range(n)]
        reader: Any = hr.AudioFiles(folder, FRAMES, clips=clips)
    elif work == "json":
        reader = hr.JsonLines(folder, "x")
    elif work == "floats":
        reader = hr.TFRecords(folder, "x")
    else:
        reader = hr.TFRecords(folder, {"x": as_image})
    chosen = None if executor is None else getattr(hr, executor)()

    def consume_x(loader: Any, check: bool) -> Pass:
        return consume((b["x"] if isinstance(b, dict) else b for b in loader), check)

    loader = hr.Loader(reader, BATCH_SIZE, seed=0, executor=chosen)
    with epochs_of(loader, consume_x) as run:
        yield run


@contextmanager
def tf_data(work: str, folder: Path, n: int, shuffled: bool = True) -> Iterator[RunEpoch]:
    tf = tensorflow()
    spec = {
        "images": tf.io.FixedLenFeature([], tf.string),
        "floats": tf.io.FixedLenFeature([WIDTHS["floats"]], tf.float32),
    }[work]

    def parsed(records: Any) -> Any:
        x = tf.io.parse_example(records, {"x": spec})["x"]
        if work == "images":
            return tf.reshape(tf.io.decode_raw(x, tf.uint8), (-1, SIDE, SIDE, 3))
        return x

    names = sorted(map(str, folder.glob("*.tfrecord")))
    data = tf.data.TFRecordDataset(names, num_parallel_reads=tf.data.AUTOTUNE)
    if shuffled:
        data = data.shuffle(1024, seed=0)
    data = data.batch(BATCH_SIZE, drop_remainder=True)
    data = data.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    yield lambda epoch, check: consume(data.as_numpy_iterator(), check)


@contextmanager
def pandas_chunks(work: str, folder: Path, n: int) -> Iterator[RunEpoch]:
    try:
        import pandas as pd
    except ImportError:
        raise MissingError("pandas is not installed") from None

    def batches() -> Iterator[np.ndarray]:
        for path in sorted(folder.glob("*.jsonl")):
            with pd.read_json(path, lines=True, chunksize=BATCH_SIZE) as chunks:
                for chunk in chunks:
                    yield np.stack(chunk["x"].to_numpy())

    yield lambda epoch, check: consume(batches(), check)


@contextmanager
def json_loop(work: str, folder: Path, n: int) -> Iterator[RunEpoch]:
    def batches() -> Iterator[np.ndarray]:
        for path in sorted(folder.glob("*.jsonl")):
            with open(path, "rb") as file:
                lines = list(file)
            for first in range(0, len(lines), BATCH_SIZE):
                found = [json.loads(line)["x"] for line in lines[first : first + BATCH_SIZE]]
                yield np.array(found)

    yield lambda epoch, check: consume(batches(), check)


@contextmanager
def arrow_bulk(work: str, folder: Path, n: int) -> Iterator[RunEpoch]:
    """All of each file in one call, in as many threads as there are CPUs."""
    try:
        from pyarrow import json as pyarrow_json
    except ImportError:
        raise MissingError("pyarrow is not installed") from None

    def batches() -> Iterator[np.ndarray]:
        for path in sorted(folder.glob("*.jsonl")):
            column = pyarrow_json.read_json(path)["x"].combine_chunks()
            yield column.flatten().to_numpy().reshape(len(column), -1)

    yield lambda epoch, check: consume(batches(), check)


@contextmanager
def soundfile_loop(work: str, folder: Path, n: int) -> Iterator[RunEpoch]:
    sounds = soundfile()
    names = sorted(folder.glob("*.flac"))

    def run(epoch: int, check: bool) -> Pass:
        order = np.random.default_rng(epoch).permutation(n).reshape(-1, BATCH_SIZE)
        started = time.perf_counter()
        first = total = 0.0
        for indices in order.tolist():
            out = np.empty((BATCH_SIZE, FRAMES), np.float32)
            for row, i in enumerate(indices):
                start = i % 60 * FRAMES
                found, _ = sounds.read(names[i // 60], FRAMES, start, dtype="float32")
                out[row] = found
            first = first or time.perf_counter() - started
            total += float(out[:, 0].sum(dtype=np.float64)) if check else 0.0
        return Pass(first, total)

    yield run


Contender = Callable[[str, Path, int], AbstractContextManager[RunEpoch]]
OURS, INLINE = "headrace, default", "headrace, Inline"
TF, TF_BULK = "tf.data, shuffle(1024)", "tf.data, in order"
OWN: dict[str, Contender] = {
    INLINE: lambda *of: headrace(*of, executor="Inline"),
    OURS: lambda *of: headrace(*of, executor=None),
}
OF_TF: dict[str, Contender] = {TF: tf_data, TF_BULK: lambda *of: tf_data(*of, shuffled=False)}
CONTENDERS: dict[str, dict[str, Contender]] = {
    "images": OF_TF | OWN,
    "floats": OF_TF | OWN,
    "json": {
        "pandas, chunks in order": pandas_chunks,
        "json.loads, a line a call, in order": json_loop,
        "bulk read by pyarrow": arrow_bulk,
    }
    | OWN,
    "clips": {"soundfile, a clip a call": soundfile_loop} | OWN,
}
RIVALS = {
    "images": TF,
    "floats": TF,
    "json": "pandas, chunks in order",
    "clips": "soundfile, a clip a call",
}


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    label, name = request["name"].split(": ")
    work = {shown: work for work, shown in LABELS.items()}[label]
    n = SAMPLES[work] // request["fraction"]
    folder = Path(request["folder"]) / work
    summed = folder / "sum.txt"
    if not summed.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        checksum = write(work, folder, n)
        summed.write_text(repr(checksum))
    with CONTENDERS[work][name](work, folder, n) as run:
        return measure(run, request["seconds"], n, n * NBYTES[work], float(summed.read_text()))


def targets(results: parts.Results) -> list[Numbers]:
    """At least as fast as the format's own loader."""
    made = []
    for work, label in LABELS.items():
        ours = parts.best(results, [f"{label}: {OURS}", f"{label}: {INLINE}"])
        against = parts.ratio(results, ours, f"{label}: {RIVALS[work]}")
        note = f"by {ours.split(': ')[1]}" if ours else ""
        made.append(parts.target(label, RIVALS[work], ">= 1", against, note))
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    parser.add_argument("--works", nargs="*", default=list(LABELS), choices=LABELS)
    options = parts.options_of(parser, measured, seconds=0.2)
    names = [f"{LABELS[work]}: {name}" for work in options.works for name in CONTENDERS[work]]
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        fraction = 8 if options.quick else 1
        request = {"folder": folder, "seconds": options.seconds, "fraction": fraction}
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    parts.report(
        options,
        "records",
        f"Records of several formats, batches of {BATCH_SIZE}.",
        parts.PLAIN_COLUMNS,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
