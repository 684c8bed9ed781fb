"""`headrace.packing.pack` of samples of any length."""

import numpy as np
import pytest
from packed import SMALL, Interrupted, assert_manifests_hold, interrupt_at, needed

import headrace as hr
from headrace.packing import Shape, pack
from headrace.readers.reader import read_batch

LENGTHS = [3, 0, 7, 1, 0, 40, 2, 5, 1, 1]


def source_of(element, dtype):
    values = np.random.default_rng(0).integers(100, size=(sum(LENGTHS), *element)).astype(dtype)
    return hr.RaggedArray(values, np.cumsum([0, *LENGTHS]))


def all_of(reader):
    return read_batch(reader, np.arange(len(reader)))


def opened(path, **options):
    return hr.open(path, **options) if path.suffix == ".ragged" else hr.Parquet(path, ragged=True)


@pytest.mark.parametrize("name", ["x.ragged", "x.parquet"])
@pytest.mark.parametrize("shape", [Shape(), SMALL], ids=["large", "small"])
@pytest.mark.parametrize(
    ("element", "dtype"), [((), "int32"), ((3,), "float32"), ((), "uint8"), ((2,), "int8")]
)
def test_samples_come_back_in_order(tmp_path, name, shape, element, dtype):
    needed(name)
    source = source_of(element, dtype)
    labels = hr.Labels(np.arange(10))
    packed = pack(source, tmp_path / name, labels=labels, shape=shape)
    assert packed.samples == 10
    batch = all_of(opened(tmp_path / name))
    if name == "x.ragged":
        assert np.load(tmp_path / "x.ragged.labels.npy").tolist() == list(range(10))
    else:
        assert batch["label"].tolist() == list(range(10))
        batch = batch["sample"]
    expected = all_of(source)
    assert batch.lengths.tolist() == LENGTHS
    assert batch.values.dtype == dtype
    assert batch.values.tolist() == expected.values.tolist()
    assert_manifests_hold(tmp_path / name)


def test_the_header_of_many_values_has_room(tmp_path):
    """Of none, as which it is begun, this one fits into 128 bytes; of as many as there are, not."""
    kind = [("x" * 36, "int32"), ("y", "int32")]
    values = np.arange(24_690, dtype="int32").view(kind)
    pack(hr.RaggedArray(values, np.array([0, 5, len(values)])), tmp_path / "x.ragged")
    assert np.array_equal(np.load(tmp_path / "x.ragged/values.npy"), values)


@pytest.mark.parametrize("at", [0, 4, 10])
def test_an_interrupted_run_is_gone_on_with(tmp_path, at):
    source, target = source_of((), "int64"), tmp_path / "x.ragged"
    arguments = {"labels": hr.Labels(np.arange(10)), "shape": SMALL}
    with pytest.raises(Interrupted):
        pack(source, target, progress=interrupt_at(at), seconds_between_saves=0, **arguments)
    (new,) = tmp_path.rglob("values.npy")
    if at == 4:  # killed while headers were written
        with open(new, "r+b") as file:
            file.seek(60)
            file.write(b"99")
    packed = pack(source, target, **arguments)
    assert packed.continued_at == (0 if at == 0 else at)
    assert all_of(hr.open(target)).values.tolist() == all_of(source).values.tolist()
    assert hr.open(target).sample_lengths().tolist() == LENGTHS
    assert_manifests_hold(target)
    assert len(np.load(target / "values.npy")) == sum(LENGTHS)


def test_lengths_are_told_from_some_samples_where_they_are_not_known(tmp_path):
    samples = [np.arange(1000 + i) for i in range(40)]
    source = hr.GetItem(samples, ragged=True)
    target = tmp_path / "x.ragged"
    sizes = []
    pack(source, target, shape=Shape(batch_bytes=80_000), progress=sizes.append)
    assert max(np.diff(sizes)) <= 10  # and not thousands
    assert hr.open(target).sample_lengths().tolist() == [len(sample) for sample in samples]


def test_images_with_boxes_go_to_parquet(tmp_path):
    needed("x.parquet")
    samples = [{"image": np.full((2, 2), i), "boxes": np.full((i, 4), i)} for i in range(5)]
    source = hr.GetItem(samples, ragged={"image": False, "boxes": True})
    pack(source, tmp_path / "x.parquet", shape=SMALL)
    batch = all_of(hr.Parquet(tmp_path / "x.parquet", ragged=["boxes"]))
    assert batch["boxes"].lengths.tolist() == list(range(5))
    assert batch["image"][:, 0, 0].tolist() == list(range(5))
    for name in ("x.ragged", "x.zarr", "x.npy", "x"):
        with pytest.raises(hr.ArgumentError, match=r"'boxes' of shape \(None, 4\).*\.parquet"):
            pack(source, tmp_path / name)


def test_samples_of_one_shape_are_not_packed_to_ragged(tmp_path, source):
    said = r"\.ragged for samples of one array of any length.*--ragged all"
    with pytest.raises(hr.ArgumentError, match=said):
        pack(hr.NpyFiles(source), tmp_path / "x.ragged")


def test_what_parquet_can_not_hold_goes_to_ragged(tmp_path):
    needed("x.parquet")
    with pytest.raises(hr.ArgumentError, match=r"complex64.*Pack to \.ragged"):
        pack(source_of((), "complex64"), tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", ["M8[us]", "m8[ms]"])
def test_a_date_that_parquet_has_no_value_for_is_named(tmp_path, kind):
    needed("x.parquet")
    values = np.array([1, 2, 3, "NaT", 5, 6], kind)
    for source, other in (
        (hr.RaggedArray(values, np.array([0, 3, 3, 5, 6])), "ragged"),
        (hr.GetItem(values.reshape(3, 2)), "npy"),
    ):
        said = rf"'sample' of sample {2 if other == 'ragged' else 1} has NaT.*Pack to \.{other}"
        with pytest.raises(hr.ArgumentError, match=said):
            pack(source, tmp_path / "x.parquet", shape=SMALL, force=True)
