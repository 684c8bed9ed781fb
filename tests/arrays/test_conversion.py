"""held: a value that a dtype does not hold is an error; what may only lose precision is not."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.arrays.conversion import UnheldError, held, may_change

INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u8"]
NAT = np.datetime64("NaT", "s")
PAIR = np.dtype([("n", "i8", 2), ("x", "f8")])
LESS = np.dtype([("n", "i1", 2), ("x", "f4")])


@pytest.mark.parametrize(
    ("values", "dtype", "said"),
    [
        (np.array([[1, 2], [-129, 3]]), "i1", "has -129, which int8 can't hold (-128 to 127)."),
        (np.array([[1, 2], [128, 3]], "u1"), "i1", "has 128, which int8 can't hold"),
        (np.array([0, 2**63], "u8"), "i8", "can't hold (-9223372036854775808 to 92233"),
        (np.array([0, 300], ">i8"), "i1", "Use a dtype that can, such as int64"),
        (np.array([1, 70000]), "f2", "has 70000, which float16 can't hold (-6.55e+04 to 6.55e+04)"),
        (np.array([1, 1e300]), "f4", "has 1e+300, which float32 can't hold"),
        (np.array([np.nan, -1e300]), "f4", "has -1e+300, which float32 can't hold"),
        (np.array([1, 1e39 + 1j]), "c8", "has (1e+39+1j), which complex64 can't hold"),
        (np.array(["abc", "abcd"]), "U3", "has 'abcd', which <U3 can't hold. Use"),
        (np.array(["abc", "x" * 200]), "U3", f"has '{'x' * 79}..., which <U3 can't hold"),
        (np.array([b"abc", b"abcd"]), "S3", "has b'abcd', which |S3 can't hold"),
        (np.array([b"abc", b"abcd"], "V4"), "V3", "has b'abcd', which |V3 can't hold"),
        (np.array(["2000", "3000"], "M8[s]"), "M8[ns]", "has 3000-01-01T00:00:00, which datetime"),
        (np.array([NAT, "3000"], "M8[s]"), "M8[ns]", "has 3000-01-01T00:00:00, which datetime"),
        (np.array([([1, 2], 3), ([1, 300], 3)], PAIR), LESS, "has (array([  1, 300]), 3.0), which"),
        (np.array([([1, 2], 3), ([1, 30], 1e39)], PAIR), LESS, "has (array([ 1, 30]), 1e+39), wh"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values, dtype, said):
    with pytest.raises(UnheldError) as caught:
        held(values, np.dtype(dtype))
    assert said in str(caught.value)
    assert caught.value.row == 1
    with pytest.raises(UnheldError) as caught:
        held(values, np.dtype(dtype), [5, 8])
    assert caught.value.row == 8


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([-128, 127]), "i1"),
        (np.array([], "i8"), "i1"),
        (np.array([2**63 - 1], "u8"), "i8"),
        (np.array([np.inf, -np.inf, np.nan, 1e-300, 3.4028235e38]), "f4"),
        (np.array([np.inf + 1j]), "c8"),
        (np.array([65504, -65504]), "f2"),
        (np.array(["abc"], "U9"), "U3"),
        (np.array(["2000", NAT], "M8[s]"), "M8[ns]"),
        (np.array(["2000-01-02T03:04", "3000"], "M8[s]"), "M8[D]"),
        (np.array([([-128, 127], 1e-300)], PAIR), LESS),
        (np.array([b"abc\0"], "V4"), "V3"),
    ],
)
def test_values_that_fit_are_given_as_they_are(values, dtype):
    assert held(values, np.dtype(dtype)) is values


@pytest.mark.parametrize(
    ("source", "dtype"),
    [
        *((each, each) for each in [*INTEGERS, "f4", "U3", "M8[s]"]),
        *(("i4", wider) for wider in ("i8", "f4", "f8", "c8", ">i4")),
        *(("i8", kind) for kind in ("f4", "f8", "c8")),
        *(("?", kind) for kind in ("u1", "f2", "c8")),
        ("u1", "i2"),
        ("i2", "f2"),
        ("f4", "f8"),
        ("f4", "c8"),
        ("U3", "U4"),
        ("M8[s]", "M8[D]"),
        (LESS, PAIR),
    ],
)
def test_nothing_is_looked_at_where_all_values_fit(source, dtype):
    assert not may_change(np.dtype(source), np.dtype(dtype))


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_integers_are_held_or_an_error(data, source, dtype):
    values = data.draw(arrays.arrays(source, arrays.array_shapes(max_dims=2, min_side=0)))
    info = np.iinfo(dtype)
    wrong = [not info.min <= value <= info.max for value in values.reshape(-1).tolist()]
    row = wrong.index(True) // (values.size // len(values)) if any(wrong) else None
    assert row_of_error(values, dtype) == row
    if row is None:
        assert values.astype(dtype).tolist() == values.tolist()


@given(st.data(), st.sampled_from(["f4", "f8"]), st.sampled_from(["f2", "f4"]))
def test_floats_are_finite_or_an_error(data, source, dtype):
    values = data.draw(arrays.arrays(source, arrays.array_shapes(max_dims=2, min_side=0)))
    with np.errstate(over="ignore"):
        lost = np.isinf(values.astype(dtype)) & ~np.isinf(values)
    rows = np.flatnonzero(lost.reshape(len(values), -1).any(axis=1)) if lost.any() else [None]
    assert row_of_error(values, dtype) == rows[0]


def row_of_error(values, dtype):
    """The row that the error names; None if there is none."""
    try:
        held(values, np.dtype(dtype))
    except UnheldError as error:
        return error.row
    return None
