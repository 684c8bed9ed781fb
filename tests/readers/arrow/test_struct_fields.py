"""Fields of structs by dotted names, as `datasets` of Hugging Face stores images and sounds."""

import numpy as np
import pytest
from far_folder import FarFolder
from reading import read

import headrace as hr

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")

N = 10
BOXES = np.arange(N * 4, dtype=np.float32).reshape(N, 4)
WORDS = ["w" * (i % 4) for i in range(N)]


def structs(**fields):
    arrays = [
        pa.array(each) if not isinstance(each, pa.Array) else each for each in fields.values()
    ]
    return pa.StructArray.from_arrays(arrays, list(fields))


def boxes():
    return pa.FixedSizeListArray.from_arrays(pa.array(BOXES.reshape(-1)), 4)


def table():
    inner = structs(box=boxes(), name=WORDS)
    return pa.table(
        {
            "found": structs(n=np.arange(N), inner=inner, lists=[[i, i] for i in range(N)]),
            "label": np.arange(N) * 2,
        }
    )


class Parquet:
    @staticmethod
    def write(table, path):
        import pyarrow.parquet as pq

        pq.write_table(table, path, row_group_size=4)
        return path

    open = hr.Parquet


class FarParquet(Parquet):
    @staticmethod
    def open(path, *arguments, **options):
        root = FarFolder(path.parent)
        return hr.Parquet(root, *arguments, names=[path.name], **options)


class Arrow:
    compression = "uncompressed"

    @classmethod
    def write(cls, table, path):
        import pyarrow.feather

        pyarrow.feather.write_feather(table, path, cls.compression, chunksize=4)
        return path

    open = hr.Arrow


class CompressedArrow(Arrow):
    compression = "lz4"


class Stream(Arrow):
    @staticmethod
    def write(table, path):
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, 4)
        return path


@pytest.fixture(
    params=[Parquet, FarParquet, Arrow, CompressedArrow, Stream], ids=lambda kind: kind.__name__
)
def kind(request):
    return request.param


def test_fields_are_named_by_dots(tmp_path, kind):
    path = kind.write(table(), tmp_path / "x.data")
    assert read(kind.open(path, "found.n"), [7, 2]).tolist() == [7, 2]
    assert (read(kind.open(path, "found.inner.box")) == BOXES).all()
    assert read(kind.open(path, "found.lists"), [9, 3]).tolist() == [[9, 9], [3, 3]]
    columns = {"x": "found.inner.box", "n": "found.n", "y": "label", "word": "found.inner.name"}
    reader = kind.open(path, columns, ragged=["word"], dtype={"n": "float32"})
    batch = hr.Loader(reader, N, shuffle=False).batch(0, 0)
    assert (batch["x"] == BOXES).all()
    assert batch["n"].dtype == np.float32
    assert batch["n"].tolist() == list(range(N))
    assert batch["y"].tolist() == list(range(0, 2 * N, 2))
    assert [each.tobytes().decode() for each in batch["word"]] == WORDS
    assert reader.sample_lengths()["word"].tolist() == list(map(len, WORDS))


def test_a_column_of_that_very_name_comes_first(tmp_path, kind):
    rows = {
        "a": structs(b=np.arange(N), **{"c.d": np.arange(N) + 10}, c=structs(d=np.arange(N) + 20)),
        "a.b": np.arange(N) + 30,
        "a.c": structs(e=np.arange(N) + 40),
    }
    path = kind.write(pa.table(rows), tmp_path / "x.data")
    for name, first in {"a.b": 30, "a.c.d": 10, "a.c.e": 40}.items():
        assert read(kind.open(path, name), [0, 5]).tolist() == [first, first + 5]
    both = kind.open(path, {"x": "a.b", "y": "a.c.d", "z": "a.c.e"})
    assert {key: part.tolist() for key, part in read(both, [1]).items()} == {
        "x": [31],
        "y": [11],
        "z": [41],
    }


def test_nulls_of_structs_are_those_of_their_fields(tmp_path, kind):
    whole = pa.array([{"n": 1}, None, {"n": None}, {"n": 4}], pa.struct({"n": pa.int64()}))
    path = kind.write(pa.table({"s": whole}), tmp_path / "x.data")
    reader = kind.open(path, "s.n")
    assert read(reader, [3, 0]).tolist() == [4, 1]
    for index in (1, 2):
        with pytest.raises(hr.SampleFormatError, match=r"column 's\.n' is null") as caught:
            read(reader, [0, index])
        assert caught.value.index == index


def test_cut_structs(tmp_path, kind):
    path = kind.write(table().slice(3, 5), tmp_path / "x.data")
    reader = kind.open(path, {"n": "found.n", "box": "found.inner.box"})
    batch = read(reader, [4, 0])
    assert batch["n"].tolist() == [7, 3]
    assert (batch["box"] == BOXES[[7, 3]]).all()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            "found.m",
            r"among 'found', 'label' .*'found\.n', 'found\.inner', 'found\.lists'.*found\.m",
        ),
        ("found.inner.x", r"'found\.inner\.box', 'found\.inner\.name'"),
        ("label.x", "among 'found', 'label' of"),
        (".", "among 'found', 'label' of"),
        ("found", r"'found' is struct<.*name its fields, such as columns='found\.n'"),
        (None, r"'found' is struct<.*such as columns='found\.n'"),
    ],
)
def test_what_is_no_field_is_refused(tmp_path, kind, columns, said):
    path = kind.write(table(), tmp_path / "x.data")
    with pytest.raises(hr.ArgumentError, match=said):
        kind.open(path, columns)


def test_files_must_have_the_same_fields(tmp_path, kind):
    if kind is FarParquet:
        pytest.skip("as Parquet")
    suffix = ".parquet" if kind is Parquet else ".arrow"
    kind.write(table(), tmp_path / f"a{suffix}")
    moved = pa.table({"found.n": np.arange(N) + 100})  # the same name, of a column
    kind.write(moved, tmp_path / f"b{suffix}")
    assert read(kind.open(tmp_path, "found.n"), [5, 15]).tolist() == [5, 105]
    kind.write(pa.table({"found": structs(m=np.arange(N))}), tmp_path / f"c{suffix}")
    with pytest.raises(hr.SampleFormatError, match=r"c.*has no column 'found\.n'"):
        kind.open(tmp_path, "found.n")


PIXELS = np.arange(N * 6 * 8 * 3, dtype=np.uint8).reshape(N, 6, 8, 3)


@pytest.fixture
def images(tmp_path):
    """A dataset of Hugging Face whose images lie in files of their own, and labels."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    (tmp_path / "png").mkdir()
    paths = [str(tmp_path / "png" / f"{i}.png") for i in range(N)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        image.fromarray(pixels).save(path)
    dataset = datasets.Dataset.from_dict({"image": paths, "label": list(range(N))})
    return dataset.cast_column("image", datasets.Image())


def decoded(sample, rng):
    return {**sample, "image": hr.ImageDecoder((6, 8))(sample["image"].tobytes())}


def assert_pixels(reader):
    loader = hr.Loader(reader, 4, seed=1, transform=hr.per_sample(decoded))
    seen = []
    for batch in loader:
        assert (batch["image"] == PIXELS[batch["label"]]).all()
        seen += batch["label"].tolist()
    assert len(set(seen)) == 8


COLUMNS = {"image": "image.bytes", "label": "label"}


def test_images_of_hugging_face_that_it_has_saved(tmp_path, images):
    images.save_to_disk(tmp_path / "saved")
    assert_pixels(hr.Arrow(tmp_path / "saved", COLUMNS, ragged=["image"]))


def embedded(dataset):
    from datasets.table import embed_table_storage

    return dataset.with_format("arrow").map(embed_table_storage, batched=True)


def test_images_of_hugging_face_in_parquet(tmp_path, images):
    embedded(images).to_parquet(tmp_path / "a.parquet", batch_size=4)
    assert_pixels(hr.Parquet(tmp_path / "a.parquet", COLUMNS, ragged=["image"]))
    far = FarFolder(tmp_path)
    assert_pixels(hr.Parquet(far, COLUMNS, names=["a.parquet"], ragged=True))
    lengths = [(tmp_path / "png" / f"{i}.png").stat().st_size for i in range(N)]
    reader = hr.open(tmp_path / "a.parquet", columns="image.bytes", ragged=True)
    assert reader.sample_lengths().tolist() == lengths


@pytest.mark.fault("an image that a table only names, as of `datasets`", "error", "parquet")
def test_images_that_are_only_named_are_an_error_with_the_remedy(tmp_path, images):
    images.to_parquet(tmp_path / "a.parquet")
    reader = hr.Parquet(tmp_path / "a.parquet", COLUMNS, ragged=True)
    with pytest.raises(hr.SampleFormatError, match=r"'image\.bytes' is null: its file is not in"):
        hr.Loader(reader, 2, shuffle=False).batch(0, 0)
    with pytest.raises(hr.ArgumentError, match=r"columns='image\.bytes'"):
        hr.Parquet(tmp_path / "a.parquet")
    with pytest.raises(hr.ArgumentError, match=r"pass ragged=True"):
        hr.Parquet(tmp_path / "a.parquet", "image.bytes")


def test_sound_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    soundfile = pytest.importorskip("soundfile", reason="needs headrace[audio]")
    paths = [str(tmp_path / f"{i}.wav") for i in range(N)]
    for i, path in enumerate(paths):
        soundfile.write(path, np.full(100 + i, i, np.int16), 8000)
    dataset = datasets.Dataset.from_dict({"audio": paths}).cast_column("audio", datasets.Audio())
    dataset.save_to_disk(tmp_path / "saved")
    clip = hr.RandomClip(50, rate=8000, channels=1, dtype="int16")
    reader = hr.Arrow(tmp_path / "saved", {"audio": "audio.bytes"}, ragged=True)

    def clipped(sample, rng):
        return clip(sample["audio"], rng)

    batch = hr.Loader(reader, N, shuffle=False, transform=hr.per_sample(clipped)).batch(0, 0)
    assert (batch.reshape(N, -1) == np.arange(N)[:, None]).all()
