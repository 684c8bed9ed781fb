"""The well-known tutorial's `DataGenerator`, as a dataset of Keras over a loader.

Requires Keras 3. Users import it from `headrace.adapters.keras`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from headrace.adapters.keras.dataset import KerasDataset
from headrace.executors.executor import Executor
from headrace.executors.threads import Threads
from headrace.loader import Loader
from headrace.readers.labels import Labels
from headrace.readers.npy.npy_files import NpyFiles
from headrace.readers.shared.frames import is_frame


class DataGenerator(KerasDataset):
    """The well-known tutorial's generator of .npy files, by its own arguments.

    Batches are `(X, y)`: X of shape (batch_size, *dim, n_channels), y one-hot of shape
    (batch_size, n_classes). There are `len(list_IDs) // batch_size` of them in an epoch.

    Args:
        list_IDs: ids of the samples; that of sample ID is in the file `root/<ID>.npy`.
        labels: a mapping from id to class, or the classes in the order of the ids.
        batch_size: samples in a batch.
        dim: shape of a sample, without its channels.
        n_channels: channels of a sample. A file may lack their axis if there is just one.
        n_classes: number of classes.
        shuffle: a new order in each epoch.
        root: the folder of the files.
        seed: of the order.
        dtype: of X. Default: that of the files.
        executor: as `Loader` takes it.
        workers: how many threads make batches, when executor is not given.
        use_multiprocessing, max_queue_size: accepted, as Keras 3 has them here, and not used:
            batches are always prefetched, by threads.
    """

    def __init__(
        self,
        list_IDs: Iterable[str | int],  # noqa: N803
        labels: Mapping[Any, int] | npt.ArrayLike,
        batch_size: int = 32,
        dim: tuple[int, ...] = (32, 32, 32),
        n_channels: int = 1,
        n_classes: int = 10,
        shuffle: bool = True,
        root: str = "data",
        *,
        seed: int = 0,
        dtype: npt.DTypeLike | None = None,
        executor: Executor | None = None,
        workers: int | None = None,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        ids = list_IDs if is_frame(list_IDs) else list(list_IDs)  # whose index the labels may share
        if executor is None:
            executor = Threads(workers)
        super().__init__(
            Loader(
                (
                    NpyFiles(root, ids=ids, shape=(*dim, n_channels), dtype=dtype),
                    Labels(labels, ids=ids, n_classes=n_classes),
                ),
                batch_size=batch_size,
                shuffle=shuffle,
                seed=seed,
                executor=executor,
            )
        )
