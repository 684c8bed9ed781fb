"""Keras `fit` of a model that costs next to nothing, on each backend: from files, and from memory.

Requires headrace, Keras and its backends; one that is not installed is named as missing. The model
multiplies the first number of each sample by a weight that never changes, so its loss tells
whether each sample was trained on once. A measurement is one `fit` in a process of its own: an
epoch to warm up, and then whole epochs.

    python benchmarks/keras_fit.py --rounds 3 --json keras_fit.json
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import parts
from measuring import MissingError, Numbers, measure_in_turns

BATCH_SIZE = 128
N_CLASSES = 6
SHAPE = (32, 32, 32, 1)
SAMPLE_BYTES = 4 * 32**3
SCRIPT = Path(__file__).resolve()
# What headrace has to reach, times the tutorial's best mode.
BACKENDS = {"jax": ">= 5", "torch": ">= 4", "tensorflow": ">= 4"}
PROCESSES = "the tutorial, 6 processes"
TUTORIALS = ("the tutorial, workers=1", "the tutorial, 6 threads", PROCESSES)
OURS = "headrace, Threads(2)"
READY = "headrace, headspace()"
SHUFFLED = "headrace, shuffled, Threads(2)"


class Work(NamedTuple):
    """2048 files by default, and the same samples as arrays; sample i is full of the number i."""

    root: str
    samples: int

    @property
    def ids(self) -> list[str]:
        return [f"id-{index}" for index in range(self.samples)]

    @property
    def labels(self) -> dict[str, int]:
        return {name: index % N_CLASSES for index, name in enumerate(self.ids)}

    @property
    def steps(self) -> int:
        return self.samples // BATCH_SIZE

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        x = np.empty((self.samples, *SHAPE), np.float32)
        x[:] = np.arange(self.samples, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
        return x, np.eye(N_CLASSES, dtype=np.float32)[np.arange(self.samples) % N_CLASSES]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        x, y = self.arrays()
        return [
            (x[start : start + BATCH_SIZE], y[start : start + BATCH_SIZE])
            for start in range(0, self.samples, BATCH_SIZE)
        ]

    def write(self) -> None:
        for index, name in enumerate(self.ids):
            np.save(f"{self.root}/{name}.npy", np.full(SHAPE, index, np.float32))


# Data for `fit`, and how many steps it has to be told an epoch has, if it does not end by itself.
Data = tuple[Any, int | None]


def tutorial(work: Work, **parallel: Any) -> Data:
    """The well-known tutorial's generator."""
    import keras

    class DataGenerator(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(**parallel)
            self.list_ids, self.labels = work.ids, work.labels
            self.on_epoch_end()

        def __len__(self) -> int:
            return len(self.list_ids) // BATCH_SIZE

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = self.indexes[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
            x = np.empty((BATCH_SIZE, *SHAPE), np.float32)
            y = np.empty(BATCH_SIZE, int)
            for row, k in enumerate(chosen):
                x[row] = np.load(f"{work.root}/{self.list_ids[k]}.npy")
                y[row] = self.labels[self.list_ids[k]]
            return x, keras.utils.to_categorical(y, num_classes=N_CLASSES)

        def on_epoch_end(self) -> None:
            self.indexes = np.arange(len(self.list_ids))
            np.random.shuffle(self.indexes)

    return DataGenerator(), None


def headrace_files(work: Work) -> Data:
    import headrace as hr

    source = (
        hr.NpyFiles(work.root, ids=work.ids),
        hr.Labels(work.labels, ids=work.ids, n_classes=N_CLASSES),
    )
    loader = hr.Loader(source, batch_size=BATCH_SIZE, seed=0, executor=hr.Threads(2))
    return loader.to_keras(), None


def headrace_memory(work: Work, executor: str, *arguments: int, shuffle: bool = True) -> Data:
    return memory_loader(work, executor, *arguments, shuffle=shuffle).to_keras(), None


def headrace_ready(work: Work) -> Data:
    """All that is left is the way from the loader into the model."""
    loader = memory_loader(work, "Inline")
    if not hasattr(loader, "headspace"):
        raise MissingError("this version of headrace has no Loader.headspace")
    return loader.headspace(batches=len(loader)).to_keras(), None


def memory_loader(work: Work, executor: str, *arguments: int, shuffle: bool = True) -> Any:
    import headrace as hr

    chosen = getattr(hr, executor)(*arguments)
    return hr.Loader(work.arrays(), batch_size=BATCH_SIZE, seed=0, shuffle=shuffle, executor=chosen)


def dataset_of(batches: list[Any]) -> Data:
    """A PyDataset of batches that are there."""
    import keras

    class Ready(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Any:
            return batches[index]

    return Ready(), None


def generator_of(batches: list[Any]) -> Data:
    """A generator of batches that are there, without end."""

    def forever() -> Iterator[Any]:
        while True:
            yield from batches

    return forever(), len(batches)


def jax_batches(work: Work) -> list[Any]:
    import jax

    return [jax.block_until_ready(jax.device_put(batch)) for batch in work.batches()]


def torch_batches(work: Work) -> list[Any]:
    import torch

    return [tuple(map(torch.from_numpy, batch)) for batch in work.batches()]


def torch_list(work: Work) -> Data:
    import torch

    return torch.utils.data.DataLoader(torch_batches(work), batch_size=None), None  # type: ignore[arg-type]


def torch_shuffled(work: Work) -> Data:
    import torch

    dataset = torch.utils.data.TensorDataset(*map(torch.from_numpy, work.arrays()))
    # A sampler of batches and no collating: the way that gathers a batch in one call.
    order = torch.utils.data.RandomSampler(dataset)
    batches = torch.utils.data.BatchSampler(order, BATCH_SIZE, drop_last=True)
    return torch.utils.data.DataLoader(dataset, sampler=batches, batch_size=None), None


def tensorflow_slices(work: Work, ahead: int) -> Data:
    """Each element of the dataset is a whole batch."""
    import tensorflow as tf

    x, y = work.arrays()
    x = x.reshape(work.steps, BATCH_SIZE, *SHAPE)
    dataset = tf.data.Dataset.from_tensor_slices((x, y.reshape(work.steps, BATCH_SIZE, -1)))
    return (dataset.prefetch(ahead) if ahead else dataset), None


def tensorflow_shuffled(work: Work) -> Data:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(work.arrays()).shuffle(work.samples)
    return dataset.batch(BATCH_SIZE, num_parallel_calls=2).prefetch(tf.data.AUTOTUNE), None


Contenders = dict[str, Callable[[Work], Data]]

FROM_FILES: Contenders = {
    OURS: headrace_files,
    TUTORIALS[0]: lambda work: tutorial(work, workers=1),
    TUTORIALS[1]: lambda work: tutorial(work, workers=6),
    TUTORIALS[2]: lambda work: tutorial(work, workers=6, use_multiprocessing=True),
}
FROM_MEMORY: Contenders = {
    READY: headrace_ready,
    "headrace, in order": lambda work: headrace_memory(work, "Threads", 2, shuffle=False),
    SHUFFLED: lambda work: headrace_memory(work, "Threads", 2),
    "headrace, shuffled, Inline": lambda work: headrace_memory(work, "Inline"),
}
NATIVE: dict[str, Contenders] = {
    "jax": {
        "PyDataset of device arrays": lambda work: dataset_of(jax_batches(work)),
        "generator of device arrays": lambda work: generator_of(jax_batches(work)),
    },
    "torch": {
        "PyDataset of tensors": lambda work: dataset_of(torch_batches(work)),
        "generator of tensors": lambda work: generator_of(torch_batches(work)),
        "DataLoader of ready batches": torch_list,
    },
    "tensorflow": {
        "tf.data of ready batches": lambda work: tensorflow_slices(work, 0),
        "tf.data of ready batches, prefetched": lambda work: tensorflow_slices(work, 2),
        "PyDataset of arrays": lambda work: dataset_of(work.batches()),
    },
}
# The fastest way that the framework itself has to shuffle samples in memory.
NATIVE_SHUFFLED: dict[str, Contenders] = {
    "jax": {"arrays given to fit, shuffled": lambda work: (work.arrays(), None)},
    "torch": {"DataLoader of TensorDataset, shuffled": torch_shuffled},
    "tensorflow": {"tf.data, shuffled": tensorflow_shuffled},
}


def contenders(backend: str) -> dict[str, Callable[[Work], Data]]:
    memory = FROM_MEMORY | NATIVE[backend] | NATIVE_SHUFFLED[backend]
    return {
        **{f"{backend}, files: {name}": made for name, made in FROM_FILES.items()},
        **{f"{backend}, memory: {name}": made for name, made in memory.items()},
    }


def model_of(keras: Any) -> Any:
    class First(keras.layers.Layer):
        """The first number of each sample, times a weight."""

        def build(self, _shape: Any) -> None:
            self.weight = self.add_weight(shape=(), initializer="ones")

        def call(self, x: Any) -> Any:
            return x[:, 0, 0, 0] * self.weight

    model = keras.Sequential([keras.Input(SHAPE), First()])
    # Without a learning rate the weight stays one, and the loss the mean of the first numbers.
    model.compile(keras.optimizers.SGD(0.0), loss=lambda _y, first: keras.ops.mean(first))
    return model


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    backend, name = request["name"].split(", ", 1)
    for module in ("keras", backend):
        if importlib.util.find_spec(module) is None:
            raise MissingError(f"{module} is not installed")
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    import keras

    work = Work(*request["work"])
    numbers: Numbers = {}

    class Epochs(keras.callbacks.Callback):
        """Begins to measure after the first epoch, and ends the fit when it was long enough."""

        def __init__(self) -> None:
            super().__init__()
            self.right = True

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.right &= logs["loss"] == (work.samples - 1) / 2
            if epoch == 0:
                self.watch = parts.Watch()
            elif self.watch.elapsed_s >= request["seconds"]:
                numbers.update(
                    self.watch.stop(epoch, work.samples, work.samples * SAMPLE_BYTES),
                    samples_right=self.right,
                )
                self.model.stop_training = True

    data, steps = contenders(backend)[request["name"]](work)
    options = {"steps_per_epoch": steps, "epochs": 10**6, "verbose": 0, "callbacks": [Epochs()]}
    model = model_of(keras)
    if isinstance(data, tuple):
        model.fit(*data, batch_size=BATCH_SIZE, **options)
    else:
        model.fit(data, **options)
    if "headrace" in name and not numbers["samples_right"]:
        raise SystemExit(f"{request['name']} did not train on each sample once")
    return numbers | {"ms_per_batch": 1e3 * BATCH_SIZE / numbers["samples_per_s"]}


def targets(results: parts.Results) -> list[Numbers]:
    made = []
    for backend, bound in BACKENDS.items():
        ours = f"{backend}, files: {OURS}"
        wrong = [
            name
            for name, rounds in results.items()
            if name.startswith(backend) and not all(numbers["samples_right"] for numbers in rounds)
        ]
        note = f"wrong samples in: {'; '.join(wrong)}" if wrong else ""
        tutorials = [f"{backend}, files: {name}" for name in TUTORIALS]
        rival = parts.best(results, tutorials)
        measured_ratio = parts.ratio(results, ours, rival)
        work = f"fit from files, {backend}"
        made.append(parts.target(work, "the tutorial's best mode", bound, measured_ratio, note))
        processes = parts.ratio(results, ours, f"{backend}, files: {PROCESSES}")
        made.append(parts.target(work, PROCESSES, ">= 25", processes, note))
    for backend in BACKENDS:
        rivals = [f"{backend}, memory: {name}" for name in NATIVE[backend]]
        native = parts.best(results, rivals)
        shuffling = f"{backend}, memory: {next(iter(NATIVE_SHUFFLED[backend]))}"
        for name, rival, note in (
            (READY, native, "how the loader's batches reach the model, and nothing else"),
            (SHUFFLED, native, "which does not gather the samples of a batch"),
            (SHUFFLED, shuffling, "which does"),
        ):
            slower = parts.ratio(results, f"{backend}, memory: {name}", rival, "ms_per_batch")
            made.append(
                parts.target(
                    f"ms a batch of fit from memory, {backend}: {name}",
                    rival.split(": ")[1] if rival else "its fastest native route",
                    "<= 1.3",
                    slower,
                    note,
                )
            )
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=2048, help=f"a multiple of {BATCH_SIZE}")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    options = parts.options_of(parser, measured, seconds=0.3)
    names = [name for backend in options.backends for name in contenders(backend)]
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        work = Work(folder, options.samples)
        work.write()
        request = {"work": work, "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    columns = (
        parts.SPEED,
        parts.Column("ms a batch", "ms_per_batch", ".2f"),
        parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
        parts.Column("peak RSS, MiB", "peak_rss_mib"),
        parts.Column("each sample once", "samples_right"),
    )
    parts.report(
        options,
        "keras_fit",
        f"`fit` of a near-free model, {options.samples} samples of 128 KB, batches of "
        f"{BATCH_SIZE}.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
