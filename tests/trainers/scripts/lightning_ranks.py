"""Trains with Lightning's Trainer in two processes, which it starts itself.

Given a folder, each process writes there what it has seen, to a file named by its rank.
"""

import functools
import json
import logging
import os
import sys
import warnings
from pathlib import Path

import lightning_recording
import numpy as np
import torch
from lightning_recording import (
    SAMPLED,
    Recorder,
    Writer,
    expected_of,
    make_sampled,
    saving_every_step,
)

import headrace as hr

logging.getLogger("lightning").setLevel(logging.ERROR)
warnings.simplefilter("ignore")
folder = Path(sys.argv[1])

N, BATCH = 26, 2


def make_train(rank, world_size, shuffle=True):
    transform = hr.per_sample(lambda sample, rng: np.array([sample, sample + rng.random()]))
    return hr.Loader(
        np.arange(N),
        BATCH,
        seed=1,
        rank=rank,
        world_size=world_size,
        shuffle=shuffle,
        transform=transform,
    )


def make_held_out(rank, world_size, tail="partial"):
    options = {"rank": rank, "world_size": world_size, "tail": tail}
    return hr.Loader(np.arange(11), BATCH, shuffle=False, **options)


class OfRanks(Recorder):
    def __init__(self, with_ranks, tail="partial"):
        super().__init__()
        self.with_ranks, self.tail = with_ranks, tail

    def _world(self):
        return hr.world() if self.with_ranks else (0, 1)

    def train_dataloader(self):
        return make_train(*self._world()).to_torch()

    def val_dataloader(self):
        return make_held_out(*self._world()).to_torch()

    def predict_dataloader(self):
        return make_held_out(*self._world(), self.tail).to_torch()

    def configure_optimizers(self):
        if self.trainer.limit_train_batches == 2:
            self.estimated = self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


make_trainer = functools.partial(lightning_recording.make_trainer, devices=2, strategy="ddp")


def try_all(with_ranks):
    results = {}
    saved = folder / f"with ranks {with_ranks}"
    every_step = saving_every_step(saved)
    model = OfRanks(with_ranks)
    make_trainer(callbacks=[every_step]).fit(model)
    results["fit"] = model.seen
    results["validated"] = model.validated

    for step in 4, 6, 8:  # 6 is an epoch's end
        model = OfRanks(with_ranks)
        make_trainer(callbacks=[every_step], num_sanity_val_steps=0).fit(
            model, ckpt_path=saved / f"{step}.ckpt"
        )
        results[f"from {step}"] = model.seen

    model = OfRanks(with_ranks)
    make_trainer(limit_train_batches=2, limit_val_batches=1).fit(model)
    results["limited"] = model.seen
    results["estimated"] = int(model.estimated)

    model = OfRanks(with_ranks)
    make_trainer(overfit_batches=2).fit(model)
    results["overfit"] = model.seen

    # Passed to fit, and not made in a hook.
    model = OfRanks(with_ranks)
    loader = make_train(*(hr.world() if with_ranks else (0, 1))).to_torch(num_workers=1)
    make_trainer(limit_val_batches=0).fit(model, loader)
    results["passed"] = model.seen

    sampled = results["sampled"] = {}
    for name in SAMPLED:
        model = OfRanks(with_ranks)
        loader = make_sampled(name, *(hr.world() if with_ranks else (0, 1)))
        make_trainer(max_epochs=1, limit_val_batches=0).fit(model, loader.to_torch())
        sampled[name] = model.seen, expected_of(make_sampled(name, *hr.world()))

    for tail in "partial", "drop":
        writer, model = Writer("batch"), OfRanks(with_ranks, tail)
        make_trainer(callbacks=[writer]).predict(model, return_predictions=False)
        results[f"predicted {tail}"] = writer.by_batch
    return results


def main():
    try:
        early = list(hr.world())
    except hr.HeadraceError as error:
        early = str(error)
    results = {"early": early, "no ranks": try_all(False), "ranks": try_all(True)}
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(results))
    torch.distributed.barrier()


if __name__ == "__main__":
    main()
    os._exit(0)  # it would wait for the other process to end first
