"""world: which rank this process is, as told by whatever has started it.

Requires nothing. Promises to import no framework and to start no device: a program that uses one
has imported it, so `sys.modules` tells. Sources that contradict one another are an error, as two
processes that read the same samples would go unnoticed.
"""

import os
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np

from headrace.errors import ArgumentError, bad_value

_TOO_EARLY = (
    "A trainer such as Lightning sets WORLD_SIZE alone in the processes that it starts. Then this "
    "is too early to ask: make the loader once its processes are joined, in train_dataloader() or "
    "after fabric.launch()."
)
_REMEDY = "Pass rank= and world_size= to the loader instead of asking headrace.world()."


class World(NamedTuple):
    """Which of the processes that share the batches of each step this one is.

    Attributes:
        rank: which of them it is, 0 to world_size - 1.
        world_size: how many they are.
    """

    rank: int
    world_size: int


def world() -> World:
    """The rank and the world size of this process, for `Loader(..., rank=, world_size=)`.

    Asked are, in this order,

    1. Ray Train, within a training function;
    2. torch.distributed, if its default process group is initialised;
    3. JAX, if `jax.distributed` is initialised, also by `keras.distribution.initialize`;
    4. RANK and WORLD_SIZE of the environment, as torchrun sets them.

    Those that are silent are passed over, and those that speak must agree. If none speaks, this is
    rank 0 of 1. Call it in the training process, after the framework has been initialised: with
    Lightning's Trainer in `train_dataloader()`, with Fabric after `fabric.launch()`.

    If JAX speaks and a distribution of Keras is set (`keras.distribution.set_distribution`), the
    processes that hold the same rows of a batch, as with `ModelParallel` they may, are one rank,
    and ranks are in the order of the rows. In other cases where processes share the rows, as with
    tensor parallelism in PyTorch, pass the rank and size of the data-parallel group by hand.

    What SLURM and MPI put into the environment is not read: SLURM sets its variables also in a
    batch script and in an interactive shell, for tasks that no one has started, and so do launchers
    that start one process on a node, which starts the others.

    Raises:
        ArgumentError: (a ValueError) two sources disagree, the environment has no such rank, or
            some rows of Keras' distribution are shared by processes and others are not.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> rank, world_size = hr.world()
        >>> loader = hr.Loader(np.arange(8), batch_size=2, rank=rank, world_size=world_size)
        >>> len(loader)
        4
    """
    asked = {
        "Ray Train": _ray_train(),
        "torch.distributed": _torch_distributed(),
        "jax.distributed": _jax_distributed(),
    }
    told = {source: found for source, found in asked.items() if found is not None}
    # A program that tells torch.distributed its rank may have set one of the variables alone.
    if not told or {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        environment = _environment()
        if environment is not None:
            told["the environment (RANK, WORLD_SIZE)"] = environment
    if len(set(told.values())) > 1:
        listed = ", but ".join(
            f"{source} says rank {found.rank} of {found.world_size}"
            for source, found in told.items()
        )
        raise ArgumentError(f"rank and world_size can't be found out: {listed}. {_REMEDY}")
    jax_process = told.get("jax.distributed")
    if jax_process is not None and _keras_distribution() is not None:
        return keras_world(jax_process.rank)
    return next(iter(told.values()), World(0, 1))


def _ray_train() -> World | None:
    train = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        with warnings.catch_warnings():
            # By which version 1 of Ray Train says that this is no training function.
            warnings.filterwarnings("error", ".*meant to only be called inside", UserWarning)
            context = train.get_context()
            return World(context.get_world_rank(), context.get_world_size())
    except (RuntimeError, UserWarning, DeprecationWarning):  # not a training function, or Tune
        return None


def _torch_distributed() -> World | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return World(distributed.get_rank(), distributed.get_world_size())


def _jax_distributed() -> World | None:
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    # jax.process_index() would start the backend, and JAX 0.4.30 has no public is_initialized().
    state: Any = jax._src.distributed.global_state
    return None if state.client is None else World(state.process_id, state.num_processes)


def _environment() -> World | None:
    texts = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    if all(text is None for text in texts.values()):
        return None
    if texts["RANK"] is None:
        remedy = f"{_TOO_EARLY} {_REMEDY}"
        raise bad_value("RANK", None, "a number, as RANK and WORLD_SIZE are set both", remedy)
    for name, text in texts.items():
        if text is None or not (text.isascii() and text.isdigit()):
            raise bad_value(name, text, "a number, as RANK and WORLD_SIZE are set both", _REMEDY)
    rank, world_size = (int(text or 0) for text in texts.values())
    if rank >= world_size:
        raise bad_value("RANK", rank, f"less than WORLD_SIZE, which is {world_size}", _REMEDY)
    return World(rank, world_size)


def _keras_distribution() -> Any:
    keras = sys.modules.get("keras")
    return None if keras is None else keras.distribution.distribution()


def keras_world(process: int) -> World:
    """The rank of this process of JAX by the rows that Keras' distribution gives its devices.

    Raises:
        ArgumentError: (a ValueError) some rows are shared by processes and others are not.
    """
    distribution = _keras_distribution()
    mesh = distribution.device_mesh.backend_mesh
    axis = mesh.axis_names.index(distribution.batch_dim_name)
    rows: dict[int, set[int]] = {}
    for position, device in np.ndenumerate(mesh.devices):
        rows.setdefault(device.process_index, set()).add(position[axis])
    shares = sorted({tuple(sorted(part)) for part in rows.values()})
    if process not in rows or sum(map(len, shares)) > mesh.devices.shape[axis]:
        raise ArgumentError(
            "rank and world_size can't be found out: by Keras' distribution the processes of JAX, "
            f"by number, hold these parts of a batch: {rows}; this is process {process}. {_REMEDY}"
        )
    return World(shares.index(tuple(sorted(rows[process]))), len(shares))
