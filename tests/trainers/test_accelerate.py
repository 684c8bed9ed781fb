"""Accelerate, in one process and in two: what its users do, and which samples they see.

accelerate_habits.py does it all in one start of the processes, and the tests compare.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from numbered import BATCH, N, loader_of, seen

pytest.importorskip("torch", reason="needs headrace[torch]")
pytest.importorskip("accelerate", reason="needs Accelerate")
pytest.importorskip("torchdata", reason="Accelerate's use_stateful_dataloader needs torchdata")

TESTS = Path(__file__).parent.parent
SCRIPT = TESTS / "trainers/scripts/accelerate_habits.py"
PATH = [*sys.path, str(TESTS / "support"), str(TESTS / "ranks/scripts")]
LOCAL = {"GLOO_SOCKET_IFNAME": socket.if_nameindex()[0][1], "OMP_NUM_THREADS": "1"}
STEPS, STOP = N // BATCH, 2


def cell(*habits):
    return pytest.mark.cell("Accelerate", *habits)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 process", "2 processes"])
def processes(request, tmp_path_factory):
    """What each process has seen, by habit."""
    folder = tmp_path_factory.mktemp("accelerate")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {**os.environ, **LOCAL, "PYTHONPATH": os.pathsep.join(PATH)}
    if request.param > 1:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment |= {"WORLD_SIZE": str(request.param), "ACCELERATE_USE_CPU": "true"}
    started = []
    try:
        for rank in range(request.param):
            ranked = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if request.param > 1 else {}
            with (folder / f"{rank}.err").open("w") as errors:
                started.append(
                    subprocess.Popen(
                        [sys.executable, SCRIPT, folder], env=environment | ranked, stderr=errors
                    )
                )
        for rank, process in enumerate(started):
            assert process.wait(timeout=240) == 0, (folder / f"{rank}.err").read_text()[-3000:]
    finally:
        for process in started:
            process.kill()
            process.wait()
    files = [folder / f"seen-{rank}.json" for rank in range(request.param)]
    return [json.loads(file.read_text()) for file in files]


def batches_of(loader, epoch):
    """The batches of an epoch by random access, as `seen` has them after JSON."""
    return json.loads(json.dumps(seen(loader.batch(epoch, s) for s in range(len(loader)))))


def parts_of(batches, n_processes, split):
    """What each process gets of them: a batch in turn, or its part of each."""
    if not split:
        return [batches[rank::n_processes] for rank in range(n_processes)]
    size = BATCH // n_processes
    return [
        [batch[rank * size : (rank + 1) * size] for batch in batches] for rank in range(n_processes)
    ]


def expected_epochs(n_processes, split, *epochs):
    """For each process the batches of each of the epochs."""
    loader = loader_of()
    by_epoch = [parts_of(batches_of(loader, epoch), n_processes, split) for epoch in epochs]
    return [[parts[rank] for parts in by_epoch] for rank in range(n_processes)]


@cell("workers", "2 processes without ranks")
def test_each_batch_comes_once_in_the_order_of_the_loader(processes):
    habits = processes[0]["training"]
    assert len(habits) == 10
    for habit in habits:
        expected = expected_epochs(len(processes), "split_batches" in habit, 0, 1)
        for process, epochs in zip(processes, expected, strict=True):
            assert process["training"][habit] == [epochs, len(epochs[0])], habit


@cell("2 processes without ranks")
def test_of_a_last_batch_that_is_filled_up_all_samples_come_as_the_transform_makes_them(processes):
    loader = loader_of(tail="partial")
    for habit in processes[0]["uneven"]:
        for epoch in range(2):
            made = dict(sum(batches_of(loader, epoch), []))
            came = [
                pair
                for process in processes
                for batch in process["uneven"][habit][0][epoch]
                for pair in batch
            ]
            assert dict(came) == made, habit
            assert len(came) < N + len(processes) * BATCH


@cell("evaluation twice")
def test_gather_for_metrics_counts_each_sample_once_in_each_evaluation(processes):
    habits = processes[0]["evaluation"]
    assert len(habits) == 8
    for habit in habits:
        for process in processes:
            for numbers in process["evaluation"][habit]:
                if habit == "dispatch_batches, pad":
                    # Accelerate takes the padding for samples there: its weights are 0.
                    assert numbers == [*range(N), 0, 1]
                else:
                    assert sorted(numbers) == list(range(N)), habit


@cell("peek")
def test_a_look_at_one_batch_is_followed_by_the_whole_epoch(processes):
    for process, epochs in zip(processes, expected_epochs(len(processes), False, 0), strict=True):
        assert process["peek"] == [epochs[0][:1], epochs[0]]


@cell("early stop", "limit")
def test_after_a_break_comes_the_epoch_that_was_set(processes):
    expected = expected_epochs(len(processes), False, 0, 1, 2)
    for process, epochs in zip(processes, expected, strict=True):
        assert process["early stop"] == [epoch[:2] for epoch in epochs]


@cell("resume within an epoch", "workers")
def test_after_load_state_the_next_batch_comes(processes):
    habits = processes[0]["resuming"]
    assert len(habits) == 5
    for habit in habits:
        expected = expected_epochs(len(processes), "split_batches" in habit, 0, 1, 2)
        for process, (first, second, third) in zip(processes, expected, strict=True):
            before, after = process["resuming"][habit]
            assert before == first + second[:STOP], habit
            assert after == [second[STOP:], third], habit


@cell("resume at an epoch's end", "workers")
def test_what_was_saved_at_the_end_of_an_epoch_goes_on_with_the_next(processes):
    for habit in processes[0]["resuming at the end"]:
        expected = expected_epochs(len(processes), "split_batches" in habit, 0, 1, 2)
        for process, (first, second, third) in zip(processes, expected, strict=True):
            assert process["resuming at the end"][habit] == [first + second, [third]], habit


@cell("resume within an epoch")
def test_an_epoch_that_accelerate_has_forgotten_is_an_error(processes):
    for process in processes:
        assert "Call set_epoch(epoch) on the DataLoader" in process["forgotten epoch"]


@cell("resume within an epoch")
def test_a_prepared_loader_has_no_state_to_register(processes):
    for process in processes:
        assert "the loader can't know its place" in process["registered"]
        assert "use_stateful_dataloader=True" in process["registered"]


@cell("resume within an epoch", "2 processes with ranks")
def test_a_registered_loader_that_knows_its_rank_goes_on_with_the_next_batch(processes):
    n = len(processes)
    for rank, process in enumerate(processes):
        loader = loader_of(rank=rank, world_size=n)
        first, second, third = (batches_of(loader, epoch) for epoch in range(3))
        before, after = process["own ranks"]
        assert before == first + second[:STOP]
        assert after == [second[STOP:], third]


@cell("2 processes with ranks")
def test_a_loader_that_knows_its_rank_is_not_shared_out_once_more(processes):
    if len(processes) == 1:
        alone = batches_of(loader_of(rank=0, world_size=2), 0)
        assert processes[0]["prepared ranks"] == alone
        return
    for process in processes:
        assert "this loader's batches are those of rank" in process["prepared ranks"]
        assert "to_torch(device=accelerator.device)" in process["prepared ranks"]
