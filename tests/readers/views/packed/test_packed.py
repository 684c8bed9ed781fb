"""Packed: what is in the rows, what is refused, and what is read for a batch."""

import itertools
import warnings

import numpy as np
import pytest
from packed_values import Values
from reading import read

import headrace as hr
from headrace.pytree import leaves
from headrace.readers.access import access_of, fingerprint_of
from headrace.readers.reader import check_read
from headrace.testing import ReaderContract


class TestRowsOfOneSample(ReaderContract):
    pickles_data = True
    shapes = ((3, 4), (5,), (1, 2, 1), (2, 0, 3))

    def make_reader(self, folder, samples):
        n, length, *rest = samples.shape
        values = samples.reshape(n * length, *rest)
        ragged = hr.RaggedArray(values, np.arange(n + 1) * length)
        return Values(hr.Packed(ragged, length))


def ragged_of(lengths, element=(), dtype="int64"):
    """Samples, no two of whose values are the same."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.arange(1, offsets[-1] * np.prod(element, dtype=int) + 1)
    return hr.RaggedArray(values.reshape(-1, *element).astype(dtype), offsets)


class Counted:
    """Samples that are not in memory, whose lengths it says only if asked, and what was read."""

    def __init__(self, samples, block=1, blocks_kept=0):
        self.samples, self.taken = samples, []
        self.spec = samples.spec
        self.block, self.blocks_kept = block, blocks_kept

    def __len__(self):
        return len(self.samples)

    def read(self, indices, out):
        check_read(len(self), self.spec, indices, out)
        self.taken.append(indices.tolist())
        self.samples.read(indices, out)


LENGTHS = [3, 0, 7, 1, 1, 0, 40, 2, 5, 16, 8, 8, 1, 23]
SPLITS = ("long", "always")


def pieces_of(batch, values):
    """What is in each segment of the rows, as lists."""
    for row, ids in enumerate(batch["segment_ids"]):
        n = ids.max()
        assert ids[ids > 0].tolist() == sorted(ids[ids > 0]), "segments follow one another"
        assert set(ids[ids > 0]) == set(range(1, n + 1))
        assert not ids[np.count_nonzero(ids) :].any(), "padding is at the end"
        for segment in range(1, n + 1):
            here = ids == segment
            assert batch["positions"][row][here].tolist() == list(range(here.sum()))
            yield values[row][here]
        assert not batch["positions"][row][ids == 0].any()
        assert not values[row][ids == 0].any()


@pytest.mark.parametrize("element", [(), (3,), (2, 1)])
@pytest.mark.parametrize("split", ["never", *SPLITS])
def test_each_value_is_in_one_row(split, element):
    ragged = ragged_of(LENGTHS, element)
    packed = hr.Packed(ragged, 40 if split == "never" else 8, split)
    batch = read(packed)
    pieces = [piece.tolist() for piece in pieces_of(batch, batch["values"])]
    if split == "never":
        samples = read_samples(ragged)
        assert sorted(pieces) == sorted(sample for sample in samples if sample)
    assert sorted(itertools.chain(*pieces)) == list(itertools.chain(*read_samples(ragged)))
    assert all(pieces)
    assert packed.fill == pytest.approx((batch["segment_ids"] > 0).mean())


def read_samples(ragged):
    (batch,) = hr.Loader(ragged, len(ragged), shuffle=False)
    return [sample.tolist() for sample in batch]


def test_only_samples_that_are_longer_than_a_row_are_cut():
    ragged = ragged_of(LENGTHS)
    batch = read(hr.Packed(ragged, 8, "long"))
    pieces = [piece.tolist() for piece in pieces_of(batch, batch["values"])]
    whole = [sample for sample in read_samples(ragged) if 0 < len(sample) <= 8]
    assert all(sample in pieces for sample in whole)
    assert len(pieces) == len(whole) + 5 + 2 + 3


@pytest.mark.parametrize("split", SPLITS)
def test_any_rows_are_as_among_all(split):
    packed = hr.Packed(ragged_of(LENGTHS), 8, split)
    whole = read(packed)
    for rows in ([3, 3, 0], [len(packed) - 1], [], range(len(packed) - 1, -1, -1)):
        some = read(packed, rows)
        for key, part in some.items():
            assert part.tolist() == whole[key][list(rows)].tolist()


def test_parts_are_packed_alongside():
    tokens, weights = ragged_of(LENGTHS), ragged_of(LENGTHS, (2,), "float32")
    one = read(hr.Packed(tokens, 8, "long"))
    batch = read(hr.Packed({"tokens": tokens, "weights": weights}, 8, "long"))
    assert list(batch) == ["tokens", "weights", "segment_ids", "positions"]
    assert np.array_equal(batch["tokens"], one["values"])
    assert np.array_equal(batch["weights"][..., 1], 2 * batch["tokens"])
    batch = read(hr.Packed((tokens, {"weights": weights}), 8, "long"))
    assert np.array_equal(batch["values"][0], one["values"])
    assert np.array_equal(batch["values"][1]["weights"][..., 1], 2 * one["values"])


def test_a_limit_of_segments():
    batch = read(hr.Packed(ragged_of(LENGTHS), 40, max_segments=2))
    assert batch["segment_ids"].max() == 2


def test_a_seed_is_a_plan():
    ragged = ragged_of(np.random.default_rng(0).integers(0, 9, 99))
    for split in ("never", "always"):
        one, same, other = (hr.Packed(ragged, 8, split, seed=seed) for seed in (0, 0, 1))
        assert np.array_equal(read(one)["values"], read(same)["values"])
        assert not np.array_equal(read(one)["values"], read(other)["values"])
        assert fingerprint_of(one) == fingerprint_of(same) != fingerprint_of(other)


def test_of_a_reader_that_does_not_know_lengths_they_are_read():
    reader = Counted(ragged_of([3, 0, 2] * 200))
    packed = hr.Packed(reader, 6)
    assert list(itertools.chain(*reader.taken)) == list(range(600))
    assert np.array_equal(read(packed)["values"], read(hr.Packed(reader.samples, 6))["values"])


@pytest.mark.parametrize("split", SPLITS)
def test_pieces_are_those_of_whole_samples(split):
    """Whether a reader can read pieces by themselves, as in memory, or whole samples only."""
    ragged = ragged_of(LENGTHS, (2,))
    order = np.random.default_rng(0).permutation(len(LENGTHS))
    shuffled = hr.Subset(ragged, order)
    expected = read(hr.Packed(Counted(shuffled), 8, split))
    inverse = hr.Subset(hr.Subset(ragged, range(len(LENGTHS))), order)
    for source in (shuffled, inverse, (shuffled, Counted(inverse))):
        batch = read(hr.Packed(source, 8, split))
        for values in leaves(batch["values"]):
            assert np.array_equal(values, expected["values"])
        assert np.array_equal(batch["segment_ids"], expected["segment_ids"])


def test_of_a_sample_in_memory_that_is_cut_only_the_piece_is_read(monkeypatch):
    ragged = ragged_of([3, 100_000, 2])
    packed = hr.Packed(ragged, 8, "long")
    monkeypatch.setattr(hr.RaggedArray, "read", lambda *_: pytest.fail("the whole is read"))
    for reader in (packed, hr.Packed(hr.Subset(ragged, [1, 0]), 8, "long")):
        batch = read(reader, [7, 7, 300])
        assert batch["values"].tolist() == [
            [*range(60, 68)],
            [*range(60, 68)],
            [*range(2404, 2412)],
        ]


def test_a_sample_that_is_cut_is_read_once_for_a_batch():
    reader = Counted(ragged_of([3, 1000, 2]))
    packed = hr.Packed(reader, 8, "long")
    reader.taken.clear()
    read(packed)
    assert reader.taken == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        (
            [3, 9, 10],
            {},
            "sample 1 has 9 values, and a row has 8.*too long: 2.*split='long'",
        ),
        ([3, 0], {"split": "sometimes"}, "split must be 'never', 'long' or 'always'"),
        ([3, 0], {"split": "always", "max_segments": 3}, "None with split='always'.*'long'"),
        ([3, 0], {"max_segments": 0}, "max_segments must be an int from 1"),
        ([3, 0], {"length": 0}, "length must be an int from 1"),
        ([3, 0], {"seed": -1}, "seed must be an int from 0"),
        ([0, 0], {}, "all 2 are empty"),
        ([0, 0], {"split": "always"}, "all 2 are empty"),
    ],
)
def test_what_is_refused(lengths, options, message):
    with pytest.raises(hr.ArgumentError, match=message):
        hr.Packed(ragged_of(lengths), **{"length": 8, **options})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((3, 4)), "samples of any length.*ragged=True"),
        ({"x": ragged_of([3, 1]), "y": np.zeros(2)}, "samples of any length in all its parts"),
        ({"x": ragged_of([3, 1]), "y": ragged_of([3, 2])}, r"sample 1 has 1.*'x'\] and 2.*'y'\]"),
        ({"x": ragged_of([3, 1]), "positions": ragged_of([3, 1])}, "'positions'"),
    ],
)
def test_sources_that_are_refused(source, message):
    with pytest.raises(hr.ArgumentError, match=message):
        hr.Packed(source, 8)


class Changed(Counted):
    """In which a sample becomes longer, or can't be read any more."""

    changed = broken = None

    def read(self, indices, out):
        if self.changed is not None:
            indices = np.where(indices == 2, self.changed, indices)
        if self.broken in indices:
            raise hr.SampleFormatError.at(self.broken, f"sample {self.broken} can't be read: it")
        super().read(indices, out)


def test_errors_name_the_sample_and_the_row():
    reader = Changed(ragged_of([8, 8, 3, 5, 8]))
    packed = hr.Packed(reader, 8)
    reader.broken = 4
    with pytest.raises(hr.SampleFormatError, match=r"sample 4 can't be.*\(row 3\)") as caught:
        read(packed)
    assert caught.value.index == 3
    reader.broken, reader.changed = None, 3
    with pytest.raises(hr.SampleFormatError, match=r"sample 2 .* 5 values, and had 3.*\(row 2\)"):
        read(packed)
    assert read(packed, [0, 1, 3])["values"].all()


def test_a_bad_sample_costs_its_row():
    reader = Changed(ragged_of([8, 8, 3, 5, 8]))
    options = {"shuffle": False, "on_error": "replace", "max_bad_samples": 1}
    loader = hr.Loader(hr.Packed(reader, 8), 4, **options)
    reader.broken = 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hr.BadSampleWarning)
        batch = loader.batch(0, 0)
    assert batch["values"][3].tolist() in batch["values"][:3].tolist()


def test_access_of_rows():
    with pytest.warns(hr.ReadAmplificationWarning, match="in blocks of 100"):
        packed = hr.Packed(Counted(ragged_of([3] * 500), 100, 2), 8)
    assert not access_of(packed).in_memory
    hr.Packed(Counted(ragged_of([3] * 500), 100, 5), 8)  # which keeps all
    assert access_of(hr.Packed(ragged_of([3]), 8)).in_memory


def test_rows_of_bytes():
    ragged = hr.RaggedArray(np.array([b"a", b"b", b"c"]), np.array([0, 2, 3]))
    assert read(hr.Packed(ragged, 4))["values"].tolist() == [[b"a", b"b", b"c", b""]]


def test_more_ranks_than_rows():
    packed = hr.Packed(ragged_of([3, 0, 5, 2]), 5)
    rows = []
    for rank in range(6):
        loader = hr.Loader(packed, 1, rank=rank, world_size=6, tail="pad", seed=1)
        ((batch, weights),) = loader
        rows += [batch["values"][0].tolist()] * int(weights.sum())
    assert sorted(rows) == sorted(read(packed)["values"].tolist())
