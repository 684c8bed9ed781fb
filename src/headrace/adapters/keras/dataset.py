"""KerasDataset: a loader as a `keras.utils.PyDataset`, and the tutorial's `DataGenerator`.

Requires Keras 3, on any backend. Promises that the batches which train are exactly those from the
loader's place on, in order, whatever else Keras asks for; `passes` tells how.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from headrace.arrays import Array
from headrace.batching.feed import HasFeed, feed_of
from headrace.errors import ArgumentError, missing_extra

try:
    import keras
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.keras", "Keras", "keras") from error

from headrace.adapters.keras.passes import Passes
from headrace.adapters.keras.resume import ResumeTraining
from headrace.executors.executor import Executor
from headrace.executors.threads import Threads
from headrace.loader import Loader
from headrace.pytree import map_leaves
from headrace.readers.labels import Labels
from headrace.readers.npy.npy_files import NpyFiles

__all__ = ["DataGenerator", "KerasDataset", "ResumeTraining"]


class KerasDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of a loader for `fit`, `evaluate` and `predict`. `Loader.to_keras` makes it.

    `fit` trains on the batches from the loader's place on, and moves the loader by those that it
    trained on. `evaluate` and `predict` take the loader's current epoch from its first batch to its
    last, and do not move it. `dataset[i]` is batch i of the current epoch.

    A batch is the loader's: `(x, y)`, `(x, y, sample_weight)` or `(x,)`, where x and y may be
    dicts, or a dict of inputs. A single array becomes `(x,)`. With `tail="pad"` the weights of the
    padding become, or multiply, the sample weights.

    Look-ahead is the loader's own, so Keras sees one worker and no multiprocessing.

    A subclass may override `__getitem__` to change a batch, and must take one batch of `super()`
    each time. To mix batches, or to change what comes next, use the loader's transform. A dataset
    of Keras that wraps this one does not tell it what trains: it gets batches by their index.
    """

    def __init__(self, loader: HasFeed) -> None:
        self._feed = feed_of(loader)
        if not len(self._feed.sampler):
            raise ArgumentError(
                f"loader must have at least one step in an epoch; {loader!r} has none."
            )
        super().__init__(workers=1, use_multiprocessing=False)
        self.loader = loader
        self._passes = Passes(self._feed)

    def __len__(self) -> int:
        return len(self._feed.sampler)

    @property
    def num_batches(self) -> int:
        """How many batches Keras asks for: of an epoch that goes on after a restart, its rest."""
        return self._passes.shortened or len(self)

    def __getitem__(self, index: int) -> Any:
        batch = self._passes.batch(self, index)
        if self._feed.sampler.tail == "pad":
            batch = _with_sample_weight(batch)
        elif not isinstance(batch, tuple | dict):
            batch = (batch,)
        return _as_backend_takes_it(batch)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_passes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._passes = Passes(self._feed)

    def on_epoch_begin(self) -> None:
        """Called by Keras."""
        self._passes.begin()

    def on_epoch_end(self) -> None:
        """Called by Keras, more often than epochs end. In a loop of your own: the next epoch."""
        self._passes.end()


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
            batches are always made ahead, by threads.
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
        ids = list(list_IDs)
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


def _with_sample_weight(batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """The batch as (x, y, sample_weight), of one that ends with the weights of its padding."""
    *parts, padding = batch
    if len(parts) == 1:
        raise ArgumentError(
            "tail must be 'drop' or 'partial' for a source of inputs alone, but 'pad' was given: "
            "Keras takes the weights of padding only beside targets."
        )
    if len(parts) == 3:

        def weigh(weight: Array) -> Array:
            weighed: Array = weight * padding.reshape(-1, *(1,) * (weight.ndim - 1))
            return weighed

        return (parts[0], parts[1], map_leaves(weigh, parts[2]))
    return batch


def _as_backend_takes_it(batch: Any) -> Any:
    """The batch in the form that the backend takes without a copy of its own."""
    if keras.backend.backend() != "torch":
        return batch
    from headrace.adapters.torch import as_tensor

    return map_leaves(as_tensor, batch)
