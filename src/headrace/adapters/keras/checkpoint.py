"""A file with all of a Keras model's state, and how far its training has come.

It is what `Model.save_weights` writes, with one more group for what that leaves out.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple, TypedDict

import h5py
import keras

from headrace.arrays import Array
from headrace.atomic_file import atomic_file
from headrace.batching.cursor import State
from headrace.errors import HeadraceError, StateError

SUFFIX = ".weights.h5"
_GROUP, _PROGRESS, _VARIABLES, _GENERATORS = "headrace", "progress", "variables", "generators"


class Progress(TypedDict):
    """How far a `fit` has come.

    Attributes:
        epoch: that it is in.
        steps: that it has made in that epoch.
        whole: whether that epoch is one of the loader's, from its first batch to its last.
        loader: the loader's state.
    """

    epoch: int
    steps: int
    whole: bool
    loader: State


class Checkpoint(NamedTuple):
    """What a file has besides the weights and the optimizer.

    `variables` are those of random layers and of metrics, `generators` the states of PyTorch's.
    """

    progress: Progress
    iterations: int
    variables: list[Array]
    generators: list[Array]


def save(file: Path, model: keras.Model, progress: Progress) -> None:
    """Writes the file in one step: at any time it is whole, this one or the one before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name.removesuffix(SUFFIX)}-partial{SUFFIX}")
    with atomic_file(file, partial):
        model.save_weights(partial, overwrite=True)
        with h5py.File(partial, "r+") as opened:
            group = opened.create_group(_GROUP)
            group.attrs[_PROGRESS] = json.dumps([progress, iterations(model)])
            for number, variable in enumerate(_left_out(model)):
                group[f"{_VARIABLES}/{number}"] = keras.ops.convert_to_numpy(variable)
            for number, state in enumerate(_states_of_generators()):
                group[f"{_GENERATORS}/{number}"] = state


def read(file: Path) -> Checkpoint:
    """What the file has besides the weights.

    Raises:
        StateError: (a ValueError) it was not written by `save`, or is damaged.
    """
    try:
        with h5py.File(file, "r") as opened:
            group = opened[_GROUP]
            progress, iterations = json.loads(group.attrs[_PROGRESS])
            return Checkpoint(
                progress, iterations, _arrays(group, _VARIABLES), _arrays(group, _GENERATORS)
            )
    except (OSError, KeyError, ValueError) as error:
        raise StateError(
            f"{os.fspath(file)!r} must be a file that ResumeTraining has written, but is not: "
            f"{error}. Remove it, or give another filepath."
        ) from None


def restore(file: Path, checkpoint: Checkpoint, model: keras.Model) -> None:
    """Gives the model all that the file has, but for PyTorch's generators.

    Raises:
        HeadraceError: the model has no weights yet.
        StateError: (a ValueError) the file is of another model or optimizer.
    """
    if not model.built:
        raise HeadraceError(
            "ResumeTraining can't restore a model that has no weights yet. Begin it with "
            "keras.Input, or build it before fit."
        )
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    model.load_weights(file)
    variables = _left_out(model)
    if len(variables) != len(checkpoint.variables):
        raise StateError(
            f"the model must be the one that {os.fspath(file)!r} was saved of, with "
            f"{len(checkpoint.variables)} variables of random layers and metrics, but has "
            f"{len(variables)}."
        )
    for variable, value in zip(variables, checkpoint.variables, strict=True):
        variable.assign(value)
    if iterations(model) != checkpoint.iterations:
        raise StateError(
            f"the model must have the optimizer that {os.fspath(file)!r} was saved of, which has "
            f"made {checkpoint.iterations} iterations, but that of the model has "
            f"{iterations(model)} after loading it. Compile it with the same one."
        )


def restore_generators(states: list[Array]) -> None:
    """Gives PyTorch's generators, which Keras' random layers use there, their states."""
    if not states or keras.backend.backend() != "torch":
        return
    import torch

    of_cpu, *of_devices = map(torch.from_numpy, states)
    torch.set_rng_state(of_cpu)
    if len(of_devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(of_devices)


def iterations(model: keras.Model) -> int:
    """How many steps the model's optimizer has made."""
    optimizer = model.optimizer
    return 0 if optimizer is None else int(keras.ops.convert_to_numpy(optimizer.iterations))


def _states_of_generators() -> list[Array]:
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [state.numpy() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def _left_out(model: keras.Model) -> list[keras.Variable]:
    """The variables that `save_weights` leaves out: those of random layers, and of metrics."""
    saved = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in saved]


def _arrays(group: h5py.Group, name: str) -> list[Array]:
    arrays = group.get(name, {})
    return [arrays[str(number)][()] for number in range(len(arrays))]
