"""What is no executor, or gives no results, is refused with the names of what it lacks."""

import numpy as np
import pytest
from passing_results import Closable

import headrace as hr
from headrace.executors.executor import check_executor


class OfTheFormerContract:
    """An executor without a budget, whose map is a generator."""

    def map(self, make_batch, keys):
        for key in keys:
            yield make_batch(key)

    def close(self):
        pass


class WithABudget(OfTheFormerContract):
    lookahead_bytes = 0


class Good(WithABudget):
    def map(self, make_batch, keys):
        return Closable(super().map(make_batch, keys))


@pytest.mark.parametrize("kind", [hr.Inline, hr.Threads, hr.Processes, Good])
def test_an_executor_is_taken_as_it_is(kind):
    executor = kind()
    assert check_executor(executor) is executor
    assert isinstance(executor, hr.Executor)


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (hr.Threads, "but a type was given."),
        (3, "but a int was given."),
        (OfTheFormerContract(), "was given. It has no lookahead_bytes: see headrace.Executor."),
    ],
    ids=["a class", "a number", "without a budget"],
)
def test_anything_else_is_refused_with_what_it_lacks(thing, said):
    with pytest.raises(hr.ArgumentTypeError) as caught:
        hr.Loader(np.arange(4), 2, executor=thing)
    assert str(caught.value).startswith("executor must be Inline(), Threads(n) or another executor")
    assert str(caught.value).endswith(said)


def test_a_map_that_returns_no_results_is_refused_with_what_they_lack():
    with pytest.raises(hr.ArgumentTypeError) as caught:
        list(hr.Loader(np.arange(4), 2, executor=WithABudget()))
    assert "Its map returned a generator, which has no ready, copying_s" in str(caught.value)


def test_a_third_partys_executor_feeds_a_loader():
    batches = [batch.tolist() for batch in hr.Loader(np.arange(8), 2, seed=1, executor=Good())]
    inline = hr.Loader(np.arange(8), 2, seed=1, executor=hr.Inline())
    assert batches == [batch.tolist() for batch in inline]
