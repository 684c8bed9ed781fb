"""What `world()` says in a driver of Ray Train and in its two workers.

One trainer starts them alone, the other with torch.distributed, which then speaks as well.

    ray_world.py RANK WORLD_SIZE FOLDER
"""

import json
import sys
from pathlib import Path

import ray
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import headrace as hr


def train(config: dict) -> None:
    rank, world_size = hr.world()
    torch = sys.modules.get("torch.distributed")
    order = hr.BatchSampler(20, 5, rank=rank, world_size=world_size)
    answer = {
        "world": [rank, world_size],
        "torch": torch is not None and torch.is_initialized(),
        "steps": [order.indices(0, step).tolist() for step in range(len(order))],
    }
    (Path(config["folder"]) / f"{rank}.json").write_text(json.dumps(answer))


def main(folder: Path) -> None:
    # A cluster of its own, also where another one runs on this machine.
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    answers = {"driver": hr.world()}
    for trainer in (DataParallelTrainer, TorchTrainer):
        results = folder / trainer.__name__
        results.mkdir()
        trainer(
            train,
            train_loop_config={"folder": str(results)},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=str(results), name="run"),
        ).fit()
        told = [json.loads((results / f"{rank}.json").read_text()) for rank in range(2)]
        answers[trainer.__name__] = told
    ray.shutdown()
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[3]))
