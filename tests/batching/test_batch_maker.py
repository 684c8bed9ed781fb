"""What goes wrong while a batch is made is an error at its turn, on every executor."""

import pytest
from executor_fixtures import each_of
from stopping import BATCH, STOPPING, Raises, stopping_loader

import headrace as hr

executor = each_of("Inline", "Threads", "Processes")


@pytest.mark.fault("`StopIteration` where a batch is made", "error", "executors")
@pytest.mark.parametrize("what", STOPPING)
def test_a_stop_iteration_does_not_end_an_epoch(executor, what):
    loader = stopping_loader(what, executor)
    seen = []
    with pytest.raises(hr.StoppedEarlyError) as caught:
        seen.extend(loader)
    assert [batch[0] for batch in seen] == [0, BATCH]
    assert loader.place == (0, 2 * BATCH)
    assert "stopping.py" in str(caught.value), "it names the line that has raised it"
    stream = loader.stream()
    with pytest.raises(hr.StoppedEarlyError):
        next(stream)
    with pytest.raises(hr.StoppedEarlyError):
        loader.batch(0, 2)


def test_an_executor_that_ends_before_its_keys_does_not_end_an_epoch():
    class Short(hr.Threads):
        def map(self, make_batch, keys):
            results = super().map(make_batch, keys)
            next(results)
            results.close()
            return results

    loader = hr.Loader([1, 2, 3], 1, executor=Short(1))
    with pytest.raises(hr.StoppedEarlyError, match="Short"):
        list(loader)


@pytest.mark.fault("an error that can't be pickled", "error", "executors")
@pytest.mark.parametrize("what", ["a class without a name", "a lock in it"])
def test_an_error_that_can_not_be_pickled_arrives_with_its_text(executor, what):
    loader = hr.Loader(
        list(range(24)), BATCH, shuffle=False, transform=Raises(what), executor=executor
    )
    seen = []
    with pytest.raises(Exception, match="no sample 9"):
        seen.extend(loader)
    assert len(seen) == 2
