"""A Mix gives each source its share, in passes over its samples, and may be gone on with."""

import numpy as np
import pytest

import headrace as hr

SIZES = (50, 7, 3)
PARTS = [(size, 1, "") for size in SIZES]
ENDS = np.cumsum(SIZES)


def run_of(mix, epochs, parts=PARTS, seed=1):
    """The samples of so many epochs, one after the other."""
    order = mix.order_of_parts(parts, seed)
    return np.concatenate([order.indices(e, np.arange(len(order))) for e in range(epochs)])


def sources_of(run):
    return np.searchsorted(ENDS, run, "right")


@pytest.mark.parametrize(
    "shuffle", [True, False, hr.BlockShuffle(4, 2)], ids=["shuffled", "in order", "in blocks"]
)
def test_sources_have_their_shares_and_all_samples_come_before_any_comes_again(shuffle):
    run = run_of(hr.Mix([0.7, 0.2, 0.1], length=90, shuffle=shuffle), 9)
    sources = sources_of(run)
    for begin in range(0, 810, 30):
        assert np.bincount(sources[begin : begin + 30]).tolist() == [21, 6, 3]
    for source, size in enumerate(SIZES):
        seen = run[sources == source]
        passes = seen[: len(seen) // size * size].reshape(-1, size)
        assert (np.sort(passes, axis=1) == np.arange(ENDS[source] - size, ENDS[source])).all()
        orders = {tuple(one) for one in passes.tolist()}
        assert len(orders) == (1 if shuffle is False else len(orders))
        assert len(orders) > 1 or shuffle is False


def test_a_source_in_blocks_is_shuffled_as_it_is_alone():
    parts = [(60, 5, ""), (40, 1, "")]
    run = run_of(hr.Mix([0.6, 0.4], shuffle=hr.BlockShuffle(window=2)), 1, parts)
    of_blocks = run[run < 60] // 5
    for begin in range(0, 60, 10):
        assert len(set(of_blocks[begin : begin + 10].tolist())) == 2  # as many as the window


def test_stages_change_the_shares_from_a_position_of_the_run_on():
    plain = run_of(hr.Mix([0.5, 0.5, 0], length=100), 5)
    staged = run_of(hr.Mix([0.5, 0.5, 0], length=100, stages=[(250, [0, 1, 3])]), 5)
    assert (staged[:250] == plain[:250]).all()
    counts = np.bincount(sources_of(staged[250:]), minlength=3)
    assert np.abs(counts - np.array([0, 62.5, 187.5])).max() < 2
    # Passes go on from one stage to the next.
    seen = staged[sources_of(staged) == 1]
    assert (np.sort(seen[: len(seen) // 7 * 7].reshape(-1, 7)) == np.arange(50, 57)).all()


def test_a_source_is_used_up_after_its_passes_and_others_take_its_share():
    run = run_of(hr.Mix([0.5, 0.3, 0.2], length=100, passes=[None, 3, 5]), 4)
    sources = sources_of(run)
    assert np.bincount(sources)[1:].tolist() == [21, 15]
    last = max(np.flatnonzero(sources == 1)[-1], np.flatnonzero(sources == 2)[-1])
    assert (sources[last + 1 :] == 0).all()
    between = sources[71:75]  # source 1 has had its 21 samples, source 2 has some left
    assert set(between.tolist()) == {0, 2}
    with pytest.raises(hr.ArgumentError, match="from position 31 of the run on"):
        run_of(hr.Mix([0, 0.5, 0.5], passes=[None, 4, 1]), 1)


def named(*, share=0.25, stages=None, batch_size=4, **options):
    both = hr.Concat(web=np.arange(60), books=np.arange(100, 120))
    mix = hr.Mix({"books": share, "web": 1 - share}, stages=stages, **options)
    return hr.Loader(both, batch_size, shuffle=mix)


def test_a_loader_tells_the_sources_of_a_concat_by_name():
    loader = named()
    for batch in loader:
        assert (batch >= 100).sum() == 1
    with pytest.raises(hr.ArgumentError, match=r"and the sources have \['web', 'books'\]"):
        hr.Loader(hr.Concat(web=np.arange(3), books=np.arange(3)), 2, shuffle=hr.Mix({"web": 1}))
    with pytest.raises(hr.ArgumentError, match=r"Concat\(name=source"):
        hr.Loader(hr.Concat(np.arange(3), np.arange(3)), 2, shuffle=hr.Mix({"web": 1}))


def test_a_subset_has_the_sources_of_its_concat():
    both = hr.Concat((np.arange(60), np.zeros(60)), (np.arange(100, 120), np.ones(20)))
    for source in (hr.Subset(both, np.arange(0, 80, 2)), hr.Subset(both, range(10, 75))):
        for x, y in hr.Loader(source, 4, shuffle=hr.Mix([0.75, 0.25])):
            assert ((x >= 100) == y).all()
            assert y.sum() == 1
    with pytest.raises(hr.ArgumentError, match="a source that says its parts"):
        hr.Loader(hr.Subset(both, [70, 1, 2]), 2, shuffle=hr.Mix([1, 1]))


def test_stages_may_be_added_removed_and_changed_beyond_the_position_of_a_state():
    loader = named(stages=[(12, {"web": 1, "books": 1})])
    for _ in zip(range(5), loader.stream(), strict=False):
        pass
    state = loader.state_dict()
    for later in ([], [(20, {"web": 0, "books": 1})], [(40, {"web": 1, "books": 0})]):
        other = named(stages=[(12, {"web": 2, "books": 2}), *later])
        other.load_state_dict(state)
        assert other.place == loader.place
        assert [other.batch(0, s).tolist() for s in range(5)] == [
            loader.batch(0, s).tolist() for s in range(5)
        ]
    for refusing in (
        named(),
        named(stages=[(12, {"web": 1, "books": 1}), (19, {"web": 0, "books": 1})]),
        named(stages=[(13, {"web": 1, "books": 1})]),
        named(share=0.3, stages=[(12, {"web": 1, "books": 1})]),
        named(length=40, stages=[(12, {"web": 1, "books": 1})]),
        named(passes={"web": None, "books": 4}, stages=[(12, {"web": 1, "books": 1})]),
    ):
        with pytest.raises(hr.StateError, match=r"is 'mix\(\w+, stages=2, .*is 'mix\(\w+, "):
            refusing.load_state_dict(state)


def test_it_is_the_same_in_every_release():
    assert run_of(hr.Mix([0.7, 0.2, 0.1], length=12), 2, seed=2**64)[12:].tolist() == GOLDEN


def test_bad_arguments_are_named():
    x = hr.Concat(np.arange(3), np.arange(3))
    for arguments, message in (
        (([1, -1],), "shares must be numbers from 0 on"),
        (([0, 0],), "shares must be numbers of which one is above 0"),
        (([1, 1], None, [(0, [1, 1])]), r"stages\[0\]\[0\] must be an int from 1"),
        (([1, 1], None, [(5, [1, 1]), (5, [1, 1])]), r"stages\[1\]\[0\] must be an int from 6"),
        (([1, 1], None, [5]), r"stages\[0\] must be a pair"),
        (([1, 1, 1],), "3 were given for 2 sources, of 3, 3 samples"),
        (([1, 1], 0), "length must be"),
    ):
        with pytest.raises(hr.ArgumentError, match=message):
            hr.Loader(x, 1, shuffle=hr.Mix(*arguments))
    with pytest.raises(hr.ArgumentTypeError, match="a share must be a finite number"):
        hr.Mix(["half", 1])
    with pytest.raises(hr.ArgumentError, match=r"Pass hr.Concat\(...\) of the sources"):
        hr.Loader(np.arange(3), 1, shuffle=hr.Mix([1]))


GOLDEN = [0, 36, 25, 59, 48, 35, 53, 43, 45, 50, 33, 22]
