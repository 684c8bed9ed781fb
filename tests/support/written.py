"""Six samples in each of the formats, written without headrace, and read."""

import io
import json
import tarfile

import numpy as np
import pytest
from picklable import bytes_2x2
from tfrecords import example, record

import headrace as hr

N = 6
ROWS = np.arange(N * 4, dtype=np.uint8).reshape(N, 2, 2)


def write_npy(folder):
    np.save(folder / "x.npy", ROWS)
    return "x.npy"


def write_npy_files(folder, rows=ROWS):
    for index, row in enumerate(rows):
        np.save(folder / f"{index}.npy", row)
    return "."


def write_npy_shards(folder):
    for number, part in enumerate(np.array_split(ROWS, 3)):
        np.save(folder / f"shard-0000{number}.npy", part)
    return "."


def write_ragged(folder):
    (folder / "x.ragged").mkdir()
    np.save(folder / "x.ragged" / "values.npy", ROWS.reshape(-1, 2))
    np.save(folder / "x.ragged" / "offsets.npy", np.arange(0, 2 * N + 1, 2))
    return "x.ragged"


def write_npz_files(folder, rows=ROWS):
    for index, row in enumerate(rows):
        np.savez(folder / f"{index}.npz", x=row, y=index)
    return "."


def write_hdf5(folder, rows=ROWS):
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"], file["y"] = rows, np.arange(N)
    return "x.h5"


def write_zarr(folder, rows=ROWS):
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    group = zarr.create_group(str(folder / "x.zarr"))
    for name, data in {"x": rows, "y": np.arange(N)}.items():
        group.create_array(name, data=data)
    return "x.zarr"


def table(rows):
    """Of rows, or of an array of pyarrow."""
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    from arrow_arrays import fixed_lists

    x = fixed_lists(rows) if isinstance(rows, np.ndarray) else rows
    return pa.table({"x": x, "y": np.arange(N)})


def write_parquet(folder, rows=ROWS):
    columns = table(rows)
    import pyarrow.parquet as pq

    pq.write_table(columns, folder / "x.parquet")
    return "x.parquet"


def write_arrow(folder, rows=ROWS):
    columns = table(rows)
    import pyarrow.feather

    pyarrow.feather.write_feather(columns, folder / "x.feather", compression="uncompressed")
    return "x.feather"


def write_images(folder):
    """Two classes; of each image all pixels have the number of its sample."""
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    for index in range(N):
        (folder / "ab"[index // 3]).mkdir(exist_ok=True)
        image.new("RGB", (3, 2), (index,) * 3).save(folder / "ab"[index // 3] / f"{index}.png")
    return "."


def write_audio(folder):
    """Of each file, the two frames of the two channels are a row."""
    soundfile = pytest.importorskip("soundfile", reason="needs headrace[audio]")
    for index, row in enumerate(ROWS):
        soundfile.write(folder / f"{index}.wav", row.astype(np.int16), 8000)
    return "."


def npy(array):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_tar(folder):
    members = {}
    for index, row in enumerate(ROWS):
        members |= {f"{index}.x.npy": npy(row), f"{index}.cls": str(index).encode()}
    write_tar_of(folder / "x.tar", members)
    return "x.tar"


def write_tar_of(path, members, **options):
    """Writes a tar of {name: bytes}, or of (name, bytes)."""
    pairs = members.items() if isinstance(members, dict) else members
    with tarfile.open(path, "w", **options) as tar:
        for name, data in pairs:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_jsonl(folder):
    lines = [{"x": row.tolist(), "y": index} for index, row in enumerate(ROWS)]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return "x.jsonl"


def write_tfrecord(folder):
    records = (record(example({"x": row, "y": index})) for index, row in enumerate(ROWS))
    (folder / "x.tfrecord").write_bytes(b"".join(records))
    return "x.tfrecord"


def write_files(folder):
    for index, row in enumerate(ROWS):
        (folder / f"{index}.bin").write_bytes(row.tobytes())
    return "."


# What writes six samples of each format; its reader; the options that give the rows of `ROWS`.
WRITTEN = {
    "npy": (write_npy, "NpyFile", {}),
    "npy-files": (write_npy_files, "NpyFiles", {}),
    "npy-shards": (write_npy_shards, "NpyShards", {}),
    "ragged": (write_ragged, "RaggedArray", {}),
    "npz-files": (write_npz_files, "NpzFiles", {"columns": "x"}),
    "hdf5": (write_hdf5, "Hdf5", {"columns": "x"}),
    "zarr": (write_zarr, "Zarr", {"columns": "x"}),
    "parquet": (write_parquet, "Parquet", {"columns": "x"}),
    "arrow": (write_arrow, "Arrow", {"columns": "x"}),
    "images": (write_images, "ImageFolder", {}),
    "audio": (write_audio, "AudioFiles", {"dtype": "int16"}),
    "tar": (write_tar, "TarFiles", {"columns": "x.npy"}),
    "jsonl": (write_jsonl, "JsonLines", {"columns": "x"}),
    "tfrecord": (write_tfrecord, "TFRecords", {"columns": "x"}),
    "files": (write_files, "Files", {"decode": bytes_2x2, "suffixes": ".bin"}),
}


def written(folder, format_name):
    """Six samples in the format, below the folder: their path, and the options to open it."""
    write, _, options = WRITTEN[format_name]
    return folder / write(folder), options


def samples(reader):
    """All samples of a reader, as one batch."""
    loader = hr.Loader(reader, len(reader), shuffle=False, executor=hr.Inline())
    batch = loader.batch(0, 0)
    return np.stack(list(batch)) if isinstance(batch, hr.Ragged) else batch


def expected(name):
    """The six samples, as that batch."""
    if name == "images":
        return np.broadcast_to(np.arange(N, dtype=np.uint8)[:, None, None, None], (N, 2, 3, 3))
    # JSON and tf.train.Example have ints of 64 bits, and the latter flat lists of them.
    if name == "audio":
        return ROWS.astype(np.int16)
    if name == "tfrecord":
        return ROWS.reshape(N, 4).astype(np.int64)
    return ROWS.astype(np.int64) if name == "jsonl" else ROWS
