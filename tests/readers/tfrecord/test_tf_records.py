"""TFRecords: records of bytes and of tf.train.Example, without TensorFlow."""

import gzip
import importlib.util
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from far_folder import FarFolder
from picklable import load_npy
from reading import read
from tfrecords import example, feature, message, record
from written import npy

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract, ReaderContract

GOLDEN = Path(__file__).parents[2] / "data" / "tfrecord"
SEQUENCES = GOLDEN.with_name("tfrecord_sequences")
STEPS = [2, 0, 3, 1, 4]


def write(path, *records):
    path.write_bytes(b"".join(map(record, records)))
    return path


def write_halves(folder, records):
    half = len(records) // 2
    for part, some in enumerate((records[:half], records[half:])):
        write(folder / f"x.tfrecord-0000{part}-of-00002", *some)


class TestContract(ReaderContract):
    """Of plain records."""

    def make_reader(self, folder, samples):
        write_halves(folder, list(map(npy, samples)))
        return hr.TFRecords(folder, decode=load_npy)


class TestContractOfExamples(ReaderContract):
    """Whose arrays are flat, but for the spec."""

    dtypes = ("float32", "int64", "int8", "float64")

    def make_samples(self, n, shape, dtype):
        numbers = np.random.default_rng([n, *shape]).integers(-100, 100, (n, *shape))
        return numbers.astype(dtype)

    def make_reader(self, folder, samples):
        kept = np.float32 if samples.dtype.kind == "f" else np.int64
        write_halves(folder, [example({"x": sample.astype(kept)}) for sample in samples])
        spec = hr.Spec(samples.shape[1:], samples.dtype)
        return hr.TFRecords(FarFolder(folder), "x", spec=spec)


class TestContractOfAnyLength(RaggedReaderContract):
    knows_lengths = False
    dtypes = ("float32", "int64")

    def make_reader(self, folder, samples):
        write_halves(folder, [example({"x": sample}) for sample in samples])
        spec = hr.Spec((None, *samples[0].shape[1:]), samples[0].dtype)
        return hr.TFRecords(folder, "x", spec=spec)


def test_golden_examples():
    """As TensorFlow 2.21 wrote them."""
    i = np.arange(5)
    reader = hr.TFRecords(GOLDEN, ["x", "label", "long"])
    batch = read(reader)
    assert list(batch) == ["x", "label", "long"]
    assert batch["x"].dtype == np.float32
    assert batch["x"].tolist() == np.stack([i, i / 4, -i], 1).tolist()
    assert batch["label"].tolist() == (-10 * i)[:, None].tolist()
    long = np.arange(40) * 10 ** i[:, None] - 2**40 * i[:, None]
    assert batch["long"].tolist() == long.tolist()
    tokens = read_batch(hr.TFRecords(GOLDEN, "tokens", spec=hr.Spec((None,), "int32")), i)
    assert [one.tolist() for one in tokens] == [list(range(n)) for n in i]


def test_golden_bytes_take_a_function():
    def pixels(data):
        return np.frombuffer(data, np.uint8).reshape(2, 2)

    spec = {"image": hr.Spec((2, 2), "uint8"), "label": hr.Spec((), "int32")}
    reader = hr.TFRecords(GOLDEN, {"image": pixels, "label": None}, spec=spec)
    batch = read(reader, [3, 1])
    assert batch["image"].tolist() == [[[3, 3], [3, 3]], [[1, 1], [1, 1]]]
    assert batch["label"].tolist() == [-30, -10]
    added = hr.TFRecords(GOLDEN, {"label": lambda values: values[0] + 1})
    assert read(added)["label"].tolist() == [1, -9, -19, -29, -39]
    said = r"sample 0 .*examples\.tfrecord', record 0: feature 'image' holds bytes\. Say what"
    with pytest.raises(hr.SampleFormatError, match=said):
        hr.TFRecords(GOLDEN)


def test_golden_sequences():
    """As TensorFlow 2.21 wrote them."""
    spec = {
        "label": hr.Spec((), "int32"),
        "tokens": hr.Spec((None,), "int32"),
        "x": hr.Spec((None, 3), "float32"),
        "big": hr.Spec((None, 2, 1), "int64"),
        "frame": hr.Spec((None, 2), "uint8"),
    }
    columns = dict.fromkeys(spec) | {"frame": lambda data: np.frombuffer(data, np.uint8)}
    reader = hr.TFRecords(SEQUENCES, columns, spec=spec)
    batch = read_batch(reader, np.array([4, 1, 0, 2, 3]))
    assert batch["label"].tolist() == [-40, -10, 0, -20, -30]
    for row, i in enumerate([4, 1, 0, 2, 3]):
        t = np.arange(STEPS[i])
        assert batch["tokens"][row].tolist() == (100 * i + t).tolist()
        assert batch["x"][row].tolist() == np.stack([t * 0 + i, t, -t / 2], 1).tolist()
        assert batch["big"][row][:, 0, 0].tolist() == ((-1) ** t * 10 ** (4 * t)).tolist()
        assert batch["frame"][row].tolist() == np.stack([t * 0 + i, t], 1).tolist()
    # Without a spec, the second axis is that of the values of a step.
    columns = ["label", "weight", "tokens", "x"]
    reader = hr.TFRecords(SEQUENCES, columns, ragged=["tokens", "x"])
    assert [one.shape for one in reader.spec.values()] == [(1,), (1,), (None, 1), (None, 3)]
    assert read_batch(reader, np.arange(5))["x"].lengths.tolist() == STEPS
    sums = hr.TFRecords(SEQUENCES, {"mixed": lambda values: values.sum()}, ragged=True)
    assert read_batch(sums, np.array([4]))["mixed"][0].tolist() == [0, 0, 1, 3]


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ("tokens", {}, r"record 1: .*shape \(0,\).*"),
        ("frame", {"ragged": True}, "record 0: feature 'frame' holds bytes"),
        ("mixed", {"ragged": True}, "record 0: feature list 'mixed' has steps of 0 and of 1 val"),
        ("x", {"spec": hr.Spec((None,), "float32")}, r"record 0: .*shape \(2, 3\)"),
        ({"mixed": np.square}, {"ragged": True}, r"record 0: 'mixed': its steps become arrays of"),
    ],
)
def test_feature_lists_that_are_no_array(columns, options, said):
    with pytest.raises(hr.SampleFormatError, match=said):
        read_batch(hr.TFRecords(SEQUENCES, columns, **options), np.arange(5))


def test_the_first_sequence_tells_the_shape_of_its_steps(tmp_path):
    lists = message(1, message(1, b"x") + message(2, b""))
    write(tmp_path / "a.tfrecord", example({"y": np.arange(2)}) + message(2, lists))
    with pytest.raises(hr.SampleFormatError, match=r"'x' has no steps.* Pass spec="):
        hr.TFRecords(tmp_path)
    reader = hr.TFRecords(tmp_path, "x", spec=hr.Spec((None, 4), "float32"))
    assert read_batch(reader, np.array([0]))[0].shape == (0, 4)
    write(tmp_path / "a.tfrecord", example({"x": np.arange(2)}) + message(2, lists))
    with pytest.raises(hr.SampleFormatError, match="'x' in its context and in its feature lists"):
        hr.TFRecords(tmp_path)


# In a process of its own, as TensorFlow takes seconds to import and is not to stay.
TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
folder = sys.argv[1]
for shard in range(2):
    with tf.io.TFRecordWriter(f"{folder}/x.tfrecord-0000{shard}-of-00002") as writer:
        for i in range(20):
            values = {
                "floats": tf.train.Feature(float_list=tf.train.FloatList(value=rng.normal(size=7))),
                "ints": tf.train.Feature(int64_list=tf.train.Int64List(
                    value=rng.integers(-(2**63), 2**63 - 1, size=20) >> rng.integers(64, size=20))),
                "bytes": tf.train.Feature(bytes_list=tf.train.BytesList(value=[rng.bytes(9)])),
            }
            writer.write(tf.train.Example(
                features=tf.train.Features(feature=values)).SerializeToString())
spec = {
    "floats": tf.io.FixedLenFeature([7], tf.float32),
    "ints": tf.io.FixedLenFeature([4, 5], tf.int64),
    "bytes": tf.io.FixedLenFeature([], tf.string),
}
files = sorted(tf.io.gfile.glob(f"{folder}/x.*"))
batch = next(iter(tf.data.TFRecordDataset(files).batch(40)))
found = tf.io.parse_example(batch, spec)
np.savez(f"{folder}/read.npz", **{
    "floats": found["floats"].numpy(), "ints": found["ints"].numpy(),
    "bytes": np.stack([np.frombuffer(one, "u1") for one in found["bytes"].numpy()]),
})
"""


def as_bytes(data):
    return np.frombuffer(data, np.uint8)


def test_as_tensorflow_writes_and_reads(tmp_path):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("compares with what TensorFlow reads")
    subprocess.run([sys.executable, "-c", TENSORFLOW, tmp_path], check=True, timeout=300)
    theirs = np.load(tmp_path / "read.npz")
    spec = {
        "floats": hr.Spec((7,), "float32"),
        "ints": hr.Spec((4, 5), "int64"),
        "bytes": hr.Spec((9,), "uint8"),
    }
    columns = {"floats": None, "ints": None, "bytes": as_bytes}
    batch = read(hr.TFRecords(tmp_path, columns, spec=spec))
    for name in columns:
        assert (batch[name] == theirs[name]).all()
    theirs.close()


def test_plain_records(tmp_path):
    write(tmp_path / "a.tfrecord", b"1", b"22", b"")
    write(tmp_path / "b.tfrecords", b"4444")
    (tmp_path / "c.tfrecord").touch()
    reader = hr.TFRecords(tmp_path, decode=len)
    assert read(reader).tolist() == [1, 2, 0, 4]
    assert "n=4, shards=3" in repr(reader)
    assert read(hr.TFRecords(tmp_path / "b.tfrecords", decode=int)).tolist() == [4444]
    error = r"sample 2 .*a\.tfrecord', record 2: ValueError: invalid literal"
    with pytest.raises(hr.SampleFormatError, match=error):
        read(hr.TFRecords(tmp_path, decode=int))


def damaged(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


FILE = b"".join(map(record, (b"1", b"22", b"333")))


@pytest.mark.fault("a file that was cut short", "error", "tfrecord")
@pytest.mark.fault("a flipped bit", "error", "tfrecord")
@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (damaged(FILE, 17), "the length of record 1, at byte 17, does not have its checksum"),
        (damaged(FILE, 17 + 9), "the length of record 1, at byte 17, does not have its checksum"),
        (damaged(FILE, 3), "the length of record 0, at byte 0, does not have its checksum"),
        (FILE[:-1], "it ends within record 2, at byte 35: it was cut short"),
        (FILE[:40], "it ends within the length of record 2, at byte 35: it was cut short"),
        (
            gzip.compress(FILE, mtime=0),
            "it is compressed with gzip, so that its records can't be read",
        ),
        (zlib.compress(FILE), "the length of record 0.*or compressed"),
        (b"?" * 100, "the length of record 0"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:40],  # gzip's have the time
)
def test_a_damaged_file_is_an_error(tmp_path, storage, data, said):
    (tmp_path / "a.tfrecord").write_bytes(data)
    with pytest.raises(hr.SampleFormatError, match=rf"a\.tfrecord' can't be indexed: .*{said}"):
        hr.TFRecords(storage(tmp_path), decode=len)


def test_damaged_data_are_found_by_their_checksum(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(damaged(FILE, 17 + 12))
    assert read(hr.TFRecords(path, decode=len, checksums=False)).tolist() == [1, 2, 3]
    pytest.importorskip("google_crc32c", reason="needs headrace[tfrecord]")
    reader = hr.TFRecords(path, decode=len)
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*record 1: its data do not have"):
        read(reader)
    assert read(reader, [2, 0]).tolist() == [3, 1]


def test_a_file_that_is_changed_later(tmp_path):
    path = write(tmp_path / "a.tfrecord", b"1", b"22", b"333")
    reader = hr.TFRecords(path, decode=len)
    write(path, b"22", b"1", b"333")
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*not the record that was indexed"):
        read(reader, [0])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"y": np.zeros(2, "f4")}, "it has no 'x', but 'y'"),
        ({"x": np.zeros(3, "f4")}, r"it has the shape \(3,\); expected is \(2,\)"),
        ({"x": np.arange(2)}, "it has the dtype int64; expected is float32"),
        ({"x": b"ab"}, "feature 'x' holds bytes"),
        ({}, "it has no 'x', but nothing"),
    ],
    ids=str,
)
def test_an_example_that_differs_from_the_first_is_named(tmp_path, other, said):
    write(tmp_path / "a.tfrecord", example({"x": np.zeros(2, "f4")}), example(other))
    with pytest.raises(hr.SampleFormatError, match=rf"sample 1 .*a\.tfrecord', record 1: {said}"):
        read(hr.TFRecords(tmp_path, "x"))


def test_several_bytes_are_not_one(tmp_path):
    write(tmp_path / "a.tfrecord", example({"x": [b"a", b"b"]}))
    with pytest.raises(hr.SampleFormatError, match="feature 'x' holds 2 values of bytes, not one"):
        hr.TFRecords(tmp_path, {"x": as_bytes})


def test_a_feature_without_values_may_be_of_any_kind(tmp_path):
    empty = message(1, message(1, message(1, b"x") + message(2, b"")))
    assert feature(np.arange(0)) == message(3, message(1, b""))
    write(tmp_path / "a.tfrecord", example({"x": np.arange(3)}), empty)
    batch = read_batch(hr.TFRecords(tmp_path, "x", ragged=True), np.array([1, 0]))
    assert batch.lengths.tolist() == [0, 3]


@pytest.mark.fault("several datasets or splits in one folder", "error", "tfrecord")
def test_files_of_tensorflow_datasets(tmp_path):
    for number in range(2):
        write(tmp_path / f"mnist-train.tfrecord-0000{number}-of-00002", b"%d" % number)
    (tmp_path / "dataset_info.json").write_text("{}")
    assert read(hr.TFRecords(tmp_path, decode=int)).tolist() == [0, 1]
    (tmp_path / "other").mkdir()
    with pytest.raises(hr.ArgumentError, match=r"root must contain \.tfrecord or \.tfrecords file"):
        hr.TFRecords(tmp_path / "other", decode=int)
    write(tmp_path / "mnist-test.tfrecord-00000-of-00001", b"9")
    with pytest.raises(hr.ArgumentError, match=r"one split.*'mnist-train.tfrecord' \(2\)\. Pass"):
        hr.TFRecords(tmp_path, decode=int)
    train = hr.TFRecords(tmp_path, decode=int, shards="mnist-train.tfrecord-0000{0..1}-of-00002")
    assert read(train).tolist() == [0, 1]
    write(tmp_path / "mnist-train.tfrecord-00000-of-00002", example({"x": np.arange(2)}))
    one = hr.open(tmp_path / "mnist-train.tfrecord-00000-of-00002")
    assert read(one)["x"].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"decode": 3}, TypeError, "decode must be a function"),
        ({"decode": len, "columns": "x"}, ValueError, "columns and decode can't be given both"),
        ({"checksums": 1}, TypeError, "checksums must be True or False"),
        ({"version": 1}, TypeError, "version must be a str"),
        ({"spec": {"x": hr.Spec((), "i4")}, "columns": ["y"]}, ValueError, "spec must be one with"),
    ],
    ids=str,
)
def test_arguments_are_checked(tmp_path, options, error, said):
    write(tmp_path / "a.tfrecord", b"1")
    with pytest.raises(error, match=said):
        hr.TFRecords(tmp_path, **options)


def test_without_the_library_checksums_are_asked_for_in_vain(tmp_path):
    code = (
        "import sys; sys.modules['google_crc32c'] = None\n"
        "import headrace as hr\n"
        "reader = hr.TFRecords(sys.argv[1], 'x')\n"
        "print(hr.Loader(reader, 5, shuffle=False).batch(0, 0)[4].tolist())\n"
        "try:\n    hr.TFRecords(sys.argv[1], 'x', checksums=True)\n"
        "except hr.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, GOLDEN], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "[4.0, 1.0, -4.0]\n"
        "hr.TFRecords(checksums=True) needs google-crc32c, which is not installed. "
        "Install it with: pip install 'headrace[tfrecord]'\n"
    )
