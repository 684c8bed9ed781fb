"""What Threads and Processes have in common: their arguments, and how they are made again."""

import itertools
import pickle
import threading

import in_workers
import pytest

import headrace as hr
from headrace.executors.lookahead import available_cpus

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 60


@pytest.mark.parametrize("kind", [hr.Threads, hr.Processes])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be an int from 1 to 1024, but 0 was given"),
        ({"n": 1025}, "n must be an int from 1 to 1024, but 1025 was given"),
        ({"n": 2.0}, "n must be an int, but a float was given"),
        ({"n": True}, "n must be an int, but a bool was given"),
        ({"lookahead_bytes": -1}, "lookahead_bytes must be an int from 0"),
        ({"lookahead_bytes": "1"}, "lookahead_bytes must be an int, but a str was given"),
        ({"lookahead_bytes": 2.5}, "lookahead_bytes must be an int, but a float was given"),
    ],
)
def test_wrong_arguments_are_refused_by_name(kind, arguments, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        kind(**arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize(("kind", "most"), [(hr.Threads, 8), (hr.Processes, 1024)])
def test_default_is_the_cpus_that_the_process_may_use(kind, most):
    assert kind().n == min(most, available_cpus())
    assert [kind(n).lookahead_bytes // 2**20 for n in (1, 2, 6)] == [64, 64, 192]


@pytest.mark.parametrize("kind", [hr.Threads, hr.Processes])
def test_repr_is_how_it_is_made_and_what_is_pickled(kind):
    for executor in (kind(2), kind(3, lookahead_bytes=5)):
        list(executor.map(str, range(3)))
        assert repr(pickle.loads(pickle.dumps(executor))) == repr(executor)
        executor.close()
    assert repr(executor) == f"{kind.__name__}(3, lookahead_bytes=5)"


@pytest.mark.parametrize("kind", [hr.Threads, hr.Processes])
def test_close_lets_a_waiting_consumer_go(kind):
    executor, taken, outcome = kind(2), threading.Event(), []

    def consume():
        try:
            for batch in executor.map(in_workers.slow_batch, itertools.count()):
                outcome.append(batch.tobytes())
                taken.set()
        except BaseException as error:
            outcome.append(error)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    assert taken.wait(DEADLINE)
    executor.close()
    consumer.join(DEADLINE)
    assert not consumer.is_alive()
    *batches, error = outcome
    assert isinstance(error, hr.ExecutorClosedError)
    assert str(error).startswith("the executor was closed while batches were still being")
    assert batches == [in_workers.batch(key).tobytes() for key in range(len(batches))]
