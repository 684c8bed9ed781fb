"""A folder's samples are the files of its format, whatever else lies there: an oracle of names.

Real and stray files are mixed at random. Each file has the samples of another one, or its own
number, so that what was read, in which order, can be told.
"""

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from far_folder import FarFolder
from fault_table import columns
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read
from tfrecords import example, record
from written import write_tar_of

import headrace as hr
from headrace.storage.passed_over import PassedOverWarning


def write_npy(path, number):
    np.save(path.with_suffix(".npy"), np.array([number]))
    shutil.move(path.with_suffix(".npy"), path)


def write_npz(path, number):
    with open(path, "wb") as file:
        np.savez(file, x=number)


def write_tar(path, number):
    write_tar_of(path, {"a.cls": b"%d" % number})


def write_parquet(path, number):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [number]}), path)


def write_arrow(path, number):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    table = pa.table({"x": [number]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


def write_image(path, number):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    with open(path, "wb") as file:
        image.new("L", (1, 1), number).save(file, "PNG")


def write_audio(path, number):
    soundfile = pytest.importorskip("soundfile", reason="needs headrace[audio]")
    with open(path, "wb") as file:
        soundfile.write(file, np.array([number], np.int16), 8000, format="WAV")


def write_jsonl(path, number):
    path.write_text(f'{{"x": {number}}}\n')


def write_tfrecord(path, number):
    path.write_bytes(record(example({"x": np.array(number)})))


# What writes a file of a format; its suffix; the reader of a folder; whether any case will do.
FORMATS = {
    "npy-files": (write_npy, ".npy", hr.NpyFiles, False),
    "npy-shards": (write_npy, ".npy", hr.NpyShards, False),
    "npz-files": (write_npz, ".npz", hr.NpzFiles, False),
    "tar": (write_tar, ".tar", lambda root: hr.TarFiles(root, "cls"), False),
    "parquet": (write_parquet, ".parquet", hr.Parquet, False),
    "arrow": (write_arrow, ".arrow", hr.Arrow, False),
    "jsonl": (write_jsonl, ".jsonl", lambda root: hr.JsonLines(root, "x"), False),
    "tfrecord": (write_tfrecord, ".tfrecord", lambda root: hr.TFRecords(root, "x"), False),
    "audio": (write_audio, ".wav", lambda root: hr.AudioFiles(root, 1, dtype="int16"), True),
    "images": (write_image, ".png", lambda root: hr.Images(root, size=1, channels=1), True),
}


def test_every_format_of_folders_is_here():
    assert set(FORMATS) == set(columns(["folders of files"]))


PARTS = st.sampled_from(["a", "B", "k=1", "x_y", "z.d", "_a", ".a", "__MACOSX", "._a", "1", "01"])
NAMES = st.tuples(st.lists(PARTS, max_size=2), PARTS, st.integers(0, 5))


@st.composite
def mixtures(draw):
    """Names without suffix, and what is to be done with the suffix."""
    names = draw(st.lists(NAMES, min_size=1, max_size=9, unique_by=lambda name: str(name).lower()))
    ends = st.sampled_from(["{}", "{}", "{}", "{upper}", "{}.gz", "{}.tmp", "~", ".json", ""])
    return ["/".join([*folders, base]) + f"-{n}" + draw(ends) for folders, base, n in names]


def is_sample(name, suffix, any_case):
    """The oracle."""
    ends = name.lower() if any_case else name
    hidden = any(part[0] in "._" for part in name.split("/"))
    return ends.endswith(suffix) and not hidden


@pytest.mark.parametrize("format_name", FORMATS)
@settings(max_examples=40)
@given(mixture=mixtures(), pipe=st.booleans(), far=st.booleans())
def test_samples_are_what_the_names_say(format_name, mixture, pipe, far):
    write, suffix, open_, any_case = FORMATS[format_name]
    names = [name.format(suffix, upper=suffix.upper()) for name in mixture]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write(root / name, number)
        if pipe and hasattr(os, "mkfifo"):
            os.mkfifo(root / f"a-pipe{suffix}")
        expected = sorted(
            (name.removesuffix(suffix) if format_name in ("npy-files", "npz-files") else name, at)
            for at, name in enumerate(names)
            if is_sample(name, suffix, any_case)
        )
        storage = FarFolder(root) if far and format_name != "arrow" else root
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PassedOverWarning)
            if not expected:
                with pytest.raises(hr.ArgumentError, match="has none"):
                    open_(storage)
                return
            reader = open_(storage)
        assert read(reader).reshape(-1).tolist() == [at for _, at in expected]
        if format_name in ("npy-files", "npz-files", "images"):
            assert reader.ids == [name for name, _ in expected]
