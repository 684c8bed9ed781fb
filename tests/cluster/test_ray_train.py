"""Within Ray Train each worker is a rank, with the batches that this rank has anywhere."""

import json

import numpy as np

import headrace as hr

SCRIPT = """
import json
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

folder = os.getcwd()
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False,
         object_store_memory=200 * 2**20)

def train(config):
    import torch
    rank, world_size = hr.world()
    assert (rank, world_size) == (ray.train.get_context().get_world_rank(), 2)
    x = np.arange(64, dtype="float32")
    for executor in (hr.Threads(2), hr.Ray(2)):
        seen = []
        with hr.Loader(
            x, 4, seed=3, rank=rank, world_size=world_size, executor=executor
        ) as loader:
            for epoch in range(2):
                for batch in loader.to_torch():
                    assert isinstance(batch, torch.Tensor)
                    seen.append(batch.tolist())
        with open(f"{folder}/{executor}, rank {rank}", "w") as file:
            json.dump(seen, file)

TorchTrainer(
    train,
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(storage_path=folder),
).fit()
ray.shutdown()
"""


def test_each_worker_of_ray_train_has_the_batches_of_its_rank(run, tmp_path):
    run(SCRIPT)
    for rank in range(2):
        loader = hr.Loader(
            np.arange(64, dtype="float32"), 4, seed=3, rank=rank, world_size=2, executor=hr.Inline()
        )
        expected = [batch.tolist() for epoch in range(2) for batch in loader]
        for executor in (hr.Threads(2), hr.Ray(2)):
            file = tmp_path / f"{executor}, rank {rank}"
            assert json.loads(file.read_text()) == expected, file.name
