"""Ray as a user sees it: the contract of executors, arguments, the law, and frameworks."""

import itertools
import os
import pickle
import threading

import in_workers
import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs headrace[ray]")

from batch_bytes import as_bytes
from picklable import noisy_x

import headrace as hr
from headrace.pytree import leaves
from headrace.testing import ExecutorContract

# For what takes seconds at most: only something that hangs takes longer.
DEADLINE = 60

pytestmark = pytest.mark.usefixtures("local_ray")


class TestRayContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return hr.Ray(2, lookahead_bytes=lookahead_bytes)

    def running(self):
        # Ray has threads of its own, which it starts when it needs them.
        return {thread for thread in threading.enumerate() if thread.name.startswith("headrace-")}

    def test_a_new_map_works_in_a_forked_child(self):
        """It does not: see test_a_forked_child_is_told_so."""

    def test_a_running_map_does_not_keep_the_interpreter_from_ending(self, run, local_ray):
        script = """
            batches = hr.Ray(2).map(str, itertools.count())
            print(next(batches), threading.active_count() > 1)
        """
        output = run(script, RAY_ADDRESS=local_ray)
        assert output == "0 True\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be an int from 1 to 1024, but 0 was given"),
        ({"n": 2.0}, "n must be an int, but a float was given"),
        ({"lookahead_bytes": -1}, "lookahead_bytes must be an int from 0"),
        ({"max_retries": 3}, "max_retries must be left out, but 3 was given. headrace has"),
        ({"num_returns": 2}, "num_returns must be left out, but 2 was given"),
        ({"cpus": 2}, "options must be those of a task of Ray, but {'cpus': 2} were given. Inv"),
        ({"num_cpus": -1}, "but {'num_cpus': -1} were given. The quantity of resource num_cpus"),
        ({"num_cpus": "1"}, "but {'num_cpus': '1'} were given. The type of keyword 'num_cpus'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        hr.Ray(**arguments)
    assert said in str(caught.value)


def test_defaults_are_of_the_cluster(store_bytes):
    executor = hr.Ray()
    executor.map(str, [])
    assert executor.n == 2
    assert executor.lookahead_bytes == 64 * 2**20
    many = hr.Ray(100)
    many.map(str, [])
    assert many.lookahead_bytes == store_bytes // 2


def test_repr_is_how_it_is_made_and_what_is_pickled():
    for executor in (hr.Ray(), hr.Ray(3, lookahead_bytes=5, num_cpus=0.5)):
        list(executor.map(str, range(3)))
        assert repr(pickle.loads(pickle.dumps(executor))) == repr(executor)
        executor.close()
    assert repr(hr.Ray()) == "Ray()"
    assert repr(executor) == "Ray(3, lookahead_bytes=5, num_cpus=0.5)"


def test_options_are_those_of_the_tasks():
    executor = hr.Ray(1, runtime_env={"env_vars": {"ROOM": "tailrace"}}, resources={"own": 1})

    def told(key):
        return os.environ["ROOM"], ray.get_runtime_context().get_assigned_resources()["own"]

    assert list(executor.map(told, [0])) == [("tailrace", 1)]
    executor.close()


def make_loader(**options):
    source = {"x": np.arange(26 * 6, dtype="float32").reshape(26, 2, 3), "y": np.arange(26)}
    return hr.Loader(source, batch_size=4, **{"seed": 3, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False, "tail": "partial"},
        {"tail": "pad"},
        {"rank": 1, "world_size": 2},
        {"transform": hr.per_sample(noisy_x)},
    ],
    ids=str,
)
def test_batches_are_those_of_inline_in_each_epoch(executor, options):
    inline = make_loader(executor=hr.Inline(), **options)
    expected = [[as_bytes(batch) for batch in inline] for _ in range(3)]
    loader = make_loader(executor=executor, **options)
    assert [[as_bytes(batch) for batch in loader] for _ in range(3)] == expected


def test_states_go_from_one_executor_to_another(executor):
    expected = [as_bytes(batch) for batch in make_loader(executor=hr.Inline())]
    for first, second in ((executor, hr.Inline()), (hr.Threads(2), executor)):
        before, after = make_loader(executor=first), make_loader(executor=second)
        taken = [as_bytes(batch) for batch in itertools.islice(before, 3)]
        after.load_state_dict(before.state_dict())
        assert taken + [as_bytes(batch) for batch in after] == expected
        before.close()


def test_every_kind_of_array_arrives_as_it_was_made(executor):
    for key, made in enumerate(executor.map(in_workers.every_kind, range(3))):
        expected = in_workers.every_kind(key)
        objects, expected_objects = made.pop("objects"), expected.pop("objects")
        assert objects.tolist() == expected_objects.tolist()
        nested, expected_nested = made.pop("nested"), expected.pop("nested")
        assert type(nested[0]) is in_workers.Pair
        assert nested[1] == expected_nested[1]
        assert as_bytes(made) == as_bytes(expected)


def test_a_transform_of_the_main_module_and_its_classes_work(run, local_ray):
    script = """
        import collections
        global Pair
        Pair = collections.namedtuple("Pair", "left right")
        Pair.__module__ = "__main__"
        def paired(x, rng):
            return Pair(x, -x)
        with hr.Loader(np.arange(8), 2, shuffle=False, transform=paired, executor=hr.Ray()) as l:
            for batch in l:
                assert type(batch) is Pair, type(batch)
        print(batch.right.tolist())
    """
    output = run(script, RAY_ADDRESS=local_ray)
    assert output == "[-6, -7]\n"


@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_torch_gets_tensors_that_may_be_written_to(executor, tail):
    torch = pytest.importorskip("torch")
    expected = list(make_loader(executor=hr.Inline(), tail=tail).to_torch())
    for batch, same in zip(
        make_loader(executor=executor, tail=tail).to_torch(), expected, strict=True
    ):
        for tensor, other in zip(leaves(batch), leaves(same), strict=True):
            assert torch.equal(tensor, other)
            tensor += 1
