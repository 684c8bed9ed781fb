"""Trains a line over gloo with DistributedDataParallel, and measures it over all ranks.

torch_train.py RANK WORLD_SIZE STORE GLOBAL_BATCH
"""

import json
import sys

import numpy as np
import torch
import torch.distributed as dist
from gloo_end import end

import headrace as hr

N, EPOCHS = 90, 2


def main(rank: int, world_size: int, store: str, global_batch: int) -> None:
    before = hr.world()
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    place = hr.world()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 5)).astype("float32")
    y = x @ np.arange(5, dtype="float32")[:, None] + 1
    source = (x, y, np.arange(N))
    options = {**place._asdict(), "batch_size": global_batch // world_size, "seed": 4}

    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    steps = []
    train = hr.Loader(source, **options)
    for _ in range(EPOCHS):
        for inputs, targets, numbers in train.to_torch():
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(inputs), targets).backward()
            optimizer.step()
            steps.append(numbers.tolist())

    losses = {}
    for tail in ("pad", "partial"):
        test = hr.Loader(source, tail=tail, **options)
        totals = torch.zeros(2, dtype=torch.float64)  # squared error, samples
        with torch.no_grad():
            for inputs, targets, numbers, *padding in test.to_torch():
                weights = padding[0] if padding else torch.ones(len(numbers))
                error = (model(inputs) - targets)[:, 0] ** 2
                totals += torch.stack([(error * weights).sum(), weights.sum()])
        dist.all_reduce(totals)
        losses[tail] = totals.tolist()
    everything = ((model.module(torch.from_numpy(x)) - torch.from_numpy(y)) ** 2).sum().item()
    weights = torch.cat([parameter.detach().ravel() for parameter in model.parameters()])
    answer = {
        "before": before,
        "world": place,
        "steps": steps,
        "weights": weights.tolist(),
        "losses": losses,
        "everything": everything,
    }
    print(json.dumps(answer), flush=True)
    end()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
