"""Which chunks a shard of Zarr lacks, as the index in it says. Requires zarr.

A shard begins or ends with its index: for each of its chunks, where that begins and how many bytes
it has, of 64 bits each; all bits are set for one that is not there. A checksum may follow.
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from zarr import AsyncArray
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

from headrace.errors import FileMissingError, bad_value

ZarrArray: TypeAlias = AsyncArray[Any]

_NOWHERE = 2**64 - 1
_CHECKSUM_BYTES = 4


def check_index(array: ZarrArray, location: str) -> None:
    """Raises an ArgumentError unless the index of a shard of the array can be looked at."""
    if array.shards is not None and _index_dtype(_sharding(array)) is None:
        remedy = "Its shards have an index with other codecs than bytes and crc32c."
        raise bad_value("missing", "error", f"'fill' for {array.path!r} in {location!r}", remedy)


async def check_chunks(array: ZarrArray, block: int, location: str) -> None:
    """Raises a FileMissingError if the shards lack a chunk of a block, which is its first axis.

    A shard that is not there as a whole is left to whoever reads it.
    """
    assert array.shards is not None
    per_shard = [n // m for n, m in zip(array.shards, array.chunks, strict=True)]
    grid = [-(-n // m) for n, m in zip(array.shape, array.chunks, strict=True)]
    for shard in _shards_of(block, per_shard, grid):
        index = await _index(array, shard, per_shard)
        if index is None:
            continue
        begins = [at * count for at, count in zip(shard, per_shard, strict=True)]
        # What lies beyond the end of the array was never written.
        stops = [min(n - a, c) for n, a, c in zip(grid, begins, per_shard, strict=True)]
        own = slice(block - begins[0], block - begins[0] + 1)
        part = index[(own, *map(slice, stops[1:]))]
        lost = np.argwhere((part == _NOWHERE).all(axis=-1))
        if len(lost):
            at = (block, *(a + int(i) for a, i in zip(begins[1:], lost[0][1:], strict=True)))
            raise FileMissingError(
                f"there is no chunk {at} in the shard {_key(array, shard)!r} in {location!r}. "
                "Unless it was lost: zarr leaves out chunks of nothing but the fill value, which "
                "are read with missing='fill'"
            )


def _shards_of(block: int, per_shard: list[int], grid: list[int]) -> Iterator[tuple[int, ...]]:
    others = [range(-(-n // count)) for n, count in zip(grid[1:], per_shard[1:], strict=True)]
    return itertools.product([block // per_shard[0]], *others)


async def _index(
    array: ZarrArray, shard: tuple[int, ...], per_shard: list[int]
) -> npt.NDArray[np.uint64] | None:
    """The index of a shard, shape (*per_shard, 2); None if there is no such shard."""
    codec = _sharding(array)
    dtype = _index_dtype(codec)
    assert dtype is not None
    nbytes = 16 * math.prod(per_shard)
    size = nbytes + _CHECKSUM_BYTES * (len(codec.index_codecs) - 1)
    at_start = codec.index_location.value == "start"
    data = await array.store_path.store.get(
        _key(array, shard),
        buffer_prototype,
        RangeByteRequest(0, size) if at_start else SuffixByteRequest(size),
    )
    if data is None or len(data) != size:  # which reading it says
        return None
    return np.frombuffer(data.to_bytes(), dtype, nbytes // 8).reshape(*per_shard, 2)


def _key(array: ZarrArray, shard: tuple[int, ...]) -> str:
    return f"{array.path}/{array.metadata.encode_chunk_key(shard)}".strip("/")


def _sharding(array: ZarrArray) -> ShardingCodec:
    codec = array.metadata.codecs[0]
    assert isinstance(codec, ShardingCodec)
    return codec


def _index_dtype(codec: ShardingCodec) -> "np.dtype[np.uint64] | None":
    """That of the numbers in an index; None if it can't be told."""
    first, *others = codec.index_codecs
    known = isinstance(first, BytesCodec) and first.endian is not None
    if not known or not (others == [] or (len(others) == 1 and isinstance(others[0], Crc32cCodec))):
        return None
    assert isinstance(first, BytesCodec)
    assert first.endian is not None
    return np.dtype("<u8" if first.endian.value == "little" else ">u8")
