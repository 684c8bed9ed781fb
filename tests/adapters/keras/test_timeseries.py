"""Windows gives the arrays of Keras' timeseries_dataset_from_array, for each of its settings."""

import itertools

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="Keras makes such datasets with TensorFlow")

import keras

import headrace as hr

N = 53
X = np.random.default_rng(0).normal(size=(N, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 9, N)
TARGETS = {"none": None, "all": Y, "fewer": Y[20:], "more": np.arange(2 * N), "rows": X[5:]}
SETTINGS = [
    *itertools.product((1, 7), (1, 3), (1, 5), ((None, None),), ("none", "fewer")),
    *itertools.product((4,), (1, 5), (3,), ((None, 40), (9, None), (9, 40)), ("none", "all")),
    *itertools.product((5,), (1, N - 1), (1,), ((None, None),), TARGETS),
    *itertools.product((N,), (1,), (1,), ((None, None),), TARGETS),
    *itertools.product((5,), (2,), (N // 4,), ((None, None),), TARGETS),
]


@pytest.mark.parametrize(
    ("length", "stride", "rate", "part", "targets"),
    [pytest.param(*each, id="-".join(map(str, each)).replace(" ", "")) for each in SETTINGS],
)
def test_arrays_are_those_of_keras(length, stride, rate, part, targets):
    first, end = part
    targets = TARGETS[targets]
    theirs = keras.utils.timeseries_dataset_from_array(
        X, targets, length, stride, rate, batch_size=16, start_index=first, end_index=end
    )
    within = slice(first, end)
    windows = hr.Windows(
        hr.Subset(X, within), length, stride, rate,
        targets=None if targets is None else hr.Subset(targets, within),
    )  # fmt: skip
    ours = list(hr.Loader(windows, 16, shuffle=False, tail="partial"))
    theirs = [
        tuple(part.numpy() for part in batch) if isinstance(batch, tuple) else batch.numpy()
        for batch in theirs
    ]
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert type(our) is type(their)
        for a, b in zip(our, their, strict=True) if isinstance(our, tuple) else [(our, their)]:
            assert (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())
