"""Accelerate, in one process and in two: what its users do, and which samples they see.

accelerate_habits.py does it all in one start of the processes, and the tests compare.
"""

import itertools

import pytest
from habits import run_habits
from numbered import BATCH, BUCKETS, SAMPLINGS, N, batches_of, expected_epochs, loader_of

pytest.importorskip("torch", reason="needs headrace[torch]")
pytest.importorskip("accelerate", reason="needs Accelerate")
pytest.importorskip("torchdata", reason="Accelerate's use_stateful_dataloader needs torchdata")

STOP = 2


def cell(*habits):
    return pytest.mark.cell("Accelerate", *habits)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 process", "2 processes"])
def processes(request, tmp_path_factory):
    """What each process has seen, by habit."""
    folder = tmp_path_factory.mktemp("accelerate")
    return run_habits("accelerate_habits.py", request.param, folder)


@cell("workers", "2 processes without ranks")
def test_each_batch_comes_once_in_the_order_of_the_loader(processes):
    habits = processes[0]["training"]
    assert len(habits) == 10
    for habit in habits:
        expected = expected_epochs(len(processes), 2, "split_batches" in habit)
        for process, epochs in zip(processes, expected, strict=True):
            assert process["training"][habit] == [epochs, len(epochs[0])], habit


@cell("samplings")
def test_each_batch_of_weights_classes_and_mixtures_comes_once_in_its_order(processes):
    for name, shuffle in SAMPLINGS.items():
        expected = expected_epochs(len(processes), 2, shuffle=shuffle)
        assert [process["samplings"][name] for process in processes] == expected, name


@cell("2 processes without ranks")
def test_of_a_last_batch_that_is_filled_up_all_samples_come_as_the_transform_makes_them(processes):
    loader = loader_of(tail="partial")
    for habit in processes[0]["uneven"]:
        for epoch in range(2):
            made = dict(itertools.chain.from_iterable(batches_of(loader, epoch)))
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


@cell("samplings")
def test_gather_for_metrics_counts_the_samples_of_an_epoch_that_are_fewer_than_all(processes):
    for sampling, *evaluations in zip(
        SAMPLINGS.values(), *(process["of other lengths"] for process in processes), strict=True
    ):
        loader = loader_of(tail="partial", shuffle=sampling)
        epochs = [list(itertools.chain(*batches_of(loader, epoch))) for epoch in range(2)]
        for passes in evaluations:
            assert passes == [[number for number, _ in samples] for samples in epochs]


@cell("peek")
def test_a_look_at_one_batch_is_followed_by_the_whole_epoch(processes):
    for process, epochs in zip(processes, expected_epochs(len(processes), 1), strict=True):
        assert process["peek"] == [epochs[0][:1], epochs[0]]


@cell("early stop", "limit")
def test_after_a_break_comes_the_epoch_that_was_set(processes):
    expected = expected_epochs(len(processes), 3)
    for process, epochs in zip(processes, expected, strict=True):
        assert process["early stop"] == [epoch[:2] for epoch in epochs]


@cell("resume within an epoch", "workers")
def test_after_load_state_the_next_batch_comes(processes):
    habits = processes[0]["resuming"]
    assert len(habits) == 6
    for habit in habits:
        expected = expected_epochs(len(processes), 3, "split_batches" in habit)
        for process, (first, second, third) in zip(processes, expected, strict=True):
            before, after = process["resuming"][habit]
            assert before == first + second[:STOP], habit
            assert after == [second[STOP:], third], habit


@cell("resume at an epoch's end", "workers")
def test_what_was_saved_at_the_end_of_an_epoch_goes_on_with_the_next(processes):
    for habit in processes[0]["resuming at the end"]:
        expected = expected_epochs(len(processes), 3, "split_batches" in habit)
        for process, (first, second, third) in zip(processes, expected, strict=True):
            assert process["resuming at the end"][habit] == [first + second, [third]], habit


@cell("resume within an epoch", "resume at an epoch's end")
def test_a_loader_that_has_loaded_its_state_goes_on_there_once_it_is_prepared(processes):
    expected = expected_epochs(len(processes), 3)
    for process, (_, second, third) in zip(processes, expected, strict=True):
        assert process["loaded before"] == [[second, third], [second[STOP:], third]]


def test_an_epoch_that_accelerate_has_forgotten_is_an_error(processes):
    for process in processes:
        assert "Call set_epoch(epoch) on the DataLoader" in process["forgotten epoch"]


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


def test_a_loader_that_knows_its_rank_is_not_shared_out_once_more(processes):
    if len(processes) == 1:
        alone = batches_of(loader_of(rank=0, world_size=2), 0)
        assert processes[0]["prepared ranks"] == alone
        return
    for process in processes:
        assert "this loader's batches are those of rank" in process["prepared ranks"]
        assert "to_torch(device=accelerator.device)" in process["prepared ranks"]


@cell("samplings")
def test_batches_of_several_sizes_are_not_shared_out(processes):
    if len(processes) == 1:
        assert processes[0]["prepared buckets"] == batches_of(loader_of(shuffle=BUCKETS), 0)
        return
    for process in processes:
        assert "this loader's batches are of several sizes" in process["prepared buckets"]
        assert "Make the loader with rank= and world_size=" in process["prepared buckets"]
