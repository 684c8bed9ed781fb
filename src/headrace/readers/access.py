"""What a reader may say of itself besides its samples: how they are accessed, and their names.

A reader of anyone's has three members: `spec`, `len` and `read`. What more it has is asked for here
alone, so that nothing else has to know what is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError, bad_type
from headrace.pytree import Tree, map_leaves, named_leaves
from headrace.readers.reader import Reader

Stamps: TypeAlias = npt.NDArray[np.uint64]


class ReadAmplificationWarning(UserWarning):
    """Much more than the samples will be read, and in another order it would not."""


@dataclass(frozen=True, slots=True)
class Access:
    """What reading samples takes.

    Attributes:
        in_memory: whether reading a sample is no more than copying it.
        block: how many samples are stored together, such as in a chunk, and are read as a whole to
            read one of them; 1 if any sample is read by itself.
        blocks_kept: how many blocks the reader keeps in memory.
        block_cost: how many samples' worth is read with a block. More than `block` in a view that
            leaves out some samples of each; 0 stands for `block`.
        blocks_aligned: whether blocks begin at the multiples of `block`. Not in a view that begins
            within a block, or whose blocks have different lengths, `block` on average.
    """

    in_memory: bool = False
    block: int = 1
    blocks_kept: int = 0
    block_cost: float = 0
    blocks_aligned: bool = True

    @property
    def cost(self) -> float:
        """How many samples' worth is read with a block."""
        return self.block_cost or self.block


class Part(NamedTuple):
    """Samples of one source that follow one another.

    Attributes:
        length: how many samples.
        block: how many of them are stored together.
        name: of the source, or "" without one.
    """

    length: int
    block: int = 1
    name: str = ""


def access_of(reader: Reader) -> Access:
    """What `access` is, or `in_memory`, `block` and `blocks_kept`, of those that there are."""
    access = getattr(reader, "access", None)
    if isinstance(access, Access):
        return access
    return Access(
        in_memory=getattr(reader, "in_memory", False),
        block=max(1, getattr(reader, "block", 1)),
        blocks_kept=getattr(reader, "blocks_kept", 0),
    )


def fingerprint_of(reader: object) -> str:
    """What the method `fingerprint` returns, also of an `ImageDecoder`; nothing without one.

    Raises:
        ArgumentTypeError: (a TypeError) it is no method, or returns no text.
    """
    method = None if isinstance(reader, type) else getattr(reader, "fingerprint", None)
    if method is None:
        return ""
    said = method() if callable(method) else method
    if not (callable(method) and isinstance(said, str)):
        what = f"fingerprint of a {type(reader).__name__}"
        raise bad_type(what, said, "a method without arguments that returns a str")
    return said


def ids_of(reader: Reader) -> Sequence[str] | None:
    """The names of the samples, in order, if `ids` has them."""
    ids: Sequence[str] | None = getattr(reader, "ids", None)
    return ids


def ids_at(reader: Reader, indices: Indices) -> list[str] | None:
    """The names of these samples: what the method `ids_at` returns, or those among `ids`.

    A reader of millions of samples has that method so that not all names are made for a few.
    """
    of_some: Callable[[Indices], list[str] | None] | None = getattr(reader, "ids_at", None)
    if of_some is not None:
        return of_some(indices)
    ids = ids_of(reader)
    return None if ids is None else [ids[index] for index in indices.tolist()]


def parts_of(reader: Reader) -> Sequence[Part]:
    """The sources of which the samples are, one after another, if `parts` has them."""
    parts: Sequence[Part] = getattr(reader, "parts", ())
    return parts


def parts_of_source(readers: Tree[Reader]) -> Sequence[Part]:
    """The sources of which the samples are, as the readers say that know it.

    Raises:
        ArgumentError: (a ValueError) two of them have sources of different lengths or names.
    """
    known = [(name, parts_of(reader)) for name, reader in named_leaves(readers, "source")]
    known = [(name, parts) for name, parts in known if parts]
    joined = [list(parts) for _, parts in known[:1]]
    for name, parts in known[1:]:
        if [part[::2] for part in parts] != [part[::2] for part in joined[0]]:
            first = ", ".join(f"{part.name}: {part.length}".lstrip(": ") for part in joined[0])
            other = ", ".join(f"{part.name}: {part.length}".lstrip(": ") for part in parts)
            raise ArgumentError(
                f"all parts of source must be of the same sources, but {known[0][0]} is of "
                f"sources with these samples: {first}; and {name} of {other}."
            )
        blocks = [max(one.block, two.block) for one, two in zip(joined[0], parts, strict=True)]
        joined[0] = [part._replace(block=b) for part, b in zip(parts, blocks, strict=True)]
    return joined[0] if joined else ()


def lengths_of(reader: Reader) -> Tree[Indices | None]:
    """What the method `sample_lengths` returns: how long each array of each sample is.

    In the structure of `spec`, int64, shape (n,); None for arrays of one shape, for those whose
    lengths only reading the samples tells, and for all if the reader has no such method. It may
    take looking at each file once, or decoding whole columns.
    """
    lengths: Callable[[], Tree[Indices | None]] | None = getattr(reader, "sample_lengths", None)
    return map_leaves(lambda _: None, reader.spec) if lengths is None else lengths()


def ids_fingerprint_of(reader: Reader) -> str:
    """What the method `ids_fingerprint` returns; nothing if there is none.

    It tells samples apart by their ids, or their indices, where `fingerprint` does not: states of
    0.1.0 hold that as it is.
    """
    ids_fingerprint: str = getattr(reader, "ids_fingerprint", str)()
    return ids_fingerprint


def original_of(reader: Reader) -> Reader:
    """The reader that has the same samples, where this one only keeps them; else itself.

    It is what states name: a sample that was kept is no other.
    """
    original: Reader | None = getattr(reader, "original", None)
    return reader if original is None else original_of(original)


def stamps_of(reader: Reader, indices: Indices) -> Stamps:
    """What the method `stamps(indices)` returns; ones if there is none.

    A number for each sample, which is another when the file that it is read from has changed, as
    far as its size and the time of its last change tell; 0 if that can't be told now.
    """
    stamps = getattr(reader, "stamps", None)
    return np.ones(len(indices), np.uint64) if stamps is None else stamps(indices)


def part_readers_of(reader: Reader) -> Tree[Reader]:
    """The reader; or `part_readers`, where each part of its samples can be read by itself.

    Those are a tuple or dict of readers, as long as the reader, of the structure of its `spec`.
    """
    parts: Tree[Reader] = getattr(reader, "part_readers", reader)
    return parts


ReadWindows: TypeAlias = Callable[[Indices, int, Array], None]


def read_windows_of(reader: Reader) -> ReadWindows | None:
    """The method `read_windows(starts, rate, out)`, if windows of its samples cost less than these.

    It writes the samples `start`, `start + rate`, ... into `out[i]`, shape (length, *sample), for
    each of the starts. All of them are in range.
    """
    read_windows: ReadWindows | None = getattr(reader, "read_windows", None)
    return read_windows


ReadPieces: TypeAlias = Callable[[Indices, Indices, Indices, Any], None]


def read_pieces_of(reader: Reader) -> ReadPieces | None:
    """The method `read_pieces(indices, begins, lengths, out)`, if it reads less than the samples.

    Of samples of any length it reads into `out`, as `read` does, for each of the indices `length`
    elements from element `begin` on. All of them are in range.
    """
    read_pieces: ReadPieces | None = getattr(reader, "read_pieces", None)
    return read_pieces
