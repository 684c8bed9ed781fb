"""transformers.Trainer, in one process and in two: which samples it trains on and evaluates.

transformers_habits.py does it all in one start of the processes, and the tests compare.
"""

import itertools

import pytest
from habits import run_habits
from numbered import BATCH, BUCKETS, N, batches_of, expected_epochs, loader_of

pytest.importorskip("torch", reason="needs headrace[torch]")
pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("accelerate", reason="transformers trains with Accelerate")

STEPS, EPOCHS = N // BATCH, 3


def cell(*habits):
    return pytest.mark.cell("transformers.Trainer", *habits)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 process", "2 processes"])
def processes(request, tmp_path_factory):
    """What each process has seen, by habit."""
    folder = tmp_path_factory.mktemp("transformers")
    return run_habits("transformers_habits.py", request.param, folder)


@pytest.fixture
def expected(processes):
    """The batches of three epochs, for each process."""
    return [list(itertools.chain(*epochs)) for epochs in expected_epochs(len(processes), EPOCHS)]


@cell("peek", "workers", "2 processes without ranks")
def test_it_trains_in_the_order_of_the_loader_and_counts_its_samples(processes, expected):
    for process, batches in zip(processes, expected, strict=True):
        for habit in ("training", "peek", "workers"):
            seen, counted, trained, steps = process[habit]
            assert seen == batches
            assert counted == N
            assert trained == pytest.approx(EPOCHS * N, rel=1e-2)  # logged with few digits
            assert steps == len(batches)


@cell("limit")
def test_it_trains_as_many_steps_as_it_is_told(processes, expected):
    for process, batches in zip(processes, expected, strict=True):
        seen, _, trained, steps = process["limit"]
        assert seen == batches[:steps]
        assert steps == STEPS // len(processes) + 3
        assert trained == pytest.approx(steps * BATCH * len(processes), rel=1e-2)


def test_accumulated_gradients_are_of_all_batches(processes, expected):
    for process, batches in zip(processes, expected, strict=True):
        seen, _, _, steps = process["accumulation"]
        assert seen == batches
        assert steps == EPOCHS * -(-len(batches) // EPOCHS // 4)


@cell("resume within an epoch", "early stop", "workers")
@pytest.mark.parametrize("habit", ["within", "within, workers", "within, accumulation"])
def test_from_a_checkpoint_within_an_epoch_the_next_batch_comes(processes, expected, habit):
    for process, batches in zip(processes, expected, strict=True):
        before, after = process[habit]
        assert len(before) % (len(batches) // EPOCHS) > 0
        assert before + after == batches


@cell("resume at an epoch's end")
def test_from_a_checkpoint_of_an_epochs_end_the_next_epoch_comes(processes, expected):
    for process, batches in zip(processes, expected, strict=True):
        before, after = process["end"]
        assert len(before) == 2 * len(batches) // EPOCHS
        assert before + after == batches


@cell("evaluation twice")
def test_all_samples_are_evaluated_each_time_and_training_does_not_notice(processes, expected):
    for process, batches in zip(processes, expected, strict=True):
        evaluations, trained, predicted = process["evaluation"]
        assert evaluations == [list(range(N))] * 4
        assert trained == batches[: 2 * len(batches) // EPOCHS]
        assert predicted == list(range(N))


def test_the_trainer_may_group_the_samples_of_a_loader_itself(processes):
    made = dict(itertools.chain(*batches_of(loader_of(tail="partial"), 0)))
    came = []
    for process in processes:
        trained, evaluated, predicted = process["datasets"]
        assert evaluated == predicted == list(range(N))
        came += itertools.chain(*trained)
    assert dict(came) == made
    assert len(came) < N + len(processes) * BATCH


@cell("samplings", "2 processes with ranks", "resume within an epoch")
def test_each_process_trains_on_the_buckets_of_its_rank(processes):
    first = []
    for rank, process in enumerate(processes):
        loader = loader_of(shuffle=BUCKETS, rank=rank, world_size=len(processes))
        epochs = [batches_of(loader, epoch) for epoch in range(EPOCHS)]
        before, after, *_ = process["buckets"]
        assert len(before) % len(loader) > 0
        assert before + after == list(itertools.chain(*epochs))
        first += [number for batch in epochs[0] for number, _ in batch]
        assert "rank 0 of 3, but this process has rank" in process["other rank"]
    assert len(set(first)) == len(first) == 48


@cell("samplings")
def test_buckets_are_not_shared_out_and_all_of_them_are_evaluated(processes):
    for process in processes:
        *_, trained, evaluated = process["buckets"]
        if len(processes) == 1:
            assert trained == ""
            assert sorted(evaluated) == list(range(N))
        else:
            assert "Make it with rank= and world_size= of the process" in trained
            assert "Use shuffle=False" in evaluated


def test_what_would_go_wrong_is_refused_or_warned_of(processes):
    for process in processes:
        other_size, *ranks = process["refused"]
        assert "Pass per_device_train_batch_size=4 to TrainingArguments" in other_size
        if len(processes) > 1:
            assert "Accelerate shares what it prepares out" in ranks[0]
        skipped, left_out, order, *shared_out = process["warned"]
        assert "counts the steps that the loader leaves out (skip=)" in skipped
        assert "leaves out the last 2 of 50 samples" in left_out
        assert "the predictions come in the order of the loader" in order
        assert len(shared_out) == len(processes) - 1  # the last of 13 batches is for one alone
        assert all("leaves out the last 4 of 52 samples" in message for message in shared_out)
