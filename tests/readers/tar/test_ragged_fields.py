"""TarFiles whose fields have any length."""

import numpy as np
import pytest
from written import npy, write_tar_of

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


def with_long_header(data):
    header = data[10:127] + b" " * 2000 + b"\n"
    return data[:8] + len(header).to_bytes(2, "little") + header + data[128:]


class TestContract(RaggedReaderContract):
    dtypes = ("int32", "float16")
    elements = ((), (2, 1))

    def make_reader(self, folder, samples):
        members = {f"{index:03}.npy": npy(sample) for index, sample in enumerate(samples)}
        members["001.npy"] = with_long_header(members["001.npy"])
        write_tar_of(folder / "a.tar", members)
        return hr.TarFiles(folder, "npy", ragged=True)


@pytest.mark.fault("arrays of other lengths, without `ragged=True`", "error", "tar")
def test_an_image_and_its_boxes(tmp_path):
    members = {}
    for index in range(3):
        members[f"{index}.npy"] = npy(np.full((2, 2), index, "uint8"))
        members[f"{index}.boxes.npy"] = npy(np.full((index, 4), index, "float32"))
        members[f"{index}.cls"] = str(index).encode()
        members[f"{index}.txt"] = b"ab" * index
    write_tar_of(tmp_path / "a.tar", members)
    fields = {"npy": None, "boxes.npy": None, "cls": None, "txt": to_bytes, "text;txt": False}
    reader = hr.TarFiles(tmp_path, fields, ragged=["boxes.npy", "txt"])
    shapes = [spec.shape for spec in reader.spec.values()]
    assert shapes == [(2, 2), (None, 4), (), (None,), (None,)]
    batch = hr.Loader(reader, 3, shuffle=False).batch(0, 0)
    assert batch["boxes.npy"].lengths.tolist() == [0, 1, 2]
    for name in ("txt", "text"):
        assert [text.tobytes() for text in batch[name]] == [b"", b"ab", b"abab"]
    assert batch["npy"][:, 0, 0].tolist() == batch["cls"].tolist() == [0, 1, 2]
    lengths = reader.sample_lengths()
    assert lengths.pop("boxes.npy").tolist() == [0, 1, 2]
    assert lengths.pop("text").tolist() == [0, 2, 4]
    assert list(lengths.values()) == [None] * 3
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*pass ragged=True"):
        read_batch(hr.TarFiles(tmp_path, "boxes.npy"), np.arange(2))
    with pytest.raises(hr.ArgumentError, match="'cls' is one number"):
        hr.TarFiles(tmp_path, fields, ragged=["cls"])


def to_bytes(data):
    return np.frombuffer(data, np.uint8)


def test_other_axes_may_not_differ(tmp_path):
    write_tar_of(
        tmp_path / "a.tar", {"0.npy": npy(np.zeros((1, 4))), "1.npy": npy(np.zeros((1, 5)))}
    )
    reader = hr.TarFiles(tmp_path, "npy", ragged=True)
    for read in (lambda: read_batch(reader, np.arange(2)), reader.sample_lengths):
        with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*\(1, 5\).*\(None, 4\)"):
            read()
