"""Tar shards of 1024 samples, each a .npy file: headrace, and a loop over open tarfiles."""

import io
import pathlib
import tarfile
from collections.abc import Callable

import numpy as np

import headrace as hr

SHARD = 1024


def write(folder: pathlib.Path, samples: np.ndarray) -> None:
    for first in range(0, len(samples), SHARD):
        with tarfile.open(folder / f"{first // SHARD:05}.tar", "w") as shard:
            for index, sample in enumerate(samples[first : first + SHARD], first):
                file = io.BytesIO()
                np.save(file, sample)
                member = tarfile.TarInfo(f"{index:07}.npy")
                member.size = file.tell()
                file.seek(0)
                shard.addfile(member, file)


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[np.ndarray, np.ndarray], None]]:
    shards = [tarfile.open(path) for path in sorted(folder.glob("*.tar"))]  # noqa: SIM115
    members = [(shard, member) for shard in shards for member in shard.getmembers()]

    def loop(indices: np.ndarray, out: np.ndarray) -> None:
        for row, index in enumerate(indices.tolist()):
            shard, member = members[index]
            file = shard.extractfile(member)
            assert file is not None
            out[row] = np.load(io.BytesIO(file.read()))

    return {"headrace": hr.TarFiles(folder, "npy").read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    """The bytes of all members, from the first to the last, with nothing done to them."""
    paths = sorted(folder.glob("*.tar"))

    def stream() -> int:
        nbytes = 0
        for path in paths:
            with tarfile.open(path, "r|") as shard:
                for member in shard:
                    file = shard.extractfile(member)
                    assert file is not None
                    nbytes += len(file.read())
        return nbytes

    return stream
