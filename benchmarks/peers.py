"""The peers of headrace over one .npy file per sample, each as a knowledgeable user would write it.

Requires what each peer requires; each is imported in the process of its measurement alone. Where
a peer leaves the reading of files to its user, it is measured with `np.load`, which is what users
call, and with a reader written for these files, which reads as headrace does.

Configurations tried and left out, as slower or not clearly faster on 2 CPUs:

- DataLoader and StatefulDataLoader: `__getitems__` into shared memory; 2 workers with the reader
  of one's own; other prefetch factors.
- Grain: `MapDataset.source(...).batch(128)` of single samples; batching after `to_iter_dataset`;
  0, 2 and 16 read threads with buffers of 0, 4 and 500; threads within 2 processes.
- SPDL: one file per task, then `aggregate`; 1 thread; the output queue of asyncio. Not tried is its
  `spdl.io.load_npy`, which makes an array of a file's bytes, of another package, `spdl-io`.
- tf.data: `strings.substr` before `decode_raw`; `decode_raw` of the batch; `map_fn` over a batch;
  `FixedLengthRecordDataset` interleaved; a private pool of 2 threads; `deterministic=False`.
"""

import contextlib
import itertools
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from measuring import RunEpoch, consume, needed
from workload import BATCH_SIZE, Workload

Read = Callable[[Sequence[int]], np.ndarray]


class NpLoad:
    """Reads a batch with `np.load`."""

    def __init__(self, work: Workload) -> None:
        self.paths, self.shape = work.paths, work.shape

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        batch = np.empty((len(indices), *self.shape), np.float32)
        for row, index in enumerate(indices):
            batch[row] = np.load(self.paths[index])
        return batch


class OwnReader(NpLoad):
    """Reads a batch of files whose header is known, each with one call into its row."""

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        self.header = work.header

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        batch = np.empty((len(indices), *self.shape), np.float32)
        rows = batch.reshape(len(indices), -1).view(np.uint8)
        header = bytearray(len(self.header))
        for row, index in zip(rows, indices, strict=True):
            file = os.open(self.paths[index], os.O_RDONLY | os.O_CLOEXEC)
            try:
                received = os.preadv(file, (header, row), 0)
            finally:
                os.close(file)
            if received != len(header) + len(row) or header != self.header:
                raise ValueError(f"{self.paths[index]} is not as expected")
        return batch


@contextlib.contextmanager
def np_load(work: Workload) -> Iterator[RunEpoch]:
    """The tutorial's loop."""
    read = NpLoad(work)

    def batches(epoch: int) -> Iterator[np.ndarray]:
        for indices in work.order(epoch).reshape(-1, BATCH_SIZE).tolist():
            yield read(indices)

    yield lambda epoch, check: consume(batches(epoch), check)


class SampleDataset:
    """A map-style dataset, as most users of PyTorch write it."""

    def __init__(self, work: Workload) -> None:
        self.paths = work.paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from torch import from_numpy  # not above, as only the peers that need torch import it

        return from_numpy(np.load(self.paths[index]))


class BatchDataset(SampleDataset):
    """A map-style dataset that is asked for a batch at a time."""

    def __init__(self, work: Workload, read: Read) -> None:
        super().__init__(work)
        self.read = read

    def __getitems__(self, indices: list[int]) -> Any:
        from torch import from_numpy

        return from_numpy(self.read(indices))


def same(batch: Any) -> Any:
    """Collates what is a batch already."""
    return batch


@contextlib.contextmanager
def data_loader(
    work: Workload, workers: int, read: Read | None = None, module: str = "torch.utils.data"
) -> Iterator[RunEpoch]:
    """PyTorch's DataLoader, or torchdata's, whose workers live on from epoch to epoch."""
    torch = needed("torch")
    made = needed(module)
    loader_class = getattr(made, "StatefulDataLoader", None) or made.DataLoader
    torch.manual_seed(0)
    loader = loader_class(
        BatchDataset(work, read) if read else SampleDataset(work),
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=same if read else None,
    )
    yield lambda _epoch, check: consume(loader, check)


def stateful_data_loader(
    work: Workload, workers: int, read: Read
) -> AbstractContextManager[RunEpoch]:
    return data_loader(work, workers, read, "torchdata.stateful_dataloader")


def epochs_of(batches: Iterator[Any], work: Workload) -> RunEpoch:
    """Epochs of an iterator that goes on without end, as starting another one would cost more."""
    return lambda _epoch, check: consume(itertools.islice(batches, work.steps), check)


@contextlib.contextmanager
def grain(work: Workload, read: Read, processes: int = 0) -> Iterator[RunEpoch]:
    """Grain: batches of indices, shuffled anew in each epoch, and read by a thread or processes."""
    library = needed("grain")
    needed("absl.flags").FLAGS.mark_as_parsed()  # which its worker processes ask for
    in_processes = processes > 0
    dataset = (
        library.MapDataset.range(work.samples)
        .shuffle(seed=0)
        .repeat()
        .batch(BATCH_SIZE, drop_remainder=True)
        .map(read)
        .to_iter_dataset(
            library.ReadOptions(
                num_threads=0 if in_processes else 1, prefetch_buffer_size=0 if in_processes else 2
            )
        )
    )
    if in_processes:
        options = library.MultiprocessingOptions(num_workers=processes, per_worker_buffer_size=2)
        dataset = dataset.mp_prefetch(options)
    batches = iter(dataset)
    try:
        yield epochs_of(batches, work)
    finally:
        batches.close()


@contextlib.contextmanager
def spdl(work: Workload, read: Read, threads: int) -> Iterator[RunEpoch]:
    """SPDL: a pipeline whose unit is a batch."""
    library = needed("spdl.pipeline")

    def index_batches() -> Iterator[list[int]]:
        for epoch in itertools.count():
            yield from work.order(epoch).reshape(-1, BATCH_SIZE).tolist()

    pipeline = (
        library.PipelineBuilder()
        .add_source(index_batches())
        .pipe(read, concurrency=threads, output_order="input")
        .add_sink(4)
        # Without max_failures=0, a batch that could not be read is left out in silence.
        .build(num_threads=threads, max_failures=0, use_thread_output_queue=True)
    )
    with pipeline.auto_stop():
        yield epochs_of(pipeline.get_iterator(), work)


@contextlib.contextmanager
def tf_data(work: Workload, whole_batches: bool) -> Iterator[RunEpoch]:
    """tf.data: an element is a file, or a batch of files whose reads are unrolled."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = needed("tensorflow")
    tune = tf.data.AUTOTUNE
    header_numbers = len(work.header) // 4  # a header ends at a multiple of 64 bytes

    def read(path: Any) -> Any:
        numbers = tf.io.decode_raw(tf.io.read_file(path), tf.float32)
        return tf.reshape(numbers[header_numbers:], work.shape)

    def read_batch(paths: Any) -> Any:
        return tf.stack([read(path) for path in tf.unstack(paths, BATCH_SIZE)])

    paths = tf.data.Dataset.from_tensor_slices(work.paths)
    shuffled = paths.shuffle(work.samples, seed=0, reshuffle_each_iteration=True).repeat()
    if whole_batches:
        dataset = shuffled.batch(BATCH_SIZE, drop_remainder=True).map(read_batch, tune)
    else:
        dataset = shuffled.map(read, tune).batch(BATCH_SIZE, drop_remainder=True)
    yield epochs_of(dataset.prefetch(tune).as_numpy_iterator(), work)


def streaming_library() -> Any:
    """MosaicML Streaming."""
    # Its package imports torchvision for datasets that are not needed here. There is none on PyPI
    # for a torch without CUDA, so an empty module stands in for them.
    sys.modules.setdefault("streaming.vision", types.ModuleType("streaming.vision"))
    return needed("streaming")


def convert(work: Workload) -> dict[str, float]:
    """Writes the samples in the format of Streaming; returns how long it took."""
    library = streaming_library()
    started = time.perf_counter()
    encoding = "ndarray:float32:" + ",".join(map(str, work.shape))
    with library.MDSWriter(out=f"{work.root}/mds", columns={"x": encoding}) as writer:
        for path in work.paths:
            writer.write({"x": np.load(path)})
    return {"conversion_s": time.perf_counter() - started}


@contextlib.contextmanager
def streaming(work: Workload, workers: int | None) -> Iterator[RunEpoch]:
    """MosaicML Streaming's loader, or without workers batches indexed directly."""
    library = streaming_library()
    needed("streaming.base.util").clean_stale_shared_memory()  # of one that was killed
    dataset = library.StreamingDataset(
        local=f"{work.root}/mds", batch_size=BATCH_SIZE, shuffle=True, num_canonical_nodes=1
    )

    def indexed(epoch: int) -> Iterator[np.ndarray]:
        for indices in work.order(epoch).reshape(-1, BATCH_SIZE):
            yield np.stack([sample["x"] for sample in dataset[indices]])

    if workers is None:
        yield lambda epoch, check: consume(indexed(epoch), check)
        return
    loader = library.StreamingDataLoader(
        dataset,
        batch_size=BATCH_SIZE,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    yield lambda _epoch, check: consume((batch["x"] for batch in loader), check)


CONTENDERS: dict[str, Callable[[Workload], AbstractContextManager[RunEpoch]]] = {
    "np.load loop": np_load,
    "DataLoader, 0 workers": lambda work: data_loader(work, 0),
    "DataLoader, 2 workers": lambda work: data_loader(work, 2),
    "DataLoader, __getitems__, 0 workers": lambda work: data_loader(work, 0, NpLoad(work)),
    "DataLoader, __getitems__, 2 workers": lambda work: data_loader(work, 2, NpLoad(work)),
    "DataLoader, own reader": lambda work: data_loader(work, 0, OwnReader(work)),
    "StatefulDataLoader, 0 workers": lambda work: stateful_data_loader(work, 0, NpLoad(work)),
    "StatefulDataLoader, 2 workers": lambda work: stateful_data_loader(work, 2, NpLoad(work)),
    "Grain, 1 thread": lambda work: grain(work, NpLoad(work)),
    "Grain, 2 processes": lambda work: grain(work, NpLoad(work), processes=2),
    "Grain, own reader": lambda work: grain(work, OwnReader(work)),
    "SPDL, 2 threads": lambda work: spdl(work, NpLoad(work), 2),
    "SPDL, own reader": lambda work: spdl(work, OwnReader(work), 2),
    "tf.data, per file": lambda work: tf_data(work, whole_batches=False),
    "tf.data, per batch": lambda work: tf_data(work, whole_batches=True),
    "Streaming, 0 workers": lambda work: streaming(work, 0),
    "Streaming, 2 workers": lambda work: streaming(work, 2),
    "Streaming, indexed": lambda work: streaming(work, None),
}
OWN_READERS = tuple(name for name in CONTENDERS if name.endswith("own reader"))
