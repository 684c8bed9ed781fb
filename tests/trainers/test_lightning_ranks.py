"""Lightning's Trainer in two processes: each sample once, whoever shares them out."""

import importlib.util
import json

import numpy as np
import pytest
from habits import ENVIRONMENT, SCRIPTS
from running_ranks import run_ranks

import headrace as hr

for needed in "torch", "lightning":
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}", allow_module_level=True)

N, BATCH, STEPS = 26, 2, 6


def run(script, folder):
    """What the two processes of a script have written; it starts the other one itself."""
    run_ranks([[SCRIPTS / script, folder]], [ENVIRONMENT], folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run("lightning_ranks.py", tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="module")
def looped(tmp_path_factory):
    return run("fabric_ranks.py", tmp_path_factory.mktemp("fabric"))


def numbers(batches):
    """The samples of batches, of which the script's transform has made pairs."""
    return [[int(sample[0]) for sample in batch] for batch in batches]


def expected(rank, steps=range(2 * STEPS)):
    loader = hr.Loader(np.arange(N), BATCH, seed=1, rank=rank, world_size=2)
    return [loader.batch(*divmod(step, STEPS)).tolist() for step in steps]


def of_trainer(test):
    with_or_without = pytest.mark.parametrize("given", ["ranks", "no ranks"])(test)
    cell = pytest.mark.cell(
        "Lightning Trainer", "2 processes with ranks", "2 processes without ranks"
    )
    return cell(with_or_without)


@of_trainer
def test_each_rank_trains_on_its_part_of_each_epoch(trained, given):
    for rank, results in enumerate(trained):
        results = results[given]
        assert numbers(results["fit"]) == numbers(results["passed"]) == expected(rank)
        assert numbers(results["limited"]) == expected(rank, [0, 1, 6, 7])
        assert results["estimated"] == 4


@of_trainer
def test_each_sample_is_validated_once(trained, given):
    first, second = (results[given]["validated"] for results in trained)
    # The sanity check has two batches.
    assert first == [[0, 1], [4, 5]] + 2 * [[0, 1], [4, 5], [8]]
    assert second == [[2, 3], [6, 7]] + 2 * [[2, 3], [6, 7], [9, 10]]


@of_trainer
def test_overfitting_repeats_the_first_samples(trained, given):
    parts = [numbers(results[given]["overfit"]) for results in trained]
    for part in parts:
        assert part[:2] == part[2:]
    assert sorted(np.ravel([part[:2] for part in parts])) == list(range(8))


@of_trainer
@pytest.mark.parametrize("step", [4, 6, 8])
def test_a_checkpoint_goes_on_with_the_next_batch_of_each_rank(trained, given, step):
    for rank, results in enumerate(trained):
        results = results[given]
        assert numbers(results[f"from {step}"]) == expected(rank, range(step, 2 * STEPS))
        # The transform's random numbers, too.
        assert results[f"from {step}"] == results["fit"][step:]


def assert_sampled(processes, given):
    for results in processes:
        assert len(results[given]["sampled"]) == 4
        for name, (seen, expected) in results[given]["sampled"].items():
            assert seen == expected, name


@of_trainer
@pytest.mark.cell("Lightning Trainer", "samplings")
def test_each_rank_has_its_part_of_orders_by_weight_class_share_and_length(trained, given):
    assert_sampled(trained, given)


@of_trainer
@pytest.mark.parametrize("tail", ["partial", "drop"])
def test_each_sample_is_predicted_once_with_its_number(trained, given, tail):
    written = [pair for results in trained for pair in results[given][f"predicted {tail}"]]
    assert all(prediction == indices for prediction, indices in written)
    assert sorted(number for batch, _ in written for number in batch) == list(range(11))


def test_ranks_that_are_asked_for_too_early_say_so(trained):
    first, second = (results["early"] for results in trained)
    assert first == [0, 1]  # this process has yet to start the other one
    for part in "too early to ask", "train_dataloader() or after fabric.launch()", "Pass rank=":
        assert part in second


def of_fabric(test):
    with_or_without = pytest.mark.parametrize("given", ["ranks", "no ranks"])(test)
    cell = pytest.mark.cell(
        "Lightning Fabric", "2 processes with ranks", "2 processes without ranks"
    )
    return cell(with_or_without)


@of_fabric
@pytest.mark.cell("Lightning Fabric", "samplings")
def test_each_rank_loops_over_its_part_of_such_orders(looped, given):
    assert_sampled(looped, given)


@of_fabric
@pytest.mark.cell("Lightning Fabric", "workers")
def test_each_rank_loops_over_its_part_of_each_epoch(looped, given):
    for rank, results in enumerate(looped):
        assert results[given]["seen"] == expected(rank)
        assert results[given]["workers"] == expected(rank)


@of_fabric
@pytest.mark.cell("Lightning Fabric", "peek", "early stop", "limit")
def test_a_pass_of_fabric_that_is_left_early_is_followed_by_the_next_epoch(looped, given):
    for rank, results in enumerate(looped):
        assert results[given]["left early"] == expected(rank, [0, 6, 7, 8, *range(12, 18)])


@of_fabric
@pytest.mark.cell("Lightning Fabric", "evaluation twice")
def test_each_sample_is_evaluated_once_each_time(looped, given):
    assert [results[given]["evaluated"] for results in looped] == [
        2 * [[0, 1], [4, 5], [8]],
        2 * [[2, 3], [6, 7], [9, 10]],
    ]


@of_fabric
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(2, marks=pytest.mark.cell("Lightning Fabric", "resume within an epoch")),
        pytest.param(6, marks=pytest.mark.cell("Lightning Fabric", "resume at an epoch's end")),
        pytest.param(9, marks=pytest.mark.cell("Lightning Fabric", "resume within an epoch")),
    ],
)
def test_a_checkpoint_of_fabric_goes_on_with_the_next_batch_and_epochs(looped, given, step):
    for rank, results in enumerate(looped):
        to_the_third_epoch = range(step, 3 * STEPS)
        assert results[given][f"from {step}"] == expected(rank, to_the_third_epoch)


def test_batches_that_nothing_shares_out_are_warned_of(looped):
    for results in looped:
        assert results["not shared out"] == [[], [True]]


def test_fabric_says_when_ranks_are_asked_for_too_early(looped):
    assert looped[0]["early"] == [0, 1]
    assert "after fabric.launch()" in looped[1]["early"]
