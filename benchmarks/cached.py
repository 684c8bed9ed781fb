"""Epochs over samples that `hr.Cached` keeps, against one without, and an array in memory.

Pictures are JPEGs of 500 x 375 that become 224 x 224, audio is FLAC of 4 s at 16 kHz, and .npy
files hold float32 of (32, 32, 32); all lie in the page cache. Each measurement makes a loader in a
process of its own. The batches of the first epoch are asked for one by one: what an iteration makes
ahead is of the second one, where it is kept already. Of .npy files there is nothing to decode, so
that their first epoch has no target: to keep one is a copy more. What keeping takes at least is an
epoch in which each sample is also written to such memory or such a file, by one bare call.

    python benchmarks/cached.py --rounds 5 --json cached.json
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import Numbers, consume, measure_in_turns

BATCH_SIZE = 64
SCRIPT = Path(__file__).resolve()
DECODED = ("pictures", "audio")
FORMATS = (*DECODED, ".npy")
RATE, SECONDS = 16_000, 4
WITHOUT, MEMORY, FOLDER, ARRAY = "without", "in memory", "in a folder", "an array"
WRITTEN = {MEMORY: "written to memory", FOLDER: "written to a folder"}
FIRST, LATER = "first epoch", "later epochs"


def write_pictures(folder: Path, samples: int) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    for i in range(samples):
        top, left = rng.integers(40), rng.integers(120)
        pixels = photographs[i % 2][top : top + 375, left : left + 500]
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=90)


def write_audio(folder: Path, samples: int) -> None:
    import soundfile

    rng = np.random.default_rng(0)
    time = np.arange(RATE * SECONDS) / RATE
    for i in range(samples):
        low, high = 2 * np.pi * rng.uniform((100, 1000), (400, 3000))
        tones = np.sin(low * time) + 0.5 * np.sin(high * time + np.sin(7 * time))
        noisy = 0.3 * tones + rng.normal(0, 0.01, len(time))
        soundfile.write(folder / f"{i:05}.flac", noisy, RATE, "PCM_16")


def write_npy(folder: Path, samples: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(samples):
        np.save(folder / f"{i:05}.npy", rng.random((32, 32, 32), dtype=np.float32))


def source_of(kind: str, folder: str) -> Any:
    import headrace as hr

    if kind == "pictures":
        return hr.Images(folder, size=224)
    return hr.AudioFiles(folder, RATE * SECONDS) if kind == "audio" else hr.NpyFiles(folder)


class Written:
    """A reader that also writes each sample, to its place in memory or in a file."""

    def __init__(self, source: Any, folder: str | None) -> None:
        self.source, self.spec = source, source.spec
        path = None if folder is None else f"{folder}/written"
        self.file = os.memfd_create("w") if path is None else os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.file, len(source) * self.spec.nbytes)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Any, out: Any) -> None:
        self.source.read(indices, out)
        for index, sample in zip(indices.tolist(), out, strict=True):
            os.pwrite(self.file, sample.data, index * sample.nbytes)


@contextmanager
def loader_of(kind: str, contender: str, folder: str, executor: str) -> Iterator[Any]:
    import headrace as hr

    source = source_of(kind, folder)
    kept = tempfile.mkdtemp() if contender in (FOLDER, WRITTEN[FOLDER]) else None
    if contender == ARRAY:
        array = np.empty((len(source), *source.spec.shape), source.spec.dtype)
        source.read(np.arange(len(source)), array)
        source = array
    elif contender in WRITTEN.values():
        source = Written(source, kept)
    elif contender != WITHOUT:
        source = hr.Cached(source, kept)
    try:
        with hr.Loader(source, BATCH_SIZE, executor=getattr(hr, executor)(2)) as loader:
            yield loader
    finally:
        if kept is not None:
            shutil.rmtree(kept)


def measured(request: Numbers) -> Numbers:
    """Samples in a second of the first epoch or of later ones."""
    kind, contender, epoch = request["name"].split(": ")
    where = request["folders"][kind], request["executor"]
    with loader_of(kind, WITHOUT, *where) as plain:
        nbytes = plain.batch(0, 0)[0].nbytes  # and what decodes has been loaded
    with loader_of(kind, contender, *where) as loader:
        samples = len(loader) * BATCH_SIZE
        if epoch == FIRST:
            watch, epochs = parts.Watch(), 1
            for step in range(len(loader)):
                loader.batch(0, step)
        else:
            for _ in range(2):  # what was made ahead does not count
                consume(loader, False)
            watch, epochs = parts.Watch(), 0
            while watch.elapsed_s < request["seconds"] or epochs < 2:
                consume(loader, False)
                epochs += 1
        return watch.stop(epochs, samples, samples * nbytes)


def named(kind: str, contender: str, epoch: str) -> str:
    return f"{kind}: {contender}: {epoch}"


def targets(results: parts.Results) -> list[Numbers]:
    made = []
    for kind in FORMATS:
        for ours in (MEMORY, FOLDER):
            for epoch, rival, bound in (
                (FIRST, WITHOUT, ">= 0.9"),
                (FIRST, WRITTEN[ours], ""),
                (LATER, ARRAY, ">= 0.8"),
            ):
                kept, other = named(kind, ours, epoch), named(kind, rival, epoch)
                # Of what runs on a busy machine, this varies less.
                cpu = parts.ratio(results, other, kept, "cpu_s_per_epoch")
                note = "" if cpu is None else f"{cpu:.2f} in CPU time"
                if epoch == FIRST and kind not in DECODED:
                    bound = ""
                work = f"{kind} kept {ours}, {epoch}"
                made.append(
                    parts.target(work, rival, bound, parts.ratio(results, kept, other), note)
                )
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of later epochs")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--executor", default="Threads", choices=["Threads", "Processes"])
    options = parts.options_of(parser, measured, seconds=0.2, samples=256)
    first = (WITHOUT, MEMORY, FOLDER, *WRITTEN.values())
    names = [named(kind, c, FIRST) for kind in FORMATS for c in first]
    names += [named(kind, c, LATER) for kind in FORMATS for c in (ARRAY, MEMORY, FOLDER)]
    writers: dict[str, Callable[[Path, int], None]] = {
        "pictures": write_pictures,
        "audio": write_audio,
        ".npy": write_npy,
    }
    with tempfile.TemporaryDirectory() as root:
        folders = {}
        for kind, write in writers.items():
            folder = Path(root, kind)
            folder.mkdir()
            write(folder, options.samples)
            folders[kind] = str(folder)
        request = {
            "folders": folders,
            "seconds": options.seconds,
            "executor": options.executor,
        }
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    columns = (
        parts.SPEED,
        parts.Column("samples/s", "samples_per_s", ",.0f"),
        parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
        parts.Column("peak RSS, MiB", "peak_rss_mib"),
    )
    parts.report(
        options,
        "cached",
        f"{options.samples} shuffled samples of each kind, batches of {BATCH_SIZE}, "
        f"{options.executor}(2).",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
