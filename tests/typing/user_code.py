"""What users write, with the types that static checkers must find. It is checked, and never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import headrace as hr
from headrace.adapters.jax import JaxBatches
from headrace.adapters.torch import HeadraceDataLoader

Array = npt.NDArray[Any]

x = np.zeros((8, 2), np.float32)
y = np.arange(8)


class Squares:
    """A reader of anyone's, of which samples are single arrays."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __len__(self) -> int:
        return 8

    def read(self, indices: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
        out[:] = indices**2


def scaled(batch: tuple[Array, Array], rng: np.random.Generator) -> dict[str, Array]:
    return {"x": batch[0] * rng.normal(), "y": batch[1]}


def noisy(sample: Array, rng: np.random.Generator) -> Array:
    return sample + rng.normal(size=sample.shape)


def pairs() -> None:
    loader = hr.Loader((x, y), batch_size=4)
    assert_type(loader, hr.Loader[tuple[Array, Array]])
    for a, b in loader:
        assert_type(a, Array)
        assert_type(b, Array)
    assert_type(loader.batch(0, 0), tuple[Array, Array])
    assert_type(next(loader.stream()), tuple[Array, Array])
    assert_type(next(iter(loader)), tuple[Array, Array])
    assert_type(loader.headspace(2).batch(0, 0), tuple[Array, Array])
    with hr.Loader((x, y), 4, executor=hr.Threads(2)) as opened:
        assert_type(opened.batch(0, 0), tuple[Array, Array])


def other_structures() -> None:
    assert_type(hr.Loader(x, batch_size=4).batch(0, 0), Array)
    assert_type(hr.Loader((x, x, y), batch_size=4).batch(0, 0), tuple[Array, Array, Array])
    assert_type(hr.Loader({"x": x, "y": y}, batch_size=4).batch(0, 0), dict[str, Array])
    named = {"x": x}
    assert_type(hr.Loader(named, batch_size=4).batch(0, 0), dict[str, Array])
    # Checkers can't know everything.
    assert_type(hr.Loader((x, x, x, x), batch_size=4).batch(0, 0), Any)
    assert_type(hr.Loader({"x": x, "more": (x, y)}, batch_size=4).batch(0, 0), Any)


def readers(root: Path, ids: list[str], labels: dict[str, int]) -> None:
    files = hr.NpyFiles(root, ids=ids)
    classes = hr.Labels(labels, ids=ids, n_classes=10)
    assert_type(hr.Loader((files, classes), batch_size=4).batch(0, 0), tuple[Array, Array])
    assert_type(hr.Loader(files, batch_size=4).batch(0, 0), Array)
    assert_type(hr.Loader(hr.NpyFile(root), batch_size=4).batch(0, 0), Array)
    assert_type(hr.Loader(hr.NpyShards(root), batch_size=4).batch(0, 0), Array)
    assert_type(hr.Loader(Squares(), batch_size=4).batch(0, 0), Array)
    assert_type(hr.Loader({"y": Squares(), "x": x}, batch_size=4).batch(0, 0), dict[str, Array])
    # Of samples that may have a structure, only their files know it.
    assert_type(hr.Loader(hr.TarFiles(root, "npy"), batch_size=4).batch(0, 0), Any)
    assert_type(hr.Loader(hr.Parquet(root), batch_size=4).batch(0, 0), Any)
    assert_type(hr.Loader(hr.GetItem([x]), batch_size=4).batch(0, 0), Any)
    assert_type(hr.Loader(hr.open(root), batch_size=4).batch(0, 0), Any)


def transforms() -> None:
    assert_type(hr.Loader((x, y), 4, transform=scaled).batch(0, 0), dict[str, Array])
    assert_type(hr.Loader(x, 4, transform=hr.per_sample(noisy)).batch(0, 0), Any)
    assert_type(hr.Loader(x, 4, transform=None).batch(0, 0), Array)


def options() -> None:
    assert_type(hr.Loader(x, 4, tail="partial", shuffle=False, seed=1).batch(0, 0), Array)
    assert_type(
        hr.Loader(x, 4, shuffle=hr.BlockShuffle(2), rank=1, world_size=2).batch(0, 0), Array
    )
    assert_type(hr.Loader(x, 4, on_error="replace", max_bad_samples=2).batch(0, 0), Array)
    samplings = (hr.Weighted(y), hr.Balanced(y, 2, 2), hr.BlockShuffle(2))
    for sampling in samplings:
        assert_type(hr.Loader(x, 4, shuffle=sampling, skip=[(0, 1, 1)]).batch(0, 0), Array)
    both = hr.Concat(a=x, b=x)
    mix = hr.Mix({"a": 1, "b": 0.5}, stages=[(8, {"a": 0, "b": 1})], passes={"a": None, "b": 2})
    assert_type(hr.Loader(both, 4, shuffle=mix).batch(0, 0), Any)
    # Weights and indices are added to what there is, in a form that depends on it.
    assert_type(hr.Loader((x, y), 4, tail="pad").batch(0, 0), Any)
    assert_type(hr.Loader((x, y), 4, with_indices=True).batch(0, 0), Any)


def members(loader: hr.Loader[Array]) -> None:
    assert_type(len(loader), int)
    assert_type(loader.place.position, int)
    assert_type(loader.indices(0, 0), npt.NDArray[np.int64])
    assert_type(loader.ids(0, 0), list[str])
    assert_type(loader.find(3, epoch=0), list[hr.Found])
    assert_type(loader.state_dict(), dict[str, Any])
    assert_type(loader.stats(), hr.Stats)
    assert_type(loader.bad_samples, list[hr.BadSample])


def adapters(loader: hr.Loader[Array]) -> None:
    assert_type(loader.to_torch(num_workers=2), HeadraceDataLoader)
    assert_type(loader.to_jax(), JaxBatches)
    assert_type(next(iter(loader.to_jax())), Any)
