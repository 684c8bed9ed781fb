"""The contracts of `Order` and `Sampling`: by each of ours, and by one that repeats samples."""

import pickle

import numpy as np
import pytest
from at_once import at_once
from hypothesis import given, settings
from hypothesis import strategies as st
from twice import EachTwice, Twice, drawn

import headrace as hr
from headrace.sampling.block_shuffle import BlockShuffled
from headrace.sampling.order import Order, Sampling, Sequential, Shuffled, order_of, positions_of


def in_blocks(n, seed):
    """In blocks of 1 to 40 and windows of 1 to 12."""
    return BlockShuffled(n, seed, 1 + seed % 40, 1 + seed // 40 % 12)


def weighted(n, seed, **options):
    return hr.Weighted(1 + np.arange(n) % 3, **options).order(n, seed)


def balanced(n, seed):
    """Of up to four classes, of which passes may leave some out, and samples may come twice."""
    labels = np.arange(n) ** 2 % 7
    classes = len(np.unique(labels))
    return hr.Balanced(labels, 1 + seed % classes, 1 + seed % 5).order(n, seed)


def mixed(n, seed):
    """Of two sources, of which the first has one sample less, and a third without any."""
    parts = [(n // 2, 1, ""), (n - n // 2, 3, ""), (0, 1, "")]
    shuffle = hr.BlockShuffle(3, 2) if seed % 2 else True
    stages = [(n + 5, [1, 1, 0])]
    passes = [3 if seed % 3 else None, None, None]
    return hr.Mix([0.3, 0.7, 0], 2 * n, stages, passes, shuffle).order_of_parts(parts, seed)


ORDERS = {
    "sequential": lambda n, seed: Sequential(n),
    "shuffled": Shuffled,
    "block_shuffled": in_blocks,
    "weighted": weighted,
    "weighted, each once": lambda n, seed: weighted(n, seed, replacement=False),
    "balanced": balanced,
    "mixed": mixed,
    "each twice": EachTwice,
}
every_order = pytest.mark.parametrize("make", ORDERS.values(), ids=ORDERS)
sizes = st.integers(1, 300)
seeds = st.integers(0, 2**128 - 1)
epochs = st.integers(0, 2**40)


@every_order
class TestEveryOrder:
    @given(n=sizes, seed=seeds, epoch=epochs)
    def test_an_epoch_holds_samples_each_once_unless_it_repeats(self, make, n, seed, epoch):
        order: Order = make(n, seed)
        samples = order.indices(epoch, np.arange(len(order)))
        counts = np.bincount(samples, minlength=n)
        assert samples.dtype == np.int64
        assert samples.min() >= 0
        assert len(counts) == n
        assert order.repeats or counts.tolist() == [1] * n

    @given(n=sizes, seed=seeds, epoch=epochs, data=st.data())
    def test_any_positions_give_what_the_whole_epoch_gives(self, make, n, seed, epoch, data):
        order = make(n, seed)
        whole = order.indices(epoch, np.arange(len(order)))
        drawn = data.draw(st.lists(st.integers(0, len(order) - 1), min_size=6, max_size=6))
        for shape in ((6,), (2, 3), (3, 1, 2)):
            positions = np.array(drawn).reshape(shape)
            kept = positions.copy()
            order.indices(epoch + 1, positions)  # what it was asked before leaves no trace
            assert order.indices(epoch, positions).tolist() == whole[positions].tolist()
            assert (positions == kept).all()
        assert [order.indices(epoch, np.array([p])).item() for p in drawn] == whole[drawn].tolist()
        assert order.indices(epoch, np.arange(0)).shape == (0,)

    @settings(max_examples=30)
    @given(n=sizes, seed=seeds, epoch=epochs)
    def test_a_sample_is_found_where_it_comes(self, make, n, seed, epoch):
        order = make(n, seed)
        whole = order.indices(epoch, np.arange(len(order)))
        for sample in {0, n // 2, n - 1}:
            found = positions_of(order, epoch, sample)
            assert found.tolist() == np.flatnonzero(whole == sample).tolist()

    def test_another_one_and_a_copy_give_the_same(self, make):
        order, positions = make(40, 7), np.arange(40)
        order.indices(1, positions)
        for other in (make(40, 7), pickle.loads(pickle.dumps(order))):
            for epoch in (3, 0):
                assert (other.indices(epoch, positions) == order.indices(epoch, positions)).all()
            assert (len(other), other.describe()) == (len(order), order.describe())

    def test_threads_may_be_at_different_epochs(self, make):
        order, positions = make(40, 7), np.arange(40)
        expected = [make(40, 7).indices(epoch, positions).tolist() for epoch in range(4)]

        def ask(epoch):
            return [order.indices(epoch, positions).tolist() for _ in range(50)]

        assert at_once(ask, range(4)) == [[samples] * 50 for samples in expected]

    def test_epochs_and_seeds_have_orders_of_their_own(self, make):
        positions = np.arange(40)
        orders = {
            tuple(make(40, seed).indices(epoch, positions).tolist())
            for seed in range(3)
            for epoch in range(3)
        }
        assert len(orders) == (1 if make is ORDERS["sequential"] else 9)


def test_a_description_tells_an_order_from_the_others():
    samplings = [True, False, Twice(), *map(hr.BlockShuffle, (4, 4, 5), (2, 3, 2))]
    told = [order_of(sampling, 40, 1).describe() for sampling in samplings]
    assert len(set(told)) == len(told)
    longest = order_of(hr.BlockShuffle(2**62 - 1, 2**62), 40, 1).describe()
    assert max(map(len, [*told, longest])) <= 100


def test_what_shuffle_takes():
    assert type(order_of(True, 4, 1)) is Shuffled
    assert type(order_of(False, 4, 1)) is Sequential
    for sampling, kind in ((hr.BlockShuffle(), BlockShuffled), (Twice(), EachTwice)):
        assert isinstance(sampling, Sampling)
        assert type(order_of(sampling, 4, 1, block=2)) is kind
    for other in (1, None, "shuffled", Twice, Shuffled(4, 1)):
        with pytest.raises(hr.ArgumentTypeError, match="shuffle must be True or False, or"):
            order_of(other, 4, 1)


# Of samplings of four samples: what a state says of one, and those that it is refused by.
OTHERS = [
    (False, "'sequential'", [True]),
    (
        hr.BlockShuffle(4, 2),
        r"'block_shuffled\(block=4, window=2\)'",
        [True, False, hr.BlockShuffle(4, 3), hr.BlockShuffle(5, 2)],
    ),
    (
        hr.Weighted([1, 2, 3, 4]),
        r"'weighted\(\w+, with rep.*'weighted\(\w+, ",
        [
            hr.Weighted([1, 2, 3, 5]),
            hr.Weighted([1, 2, 3, 4], length=6),
            hr.Weighted([1, 2, 3, 4], replacement=False),
        ],
    ),
    (
        hr.Balanced([0, 0, 1, 1]),
        r"'balanced\(\w+, 2 classes of 1, leng",
        [hr.Balanced([0, 1, 1, 1]), hr.Balanced([0, 0, 1, 1], 1), hr.Balanced([0, 0, 1, 1], 2, 2)],
    ),
    (Twice(), "'each twice', and this", [True]),
]


@pytest.mark.parametrize(
    ("sampling", "said", "others"), OTHERS, ids=[type(one[0]).__name__ for one in OTHERS]
)
def test_a_state_of_another_order_is_refused_and_both_are_named(sampling, said, others):
    def loader(shuffle):
        return hr.Loader(np.arange(4), 2, shuffle=shuffle)

    state = loader(sampling).state_dict()
    for other in others:
        with pytest.raises(hr.StateError, match=f"'order' is {said}"):
            loader(other).load_state_dict(state)


def test_a_state_of_weights_in_other_units_is_that_of_the_same_order():
    weights = np.array([0.5, 1, 1.5, 2])
    state = hr.Loader(np.arange(4), 2, shuffle=hr.Weighted(2 * weights)).state_dict()
    hr.Loader(np.arange(4), 2, shuffle=hr.Weighted(weights)).load_state_dict(state)


class TestLoaderOverRepeatingOrder:
    """26 positions of 13 samples."""

    N = 13

    def loader(self, batch_size=4, **options):
        defaults = {"tail": "partial", "seed": 3, "executor": hr.Inline()}
        defaults["transform"] = hr.per_sample(drawn)
        return hr.Loader(np.arange(self.N), batch_size, shuffle=Twice(), **(defaults | options))

    def whole(self, epochs, **options):
        """Sample and draw at each position of each epoch."""
        one = self.loader(1, **options)
        return [
            [tuple(int(part[0]) for part in one.batch(epoch, step)) for step in range(2 * self.N)]
            for epoch in range(epochs)
        ]

    def rows(self, batch):
        samples, numbers, *weights = batch
        count = int(weights[0].sum()) if weights else len(samples)
        return list(zip(samples[:count].tolist(), numbers[:count].tolist(), strict=True))

    def test_a_sample_draws_other_numbers_each_time_and_the_same_on_every_run(self):
        rows = [row for epoch in self.whole(3) for row in epoch]
        assert np.bincount([sample for sample, _ in rows]).tolist() == [6] * self.N
        assert len({number for _, number in rows}) == len(rows)
        assert rows == [row for epoch in self.whole(3) for row in epoch]

    @pytest.mark.parametrize("stop", [1, 4, 5])  # the last two lie behind the number of samples
    def test_it_goes_on_with_another_batch_size(self, stop):
        stopped = self.loader()
        for _ in zip(range(stop), stopped.stream(), strict=False):
            pass
        assert stopped.place == (0, 4 * stop)
        resumed = self.loader(5)
        resumed.load_state_dict(stopped.state_dict())
        rest = [row for batch in resumed for row in self.rows(batch)]
        assert rest == self.whole(1)[0][4 * stop :]

    def test_positions_end_with_the_order_and_not_with_the_samples(self):
        loader = self.loader()
        loader.place = (0, 26)
        assert loader.place == (1, 0)
        with pytest.raises(hr.ArgumentError, match="position must be an int from 0 to 26"):
            loader.place = (0, 27)
