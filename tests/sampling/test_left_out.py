"""Steps that are left out: all other batches stay, on all ranks, and states keep them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.sampling.keys import Place

N = 50
EPOCHS = 4


def loader(batch_size=4, skip=(), **options):
    return hr.Loader(np.arange(N), batch_size, skip=skip, **{"executor": hr.Inline(), **options})


def left(skip, steps=12):
    """(epoch, step) of what is not left out."""
    out = {(e, s) for e, first, last in skip for s in range(first, last + 1)}
    return [at for at in itertools.product(range(EPOCHS), range(steps)) if at not in out]


skips = st.lists(
    st.tuples(st.integers(0, EPOCHS - 1), st.integers(0, 11), st.integers(0, 11)).map(
        lambda each: (each[0], min(each[1:]), max(each[1:]))
    ),
    max_size=4,
)


@settings(max_examples=25)
@given(skips, st.sampled_from(["drop", "partial", "pad"]))
def test_all_other_batches_come_in_passes_streams_and_by_keys(skip, tail):
    made, plain = loader(skip=skip, tail=tail), loader(tail=tail)
    steps = len(plain)
    assert len(made) == steps
    expected = [(at, plain.indices(*at).tolist()) for at in left(skip, steps)]
    keys = [key for e in range(EPOCHS) for key in made.sampler.keys(Place(e, 0))]
    assert [((k.place.epoch, k.step), k.indices.tolist()) for k in keys] == expected
    stream = itertools.islice(made.stream(), len(expected))
    assert [np.atleast_1d(b[0] if tail == "pad" else b).tolist() for b in stream] == [
        indices for _, indices in expected
    ]
    if not skip:
        return
    made.seek(0)
    while made.epoch < EPOCHS:  # also where all steps of an epoch are left out
        epoch = made.epoch
        seen = [np.atleast_1d(b[0] if tail == "pad" else b).tolist() for b in made]
        assert seen == [indices for (e, _), indices in expected if e == epoch]
    for at in itertools.product(range(EPOCHS), range(steps)):  # any can still be looked at
        assert made.indices(*at).tolist() == plain.indices(*at).tolist()


@settings(max_examples=25)
@given(skips, st.integers(0, 20))
def test_a_state_goes_on_without_them(skip, stop):
    made = loader(skip=skip)
    expected = [loader().indices(*at).tolist() for at in left(skip)]
    stop = min(stop, len(expected))
    for _ in itertools.islice(made.stream(), stop):
        pass
    state = json.loads(json.dumps(made.state_dict()))
    for resumed in (loader(), loader(skip=skip)):  # neither forgotten nor applied twice
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        rest = itertools.islice(resumed.stream(), len(expected) - stop)
        assert [batch.tolist() for batch in rest] == expected[stop:]


def test_more_may_be_left_out_when_a_run_goes_on():
    made = loader(skip=[(0, 1, 1)])
    next(iter(made))
    resumed = loader(skip=[(0, 1, 1), (0, 5, 6)])
    resumed.load_state_dict(made.state_dict())
    assert resumed.state_dict()["skip"] == [[0, 1, 1, 4], [0, 5, 6, 4]]
    assert len(list(resumed)) == 12 - 1 - 1 - 2


def test_what_was_made_ahead_before_a_state_was_loaded_is_not_delivered():
    made = loader(executor=hr.Threads(2))
    next(iter(made))
    made.load_state_dict({**made.state_dict(), "skip": [[0, 2, 3, 4]]})
    assert [b.tolist() for b in made] == [made.batch(0, s).tolist() for s in (1, *range(4, 12))]


@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (3, 1), (2, 2), (3, 2)])
def test_other_ranks_and_batch_sizes_leave_out_the_same_samples(batch_size, world_size):
    """And up to a batch more at both ends; the same script names them in steps of the first run."""
    skip = [(0, 2, 3), (1, 0, 0)]
    state = loader(skip=skip).state_dict()
    order = loader(1, tail="partial")
    for given_again in ([], skip[:1]):
        ranks = [
            loader(batch_size, given_again, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for each in ranks:
            each.load_state_dict(state)
        seen = [np.concatenate(batches).tolist() for batches in zip(*ranks, strict=True)]
        whole = [order.indices(0, step).item() for step in range(N)]
        size = batch_size * world_size
        steps = [whole[i : i + size] for i in range(0, N - size + 1, size)]
        out = set(whole[8:16])
        assert seen == [step for step in steps if not out & set(step)]


def test_bad_steps_are_named():
    for skip, message in (
        ([(0, 3, 2)], r"last_step of skip\[0\] must be an int from 3"),
        ([(0, 0, 12)], r"last step of skip\[0\] must be an int from 0 to 11"),
        ([(0, 1)], r"skip\[0\] must be \(epoch, first_step, last_step\)"),
        ([(-1, 0, 1)], r"epoch of skip\[0\]"),
    ):
        with pytest.raises(hr.ArgumentError, match=message):
            loader(skip=skip)
    state = {**loader().state_dict(), "skip": [[0, 1, 2]]}
    with pytest.raises(
        hr.StateError, match=r"skip\[0\] must be \(epoch, first_step, last_step, size"
    ):
        loader().load_state_dict(state)
