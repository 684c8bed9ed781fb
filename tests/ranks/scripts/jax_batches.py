"""An epoch of padded batches as global arrays over all processes of JAX.

jax_batches.py RANK WORLD_SIZE PORT
"""

import json
import os
import sys
import warnings

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import headrace as hr

N = 75


def main(rank: int, world_size: int, port: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    before = hr.world()
    jax.distributed.initialize(f"localhost:{port}", num_processes=world_size, process_id=rank)
    place = hr.world()
    # Asking has started no device: the number of them can still be chosen.
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

    rows = NamedSharding(Mesh(np.array(jax.devices()), "batch"), PartitionSpec("batch"))
    values = np.arange(N, dtype="float32") ** 2
    loader = hr.Loader((np.arange(N), values), batch_size=8, seed=6, tail="pad", **place._asdict())

    @jax.jit
    def weighed(values, weights):
        return (values * weights).sum(), weights.sum()

    steps, shapes, totals = [], [], np.zeros(2)
    for numbers, x, weights in loader.to_jax(rows):
        shapes.append([list(x.shape), [list(s.data.shape) for s in x.addressable_shards]])
        steps.append(process_allgather(numbers, tiled=True).tolist())
        totals += [float(total) for total in weighed(x, weights)]
    answer = {
        "before": before,
        "world": place,
        "devices": [len(jax.local_devices()), len(jax.devices())],
        "shapes": shapes,
        "steps": steps,
        "totals": totals.tolist(),
        "said": {name: said_of(*case) for name, case in others(place, rows).items()},
    }
    print(json.dumps(answer), flush=True)


def others(place: hr.World, rows: NamedSharding) -> dict[str, tuple[object, ...]]:
    alike = NamedSharding(rows.mesh, PartitionSpec())
    ranks = place._asdict()
    partial = {"tail": "partial", **ranks}
    return {
        "rows without ranks": (rows, {}),
        "all rows without ranks": (alike, {}),
        "no sharding, without ranks": (None, {}),
        "no sharding": (None, ranks),
        "all rows": (alike, ranks),
        "partial": (rows, partial),
        "partial rung": (rows, {"shuffle": hr.Buckets([1] * 11 + [2] * 64, [1, 2]), **partial}),
    }


def said_of(device: NamedSharding | None, options: dict[str, object]) -> str | None:
    """What is warned of, or raised, with the first batch."""
    batches = hr.Loader(np.arange(N, dtype="float32"), batch_size=8, **options).to_jax(device)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            next(iter(batches))
        except hr.ArgumentError as error:
            return str(error)
    return "".join(str(warning.message) for warning in warned)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
