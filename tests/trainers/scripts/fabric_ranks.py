"""Loops with Lightning Fabric in two processes, which it starts itself.

Given a folder, each process writes there what it has seen, to a file named by its rank.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import lightning_recording
import numpy as np
import torch
from lightning import Fabric
from lightning_recording import SAMPLED, expected_of, make_sampled

import headrace as hr

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])

N, BATCH, STEPS = 26, 2, 6


def listed(batches):
    return [batch.tolist() for batch in batches]


def try_all(fabric, ranks):
    def setup(**options):
        loader = hr.Loader(np.arange(N), BATCH, seed=1, **ranks)
        return fabric.setup_dataloaders(loader.to_torch(**options))

    results = {}
    data = setup()
    assert len(data) == STEPS
    results["seen"] = listed(data) + listed(data)

    data = setup(num_workers=1, persistent_workers=True)
    results["workers"] = listed(data) + listed(data)

    data = setup()
    left_early = [next(iter(data)).tolist()]
    for number, batch in enumerate(data):
        left_early.append(batch.tolist())
        if number == 2:
            break
    results["left early"] = left_early + listed(data)

    held_out = hr.Loader(np.arange(11), BATCH, shuffle=False, tail="partial", **ranks)
    held_out = fabric.setup_dataloaders(held_out.to_torch())
    results["evaluated"] = listed(held_out) + listed(held_out)

    sampled = results["sampled"] = {}
    for name in SAMPLED:
        loader = make_sampled(name, *(ranks.values() or (0, 1)))
        data = fabric.setup_dataloaders(loader.to_torch())
        seen = [lightning_recording.listed(batch) for batch in data]
        sampled[name] = seen, expected_of(make_sampled(name, *hr.world()))

    def train(data, stop):
        """Takes `stop` batches, epoch after epoch."""
        seen = []
        while True:
            for batch in data:
                seen.append(batch.tolist())
                if len(seen) == stop:
                    return seen

    for step in 2, 6, 9:
        data = setup()
        train(data, step)
        fabric.save(folder / "state.ckpt", {"data": data})
        data = setup()
        fabric.load(folder / "state.ckpt", {"data": data})
        results[f"from {step}"] = train(data, 3 * STEPS - step)
        fabric.barrier()
    return results


def warned_of(data):
    """Whether there is a warning that every process gets all batches."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        next(iter(data))
    return ["nothing shares them out" in str(one.message) for one in caught]


def not_shared_out(fabric, ranks):
    """Whether it is warned of for a loader with ranks, and for one without."""
    return [
        warned_of(
            fabric.setup_dataloaders(
                hr.Loader(np.arange(N), BATCH, **given).to_torch(), use_distributed_sampler=False
            )
        )
        for given in (ranks, {})
    ]


def main():
    try:
        early = list(hr.world())
    except hr.HeadraceError as error:
        early = str(error)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    rank, world_size = hr.world()
    ranks = {"rank": rank, "world_size": world_size}
    results = {
        "early": early,
        "no ranks": try_all(fabric, {}),
        "ranks": try_all(fabric, ranks),
        "not shared out": not_shared_out(fabric, ranks),
    }
    (folder / f"{rank}.json").write_text(json.dumps(results))
    torch.distributed.barrier()


if __name__ == "__main__":
    main()
    os._exit(0)  # it would wait for the other process to end first
