"""Ray Train with two workers, whose `prepare_data_loader` changes a DataLoader before it trains.

One run of Ray for all habits, as it takes many seconds to start.
"""

import importlib.util
import json

import numpy as np
import pytest
from other_python import run_python

import headrace as hr

if not all(importlib.util.find_spec(name) for name in ("ray", "torch")):
    pytest.skip("needs Ray Train and PyTorch", allow_module_level=True)

N, BATCH = 26, 4
SCRIPT = """
import itertools, json, os, sys, tempfile
import numpy as np
import ray
import ray.train
import ray.train.torch
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
import headrace as hr

folder = sys.argv[1]
N, BATCH = 26, 4

def noted(batch, rng):
    return np.stack([batch, batch * 2], axis=1)

def numbers(batches):
    seen = []
    for batch in batches:
        assert (batch[:, 1] == 2 * batch[:, 0]).all()  # with the transform
        seen.append(batch[:, 0].tolist())
    return seen

def tell(rank, told, kind):
    with open(f"{folder}/{kind}-{rank}.json", "w") as file:
        json.dump(told, file)

def know(config):
    rank, world_size = hr.world()
    torch = sys.modules.get("torch.distributed")
    tell(rank, [[rank, world_size], torch is not None and torch.is_initialized()], "world")

def train(config):
    rank, world_size = hr.world()
    assert rank == ray.train.get_context().get_world_rank()
    told = {}
    options = dict(seed=3, transform=noted, executor=hr.Threads(1))
    for ranks in ("with ranks", "without ranks"):
        place = dict(rank=rank, world_size=world_size) if ranks == "with ranks" else {}
        loader = hr.Loader(np.arange(N), BATCH, tail="partial", **options, **place)
        evaluated = hr.Loader(
            np.arange(N), BATCH, tail="partial", shuffle=False, **options, **place)
        batches = ray.train.torch.prepare_data_loader(loader.to_torch())
        evaluation = ray.train.torch.prepare_data_loader(evaluated.to_torch())
        told[ranks] = passes = {"epochs": [], "evaluations": []}
        for epoch in range(3):
            batches.sampler.set_epoch(epoch)  # as Ray's documentation says
            passes["epochs"].append(numbers(batches))
            passes["evaluations"].append(numbers(evaluation))
        passes["limited"] = numbers(itertools.islice(batches, 2))
        passes["after it"] = numbers(batches)
        passes["peek"] = numbers([next(iter(evaluation))])
        passes["evaluations"].append(numbers(evaluation))

    options |= dict(tail="partial", rank=rank, world_size=world_size)
    loader = hr.Loader(np.arange(N), BATCH, **options)
    batches = ray.train.torch.prepare_data_loader(loader.to_torch(num_workers=1))
    told["workers"] = numbers(batches)
    running = iter(batches)
    told["before"] = numbers(next(running) for _ in range(2))
    name = f"state-{rank}.json"  # as one worker may still copy what the other one reads
    with tempfile.TemporaryDirectory() as saved:
        with open(f"{saved}/{name}", "w") as file:
            json.dump(loader.state_dict(), file)
        ray.train.report({"step": 2}, checkpoint=Checkpoint.from_directory(saved))
    with ray.train.get_checkpoint().as_directory() as saved, open(f"{saved}/{name}") as file:
        state = json.load(file)
    loader = hr.Loader(np.arange(N), BATCH, **options)
    loader.load_state_dict(state)
    batches = ray.train.torch.prepare_data_loader(loader.to_torch())
    batches.sampler.set_epoch(1)
    told["resumed"] = numbers(batches)
    told["next"] = numbers(batches)
    options["executor"] = hr.Ray(2)
    told["made by Ray"] = numbers(hr.Loader(np.arange(N), BATCH, **options).to_torch())
    source = hr.Concat(np.arange(10), np.arange(10, N))
    told["samplings"] = {}
    for shuffle in (
        hr.Weighted(np.arange(N)),
        hr.Balanced(np.arange(N) % 3, 2, 2),
        hr.Mix([0.7, 0.3]),
        hr.Buckets(np.arange(N), [9, N], batch_sizes=[4, 2]),
    ):
        loader = hr.Loader(source, BATCH, shuffle=shuffle, **options)
        batches = ray.train.torch.prepare_data_loader(loader.to_torch())
        told["samplings"][str(shuffle)] = [
            numbers(batches), [loader.indices(0, step).tolist() for step in range(len(loader))]]
    loader.close()
    tell(rank, told, "passes")

def main():
    # A cluster of its own, also where another one runs on this machine.
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False,
             object_store_memory=200 * 2**20)
    tell(0, hr.world(), "driver")
    scaling = ScalingConfig(num_workers=2)
    # The base of it, of the same version of Ray Train, knows nothing of torch.
    for trainer, function in ((TorchTrainer.__base__, know), (TorchTrainer, train)):
        run = RunConfig(storage_path=folder, name=trainer.__name__)
        trainer(function, scaling_config=scaling, run_config=run).fit()
    ray.shutdown()

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def answers_of(tmp_path_factory):
    """`answers_of(kind, count)`: what so many processes have told."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "script.py").write_text(SCRIPT)
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    settings["RAY_local_fs_capacity_threshold"] = "1"  # however full the disk is
    settings["RAY_memory_monitor_refresh_ms"] = "0"  # and the memory
    done = run_python(folder / "script.py", folder, cwd=folder, environment=settings)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def answers(kind, count=2):
        return [json.loads((folder / f"{kind}-{rank}.json").read_text()) for rank in range(count)]

    return answers


@pytest.fixture(scope="module")
def told(answers_of):
    """What each rank saw."""
    return answers_of("passes")


def test_workers_know_their_ranks_without_torch_and_the_driver_is_none(answers_of):
    assert answers_of("world") == [[[rank, 2], False] for rank in range(2)]
    assert answers_of("driver", 1) == [[0, 1]]


def test_version_1_of_ray_train_is_silent_outside_of_a_training_function():
    script = "import ray.train, headrace as hr; print(tuple(hr.world()))"
    environment = {"RAY_TRAIN_V2_ENABLED": "0", "RANK": "1", "WORLD_SIZE": "2"}
    done = run_python("-c", script, environment=environment)
    assert done.stdout.splitlines()[-1] == "(1, 2)", done.stderr
    assert "meant to only be called inside" not in done.stderr


def test_batches_that_ray_makes_are_those_of_the_rank(told):
    for rank, answers in enumerate(told):
        assert answers["made by Ray"] == epoch_of(loader_of(rank), 0)


@pytest.mark.cell("Ray Train", "samplings")
def test_weights_classes_mixtures_and_buckets_come_in_their_order(told):
    for answers in told:
        assert len(answers["samplings"]) == 4
        for name, (seen, expected) in answers["samplings"].items():
            assert seen == expected, name
    assert told[0]["samplings"] != told[1]["samplings"]


def loader_of(rank, **options):
    return hr.Loader(
        np.arange(N), BATCH, seed=3, tail="partial", rank=rank, world_size=2, **options
    )


def epoch_of(loader, epoch, start=0):
    return [loader.indices(epoch, step).tolist() for step in range(start, len(loader))]


@pytest.mark.cell("Ray Train", "2 processes with ranks", "peek", "early stop", "evaluation twice")
@pytest.mark.cell("Ray Train", "limit")
def test_with_ranks_each_worker_has_the_batches_of_its_own(told):
    for rank, answers in enumerate(told):
        passes = answers["with ranks"]
        assert passes["epochs"] == [epoch_of(loader_of(rank), epoch) for epoch in range(3)]
        assert passes["limited"] == epoch_of(loader_of(rank), 3)[:2]
        assert passes["after it"] == epoch_of(loader_of(rank), 4)
        expected = epoch_of(loader_of(rank, shuffle=False), 0)
        assert passes["evaluations"] == [expected] * 4
        assert passes["peek"] == expected[:1]


@pytest.mark.cell("Ray Train", "2 processes without ranks")
def test_without_ranks_each_sample_is_in_one_worker(told):
    both = [answers["without ranks"] for answers in told]
    for kind in ("epochs", "evaluations"):
        for passes in zip(both[0][kind], both[1][kind], strict=True):
            seen = [number for batches in passes for batch in batches for number in batch]
            assert sorted(seen) == list(range(N))
    assert len({json.dumps(epoch) for answers in both for epoch in answers["epochs"]}) == 6
    assert both[0]["evaluations"] == [both[0]["evaluations"][0]] * 4


@pytest.mark.cell("Ray Train", "resume within an epoch", "resume at an epoch's end", "workers")
def test_a_checkpoint_of_ray_train_holds_the_place(told):
    for rank, answers in enumerate(told):
        loader = loader_of(rank)
        assert answers["workers"] == epoch_of(loader, 0)
        assert answers["before"] + answers["resumed"] == epoch_of(loader, 1)
        assert answers["next"] == epoch_of(loader, 2)
