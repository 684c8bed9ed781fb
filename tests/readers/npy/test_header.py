"""Whatever the bytes of a file: an error that says what is wrong, or just what numpy reads.

`numpy.load` is the oracle. The readers may refuse more than it does, but never less.
"""

import io
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from written import write_tar_of

import headrace as hr

MAX_HEADER_BYTES = 65536
# More would only test the allocator, here and in numpy.
MOST_BYTES = 2**20


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def load(file):
    """What numpy makes of the file; None if it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = np.load(file, allow_pickle=False, max_header_size=MAX_HEADER_BYTES)
        except Exception:
            return None
    return array if isinstance(array, np.ndarray) else None


def same(actual, expected):
    """Whether they agree in every bit but those between the fields of a structure."""
    if actual.dtype != expected.dtype.newbyteorder("=") or actual.shape != expected.shape:
        return False
    if actual.dtype.names is not None:
        return all(same(actual[name], expected[name]) for name in actual.dtype.names)
    return actual.tobytes() == expected.astype(actual.dtype, copy=False).tobytes()


def refused(file, error):
    assert file.name in str(error)


def read_as_sample(file):
    try:
        reader = hr.NpyFiles(file.parent, [file.stem])
        assert reader.spec.nbytes <= MOST_BYTES, "a size that the small file can't have"
        out = np.empty((1, *reader.spec.shape), reader.spec.dtype)
        reader.read(np.array([0]), out)
    except hr.SampleFormatError as error:
        return refused(file, error)
    return out.reshape(reader.spec.shape)


def read_as_rows(file):
    try:
        reader = hr.NpyFile(file)
        out = np.empty((len(reader), *reader.spec.shape), reader.spec.dtype)
        reader.read(np.arange(len(reader)), out)
    except hr.SampleFormatError as error:
        return refused(file, error)
    return out


def check(folder, data, must_be_read=False):
    file = folder / "sample.npy"
    file.write_bytes(data)
    expected = load(file)
    for read in (read_as_sample, read_as_rows):
        got = read(file)
        if got is not None:
            assert expected is not None, "numpy refuses this file"
            assert same(got, expected)
        elif must_be_read:
            assert read is read_as_rows
            assert expected.ndim == 0, "only an array without axes has no rows"


def file_of(header, data=bytes(range(256)), version=1, encoding="latin1"):
    text = header.encode(encoding)
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def valid_file(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


ARRAYS = [
    np.arange(24, dtype="<f4").reshape(2, 3, 4),
    np.asfortranarray(np.arange(24, dtype=">i2").reshape(4, 6)),
    np.array(["one", "two", "three"]),
    np.zeros(3, [("a", "<f4"), ("b", [("c", ">i8", (2,)), ("d", "S3")])]),
    np.array(5.0),
    np.zeros((0, 3), "M8[s]"),
]
VERSIONS = st.sampled_from([(1, 0), (2, 0), (3, 0)])


@st.composite
def damaged_files(draw):
    """Valid files with some bytes of the first 200 changed, put in or left out."""
    data = bytearray(valid_file(draw(st.sampled_from(ARRAYS)), draw(VERSIONS)))
    # Bytes that mean something in a header come up often enough to be met in all places.
    telling = b" \n\t\r\x0b\x0c\x1c\x85\xa0'\"{}()[],:<>|=0159LTFfiUSVOb\\#\0"
    byte = st.one_of(st.sampled_from(telling), st.integers(0, 255))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(200, len(data) - 1)))
        change = draw(st.sampled_from(["change", "insert", "delete"]))
        if change == "insert":
            data.insert(at, draw(byte))
        elif change == "delete":
            del data[at]
        else:
            data[at] = draw(byte)
    return bytes(data)


DESCRIPTIONS = st.sampled_from(
    [
        *[
            "'<f4'",
            '">i2"',
            "'|b1'",
            "'|O'",
            "'O'",
            "'|V0'",
            "'<U0'",
            "'S'",
            "'(2,)<f4'",
            "('<f4')",
        ],
        *["[('a', '<f4'), ('b', '|S2', (2,))]", "[(('t', 'n'), '<i2')]", "('<f4', (2,))", "[]"],
        *["'<M8[s]'", "'m8'", "'f4,i2'", "5", "None", "'<f4\n'", "[('', '|V3')]", "[('a', '|O')]"],
        *["'a'", "''", "'T'", "'g'", "'=f4'", "{'ab': 1}", "b'<f4'"],
    ]
)
LENGTHS = st.one_of(
    st.integers(0, 5).map(str),
    st.sampled_from(
        ["2L", "02", "00", "-1", "True", "1_0", "0x2", "2.0", "9" * 19, "9" * 25, "2 L"]
    ),
)
SHAPES = st.one_of(
    st.lists(LENGTHS, max_size=4).map(lambda lengths: f"({', '.join([*lengths, ''])[:-1]})"),
    st.sampled_from(["[2]", "2", "(2)", "(2, 3, )", "(,)", "(2 3)", f"({'1,' * 64})", "((2, 3))"]),
)
SPACES = st.sampled_from([*[""] * 4, " ", "\n", "\t", "\r", "\f", "\v", "\x1c", "\xa0", "\0", " #"])


@st.composite
def headers(draw):
    """Text that is much like a header, spelled in ways that numpy's own writer never uses."""
    fields = [
        ("descr", draw(DESCRIPTIONS)),
        ("fortran_order", draw(st.sampled_from(["False", "True", "0", "None", "'True'"]))),
        ("shape", draw(SHAPES)),
    ]
    fields = draw(st.permutations(fields))
    if draw(st.integers(0, 9)) == 0:
        fields.append(draw(st.sampled_from([*fields, ("extra", "1")])))
    parts = [draw(SPACES), "{"]
    for name, value in fields:
        quote = draw(st.sampled_from("''''\""))
        parts += [draw(SPACES), quote, name, quote, draw(SPACES), ":", draw(SPACES), value]
        parts += [draw(SPACES), ","]
    if draw(st.booleans()):
        parts.pop()
    parts += ["}", draw(SPACES), draw(st.sampled_from(["\n", "", "  \n", "\n  ", ",", ";", "}"]))]
    return "".join(parts)


@given(damaged_files())
@settings(max_examples=10 * settings.default.max_examples)
def test_damaged_file_is_refused_or_read_as_numpy_reads_it(folder, data):
    check(folder, data)


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"


@given(headers(), st.sampled_from([1, 2, 3]))
@example(PLAIN + "\n", 1)
@example(PLAIN.replace("2, 3", "2L, 3L"), 1)
@example(PLAIN.replace("2, 3", "2L, 3L"), 3)
@example(PLAIN.replace("'<f4'", "[('1L, 2L)', '<f4')]"), 1)
@example(PLAIN.replace("2, 3", "02, 3"), 1)
@example("\n" + PLAIN, 1)
@example("\n " + PLAIN, 1)
@example(PLAIN.replace(" ", "\xa0"), 1)
@example(PLAIN.replace(" ", "\x1f"), 3)
@example(PLAIN.replace("'<f4'", "[('a\0b', '<f4')]"), 1)
@example(PLAIN.replace("'<f4'", "[('a\nb', '<f4')]"), 1)
@example(PLAIN.replace("'<f4'", "'(2,)<f4'").replace("2, 3", "0"), 1)
@example(PLAIN.replace("'<f4'", "'<U0'"), 1)
@settings(max_examples=10 * settings.default.max_examples)
def test_odd_header_is_refused_or_read_as_numpy_reads_it(folder, header, version):
    check(folder, file_of(header, version=version, encoding="utf8" if version == 3 else "latin1"))


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x93NUMPY", b"\x93NUMPY\1\0", b"PK\3\4"]))
@settings(max_examples=2 * settings.default.max_examples)
def test_random_bytes_are_refused(folder, data, start):
    check(folder, start + data)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "dtype", ["<f4", ">f4", ">i2", "<i8", ">i8", ">c8", "<M8[s]", ">M8[ms]", "S3", "<U3", ">U3"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_order_memory_order_and_version_do_not_matter(folder, version, dtype, order):
    array = np.arange(24).reshape(4, 3, 2).astype(dtype, order=order)
    check(folder, valid_file(array, version), must_be_read=True)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_every_cut_of_a_file_is_refused(folder, array):
    whole = valid_file(array, (1, 0))
    for size in range(len(whole)):
        file = folder / "sample.npy"
        file.write_bytes(whole[:size])
        assert read_as_sample(file) is None
        assert read_as_rows(file) is None
    check(folder, whole, must_be_read=True)
    check(folder, whole + b"left over", must_be_read=True)


ANY_DTYPE = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(min_len=1),
    hnp.unicode_string_dtypes(min_len=1),
    hnp.array_dtypes(allow_subarrays=True),
)


@given(st.data())
@settings(max_examples=3 * settings.default.max_examples)
def test_what_numpy_saves_is_read_back(folder, data):
    dtype = data.draw(ANY_DTYPE)
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(dtype, shape))
    array = np.asarray(array, order=data.draw(st.sampled_from("CF")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of field names that need version 3
        file = io.BytesIO()
        np.save(file, array)
    # Names of fields that numpy has to escape are refused: nobody has needed them yet.
    check(folder, file.getvalue(), must_be_read=b"\\" not in file.getvalue())


# What numpy 2 writes of its own scalars, which its reader refuses.
SCALARS = "{'descr': '<i2', 'fortran_order': np.False_, 'shape': (np.int64(4), np.uint8(3)), }"
ROWS = np.arange(12, dtype=np.int16).reshape(4, 3)


def reader_of(format_name, folder, data):
    """The reader of a file with these bytes in the format."""
    if format_name == "npz-files":
        with zipfile.ZipFile(folder / "a.npz", "w") as archive:
            archive.writestr("x.npy", data)
        return hr.NpzFiles(folder)
    if format_name == "tar":
        write_tar_of(folder / "a.tar", {"a.npy": data})
        return hr.TarFiles(folder, "npy")
    (folder / "a.npy").write_bytes(data)
    if format_name == "npy-files":
        return hr.NpyFiles(folder)
    return hr.NpyShards(folder) if format_name == "npy-shards" else hr.NpyFile(folder / "a.npy")


@pytest.mark.fault(
    "a scalar of numpy's in a `.npy` header", "read",
    "npy", "npy-files", "npy-shards", "npz-files", "tar",
)  # fmt: skip
@pytest.mark.parametrize("version", [1, 2, 3])
def test_scalars_of_numpy_in_a_header_are_read(tmp_path, format_name, version):
    data = file_of(SCALARS + "\n", ROWS.tobytes(), version)
    reader = reader_of(format_name, tmp_path, data)
    out = np.empty((len(reader), *reader.spec.shape), np.int16)
    reader.read(np.arange(len(reader)), out)
    assert out.reshape(4, 3).tolist() == ROWS.tolist()


def test_a_file_that_open_memmap_wrote_is_read(tmp_path):
    file = tmp_path / "a.npy"
    np.lib.format.open_memmap(file, "w+", np.int16, (np.int64(4), 3))[:] = ROWS
    for read in (read_as_sample, read_as_rows):
        assert read(file).tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    "scalar", ["np.int64(4", "np.int64()", "np.int64(-4)", "np.float64(4)", "np.int64(04)",
               "numpy.int64(4)", "np.int64(np.int64(4))", "os.system(4)", "np.True_"],
)  # fmt: skip
def test_what_is_no_scalar_is_refused(tmp_path, scalar):
    header = f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({scalar}, 3), }}"
    file = tmp_path / "a.npy"
    file.write_bytes(file_of(header))
    assert read_as_sample(file) is read_as_rows(file) is None
