"""What users write that is wrong: checkers must say so in the lines that end with "# wrong"."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import headrace as hr

Array = npt.NDArray[Any]

x = np.zeros((8, 2), np.float32)


def transformed(batch: Array, rng: np.random.Generator) -> tuple[Array, int]:
    return batch, 1


def not_the_types() -> None:
    loader = hr.Loader((x, x), batch_size=4)
    assert_type(loader.batch(0, 0), Any)  # wrong
    assert_type(loader.batch(0, 0), tuple[Array, Array, Array])  # wrong
    assert_type(hr.Loader(x, 4, tail="pad").batch(0, 0), Array)  # wrong
    assert_type(hr.Loader(x, 4, transform=transformed).batch(0, 0), Array)  # wrong
    _, _, _ = loader.batch(0, 0)  # wrong


def not_the_arguments() -> None:
    hr.Loader(x)  # wrong
    hr.Loader(x, 4, batch_size=4)  # wrong
    hr.Loader(x, 4, shufle=True)  # wrong
    hr.Loader(x, 4, tail="cut")  # wrong
    hr.Loader(x, 4, transform=lambda batch: batch)  # wrong
    hr.Loader(x, 4, executor="threads")  # wrong


def not_the_members(loader: hr.Loader[Array]) -> None:
    loader.place = 3  # wrong
    loader.sampler = None  # wrong
    loader.batch(0)  # wrong
    loader.fetch()  # wrong
