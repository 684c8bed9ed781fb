"""ExampleParser, and the checksums of lengths, on bytes of every form."""

import contextlib

import hypothesis
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tfrecords import example, feature, masked, message, varint

from headrace.readers.shared.format_error import FormatError
from headrace.readers.tfrecord.crc32c import masked_of_lengths
from headrace.readers.tfrecord.example import ExampleParser

NUMBERS = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(NUMBERS, max_size=50), st.lists(st.floats(width=32), max_size=9), st.booleans())
def test_examples_of_every_form(ints, floats, packed):
    data = example({"i": np.array(ints, "int64"), "f": np.array(floats, "float32")}, packed)
    data += varint(9 << 3) + varint(300)  # a field that is not known
    parser = ExampleParser()
    for _ in range(3):  # it keeps where values lie
        found = parser.features(data)
        assert found["i"].tolist() == ints
        assert np.array_equal(found["f"], np.array(floats, "float32"), equal_nan=True)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NUMBERS, max_size=9), max_size=9), st.booleans())
def test_feature_lists_of_every_form(steps, packed):
    """Also of steps that have as many bytes as others, and other numbers of values."""
    of_steps = b"".join(message(1, feature(np.array(step, "int64"), packed)) for step in steps)
    data = message(2, message(1, message(1, b"x") + message(2, of_steps)))
    parser = ExampleParser()
    for _ in range(3):
        found = parser.features(data)["x"]
        assert found.counts.tolist() == list(map(len, steps))
        assert [one.tolist() for one in found.each()] == steps


@settings(deadline=None, max_examples=2 * settings.default.max_examples)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_bytes_that_are_no_example_are_an_error_or_something_else(data, cut):
    for bad in (data, example({"x": np.arange(40)})[:cut]):
        with contextlib.suppress(FormatError):
            ExampleParser().features(bad)


FEATURES = st.dictionaries(
    st.sampled_from(["a", "b", "cc"]),
    st.one_of(
        st.lists(NUMBERS, max_size=2).map(lambda listed: np.array(listed, "int64")),
        st.lists(st.floats(width=32, allow_nan=False), max_size=2).map(np.float32),
        st.binary(max_size=9),
    ),
)


# Of ints that are not packed, 70000 has the bytes of two, with those around them.
LONG, SHORT = np.array([70000, 1, 1]), np.array([1, 1, 1, 1])


@settings(deadline=None, max_examples=60)
@hypothesis.example([({"a": LONG}, False), ({"a": SHORT}, False)])
@given(st.lists(st.tuples(FEATURES, st.booleans()), min_size=2, max_size=12))
def test_one_parser_takes_examples_that_are_alike_or_not(written):
    """Whatever it has seen before, it finds what one that has seen nothing finds."""
    parser = ExampleParser()
    for features, packed in written * 2:
        data = example(features, packed)
        found, fresh = parser.features(data), ExampleParser().features(data)
        assert list(found) == list(fresh) == sorted(features)
        for name, value in features.items():
            expected = [value] if isinstance(value, bytes) else value.tolist()
            assert list(found[name]) == list(fresh[name]) == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_checksums_of_lengths(lengths):
    array = np.array(lengths, np.uint64)
    expected = [int.from_bytes(masked(n.to_bytes(8, "little")), "little") for n in lengths]
    assert masked_of_lengths(array).tolist() == expected
