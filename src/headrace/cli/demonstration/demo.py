"""`headrace demo`: trains from files on disk, and compares what comes out with what should.

Requires scikit-learn, Keras and one of its backends; PyTorch and JAX are shown when installed.
Promises that every number it prints was measured in this run, and that it fails if a batch differs
or the model does not learn.
"""

import contextlib
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import headrace as hr
from headrace.cli.demonstration.digits import N_CLASSES, Digits, write_digits
from headrace.cli.demonstration.keras_backend import choose_backend, import_keras, is_installed
from headrace.cli.demonstration.tutorial import TutorialGenerator
from headrace.cli.report import Report
from headrace.errors import HeadraceError, bad_value
from headrace.sampling.keys import Tail

BATCH_SIZE = 32
EPOCHS = 12
GOAL = 0.95  # validation accuracy
SEED = 0
REPEATS = 7
REPEAT_SECONDS = 0.25

# Of images and labels.
_Batches = Iterable[tuple[Sized, Sized]]

_NAMES = {"jax": "JAX", "torch": "PyTorch"}


class DemoError(HeadraceError):
    """The demo did not show what it is there to show."""


class Rate(NamedTuple):
    """Samples per second: of the repeats the median, the least and the most."""

    median: float
    least: float
    most: float


def run(folder: Path | None) -> None:
    """The whole demo, with its samples in `folder`, or in a temporary one that is deleted.

    Raises:
        HeadraceError: something is not installed, `folder` can't be used, a batch differs from what
            it should be, or the model does not reach the goal.
    """
    if folder is not None:
        check_folder(folder)
    backend = choose_backend()
    started = time.perf_counter()
    report = Report()
    with _open_folder(folder) as opened:
        report.heading(f"headrace {hr.__version__}: a Keras model trained on files, on {backend}")
        digits = _write(report, opened)
        accuracy = _train(report, digits, backend)
        ways = _compare(report, digits, backend)
        ratio = _measure(report, digits)
    report.section("Shown")
    report.line(
        f"{accuracy:.1%} validation accuracy from files on disk; the same bytes in {ways} ways;"
    )
    report.line(f"{ratio:.1f} times the samples per second of the tutorial's generator.")
    files = "were temporary and are deleted" if folder is None else f"are kept in {opened}"
    report.line(f"{time.perf_counter() - started:.0f} s in all. The files {files}.")


def check_folder(folder: Path) -> None:
    """Raises an ArgumentError unless `folder` is empty or does not exist yet."""
    try:
        if not any(folder.iterdir()):
            return
        problem = "It has files in it, and the demo overwrites nothing."
    except FileNotFoundError:
        return
    except OSError as error:
        problem = f"The system says: {error.strerror}."
    raise bad_value(
        "--folder",
        str(folder),
        "an empty folder or one that does not exist yet",
        f"{problem} Name another folder.",
    )


def _write(report: Report, folder: Path) -> Digits:
    report.section("1  Samples on disk")
    with report.status("writing scikit-learn's digits"):
        try:
            digits = write_digits(folder)
        except OSError as error:
            raise DemoError(f"the samples can't be written to {folder}: {error}.") from error
    sizes = " and ".join(f"{len(ids)} for {part}" for part, ids in digits.partition.items())
    report.line(f"{len(digits.labels)} images, float32 of shape (8, 8, 1), one .npy file for each,")
    report.line(f"labels.json and partition.json: {sizes}")
    report.line(f"in {folder}")
    return digits


def _train(report: Report, digits: Digits, backend: str) -> float:
    """Trains from disk; the validation accuracy after the last epoch."""
    report.section("2  Training from disk")
    with report.status(f"importing Keras on {backend}"):
        keras = import_keras(backend, SEED)
    with (
        _loader(digits, "train") as train,
        _loader(digits, "validation", shuffle=False, tail="partial") as validation,
    ):
        report.line(f"Keras {keras.__version__} on {backend}, batches of {BATCH_SIZE}:")
        report.line(f"{len(train)} to train on, shuffled anew in each epoch, and")
        report.line(
            f"{len(validation)} for validation, in order, of which the last is a partial one"
        )
        model = _model(keras, steps=EPOCHS * len(train))
        with report.progress("training", EPOCHS * len(train)) as advance:
            epochs = _EpochLines(report)
            history = model.fit(
                train.to_keras(),
                validation_data=validation.to_keras(),
                epochs=EPOCHS,
                verbose=0,
                callbacks=[
                    keras.callbacks.LambdaCallback(
                        on_train_batch_end=lambda batch, logs: advance(),
                        on_epoch_end=epochs.print,
                    )
                ],
            )
    accuracy = float(history.history["val_accuracy"][-1])
    if accuracy <= GOAL:
        raise DemoError(
            f"the model should reach a validation accuracy of over {GOAL:.1%}, but after {EPOCHS} "
            f"epochs has {accuracy:.1%}. That is not expected of this data: please report it."
        )
    return accuracy


def _compare(report: Report, digits: Digits, backend: str) -> int:
    """Takes one batch in every way there is; the number of ways that gave the same bytes."""
    epoch, step = 3, 7
    report.section("3  The same batch everywhere")
    report.line(f"batch {step} of epoch {epoch}, by a hash of the dtypes, shapes and bytes:")
    indices = _loader(digits, "train").indices(epoch, step)
    ids = [digits.partition["train"][index] for index in indices]
    expected = _content(
        (
            np.stack([digits.images[name] for name in ids]),
            np.eye(N_CLASSES, dtype=np.float32)[[digits.labels[name] for name in ids]],
        )
    )
    report.line(f"{_short_hash(expected)}  expected, from scikit-learn's arrays in memory")

    ways: list[tuple[str, str, Callable[[hr.Loader[Any]], Iterable[npt.ArrayLike]]]] = [
        ("", f"loader.batch({epoch}, {step})", lambda loader: loader.batch(epoch, step)),
        ("", "next(iter(loader))", lambda loader: next(iter(loader))),
        ("keras", f"loader.to_keras()[{step}], {backend}", lambda loader: loader.to_keras()[step]),
        ("torch", "next(iter(loader.to_torch()))", lambda loader: next(iter(loader.to_torch()))),
        ("jax", "next(iter(loader.to_jax()))", lambda loader: next(iter(loader.to_jax()))),
    ]
    same = 0
    for module, way, take in ways:
        if module and not is_installed(module):
            report.line(f"{'-' * 8}  {way}: {_NAMES[module]} is not installed")
            continue
        with report.status(way), _loader(digits, "train") as loader:
            loader.seek(epoch, step)
            content = _content(take(loader))
        verdict = "same" if content == expected else "DIFFERS"
        report.line(f"{_short_hash(content)}  {verdict}: {way}")
        if content != expected:
            raise DemoError(
                f"{way} should hold the samples {indices.tolist()} of the training part, but its "
                "bytes differ from theirs. Please report this."
            )
        same += 1
    return same


def _measure(report: Report, digits: Digits) -> float:
    """Prints the throughput of plain iteration; the default loader's over the tutorial's."""
    report.section("4  Throughput")
    ids = digits.partition["train"]
    image = digits.images[ids[0]]
    threads, inline = _loader(digits, "train"), _loader(digits, "train", executor=hr.Inline())
    tutorial = TutorialGenerator(
        ids, digits.labels, digits.root, BATCH_SIZE, image.shape, N_CLASSES
    )
    sources: dict[str, tuple[_Batches, Callable[[], None]]] = {
        "the tutorial's generator": (tutorial, lambda: None),
        "headrace, in this thread": (inline, inline.close),
        f"headrace, {_threads(threads)} (default)": (threads, threads.close),
    }
    rates: dict[str, list[float]] = {name: [] for name in sources}
    with report.progress("measuring", REPEATS * len(sources)) as advance:
        for source, close in sources.values():
            _samples_per_second(source, close, 0)  # so that no first time is measured
        for _ in range(REPEATS):
            for name, (source, close) in sources.items():
                rates[name].append(_samples_per_second(source, close, REPEAT_SECONDS))
                advance()
    measured = {
        name: Rate(statistics.median(all_), min(all_), max(all_)) for name, all_ in rates.items()
    }
    first, *_, last = measured.values()
    report.line(f"{'':<28}{'samples/s':>10}{'least':>10}{'most':>10}{'MB/s':>8}{'ratio':>8}")
    for name, rate in measured.items():
        report.line(
            f"{name:<28}{rate.median:>10,.0f}{rate.least:>10,.0f}{rate.most:>10,.0f}"
            f"{rate.median * image.nbytes / 1e6:>8.1f}{rate.median / first.median:>8.2f}"
        )
    report.line(f"medians of {REPEATS} runs in turns, of whole epochs in batches of {BATCH_SIZE};")
    report.line(f"a sample is a file with {image.nbytes} bytes of data, in the page cache")
    return last.median / first.median


def _samples_per_second(source: _Batches, close: Callable[[], None], seconds: float) -> float:
    """The rate over whole epochs for at least `seconds`.

    Closing is part of it: batches prefetched must neither be left over nor be found ready.
    """
    samples = 0
    started = time.perf_counter()
    while True:
        samples += sum(len(y) for _, y in source)
        if time.perf_counter() - started >= seconds:
            break
    close()
    return samples / (time.perf_counter() - started)


def _loader(
    digits: Digits,
    part: str,
    *,
    shuffle: bool = True,
    tail: Tail = "drop",
    executor: hr.Executor | None = None,
) -> hr.Loader[Any]:
    ids = digits.partition[part]
    return hr.Loader(
        (hr.NpyFiles(digits.root, ids), hr.Labels(digits.labels, ids, n_classes=N_CLASSES)),
        batch_size=BATCH_SIZE,
        shuffle=shuffle,
        seed=SEED,
        tail=tail,
        executor=executor,
    )


def _threads(loader: hr.Loader[Any]) -> str:
    n = loader.executor.n if isinstance(loader.executor, hr.Threads) else 0
    return "1 thread" if n == 1 else f"{n} threads"


def _model(keras: ModuleType, steps: int) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(N_CLASSES, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    return model


def _content(batch: Iterable[npt.ArrayLike]) -> bytes:
    """The dtype, shape and bytes of each array or tensor of a batch."""
    arrays = [np.asarray(leaf) for leaf in batch]
    return b"".join(f"{a.dtype.str}{a.shape}".encode() + a.tobytes() for a in arrays)


def _short_hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=4).hexdigest()


@contextlib.contextmanager
def _open_folder(folder: Path | None) -> Iterator[Path]:
    """The folder; or a temporary one, deleted at the end."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="headrace-demo-") as temporary:
            yield Path(temporary)
        return
    yield folder.resolve()


class _EpochLines:
    """A line for each epoch of `fit`, with the seconds since the last."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last = time.perf_counter()

    def print(self, epoch: int, logs: dict[str, float]) -> None:
        now = time.perf_counter()
        self._report.line(
            f"epoch {epoch + 1:>2}/{EPOCHS}   loss {logs['loss']:.3f}"
            f"   accuracy {logs['accuracy']:6.1%}"
            f"   validation accuracy {logs['val_accuracy']:6.1%}   {now - self._last:4.1f} s"
        )
        self._last = now
