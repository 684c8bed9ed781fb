"""NpyShards: several .npy files whose first axes run over the samples, one after the other.

Files in a folder are memory-mapped in each process, on first use, and of those behind a URL the
rows are fetched by ranges of bytes.
"""

from collections.abc import Iterable

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.readers.array import take_rows
from headrace.readers.npy.decoder import has_rows_together
from headrace.readers.npy.header import NpyLayout
from headrace.readers.npy.mapped import NpyMap
from headrace.readers.npy.ranges import read_layouts, read_ranges
from headrace.readers.reader import Spec, check_read
from headrace.readers.shared.format_error import FormatError, bad_file, sample_error
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.names import Names, check_names
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps, stamps_of_samples

_SUFFIX = ".npy"
# Each map holds a file descriptor, of which a process often may have 1024, or 256.
_MOST_MAPS = 128
# Smaller rows are gathered by numpy and then spread. Larger ones are better copied only once, and
# `out` written from its beginning to its end: 1.4 times as fast at 128 KB.
_LEAST_COPIED_ALONE_BYTES = 2**15


class NpyShards:
    """The rows of the arrays in several .npy files, as one sequence of samples.

    The arrays may differ in length, and in byte order.

    In a folder, maps of at most 128 files are kept in each process, each with an open file
    descriptor; with more files a map makes room for another. The size of a file is checked at each
    read, so that one that has become too short is an error.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        names: the files below root in the order of their samples, with their suffix. Default: all
            .npy files below root, sorted as text ("a-10.npy" before "a-9.npy").

    Raises:
        ArgumentError: (a ValueError) there is no such folder, no file, or a name that leaves root.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged, or its samples differ in shape or dtype
            from those of the first; behind a URL also one in Fortran order, of which no range of
            bytes is a row.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> np.save(root / "a.npy", np.arange(6.0).reshape(3, 2))
        >>> np.save(root / "b.npy", np.arange(6.0, 10).reshape(2, 2))
        >>> shards = hr.NpyShards(root)
        >>> len(shards), shards.spec.shape
        (5, (2,))
        >>> out = np.empty((2, 2))
        >>> shards.read(np.array([4, 0]), out)
        >>> out.tolist()
        [[8.0, 9.0], [0.0, 1.0]]
    """

    def __init__(self, root: Root, names: Iterable[str] | None = None) -> None:
        self._storage = open_storage(root)
        if names is None:
            listed = samples_below(self._storage, (_SUFFIX,), "names")
        else:
            listed = check_names(names, "names")
        self._names = Names(listed)
        self._layouts = read_layouts(self._storage, listed)
        paths = [self._storage.local_path(name) for name in listed]
        self._is_local = None not in paths
        for shard, layout in enumerate(self._layouts):
            try:
                self._check(layout)
            except FormatError as error:
                raise bad_file(self.path(shard), error) from None
        self._spec = _spec(self._layouts[0])
        ends = np.cumsum([layout.shape[0] for layout in self._layouts])
        self._n = int(ends[-1])
        self._begins = np.concatenate([[0], ends[:-1]])
        self._maps: list[tuple[int, NpyMap] | None] = [None] * _MOST_MAPS

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def in_memory(self) -> bool:
        """Whether reading is no more than copying."""
        return self._is_local

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return (
            f"NpyShards({self._storage.root!r}, shards={len(self._layouts)}, n={len(self)}, "
            f"{self.spec})"
        )

    def path(self, shard: int) -> str:
        """The file with that number, or its URL."""
        return self._storage.location(self._names[shard])

    def fingerprint(self) -> str:
        """A hash of the names and lengths of the files."""
        begins = self._begins.astype("<i8").tobytes()
        return fingerprint(self._names.encoded, b"\0", begins, str(self._n))

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        shards = np.searchsorted(self._begins, indices, side="right") - 1
        return stamps_of_samples(self._storage, self._names.__getitem__, shards)

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        if not len(indices):
            return
        # Files without rows begin where the next does, which is then the one that is found.
        shards = np.searchsorted(self._begins, indices, side="right") - 1
        rows = indices - self._begins[shards]
        if self._is_local:
            self._take(shards, rows, indices, out)
        else:
            read_ranges(self._storage, self._names, self._layouts, shards, rows, indices, out)

    def _take(self, shards: Indices, rows: Indices, indices: Indices, out: Array) -> None:
        """`read` from maps: large rows in the order of `out`, others one shard after the other."""
        order = np.argsort(shards, kind="stable")
        of_order = shards[order]
        cuts = np.flatnonzero(of_order[1:] != of_order[:-1]) + 1
        begins, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(order)]
        if self.spec.nbytes >= _LEAST_COPIED_ALONE_BYTES and 1 < len(begins) <= len(self._maps):
            arrays = {
                shard: self._array(shard, int(indices[at]))
                for shard, at in zip(of_order[begins].tolist(), order[begins].tolist(), strict=True)
            }
            pairs = zip(shards.tolist(), rows.tolist(), strict=True)
            for target, (shard, row) in enumerate(pairs):
                out[target] = arrays[shard][row]
            return
        for begin, end in zip(begins, ends, strict=True):
            targets = order[begin:end]
            first, last = int(targets[0]), int(targets[-1])
            array = self._array(int(of_order[begin]), int(indices[first]))
            if last - first == end - begin - 1:
                take_rows(array, rows[first : last + 1], out[first : last + 1])
            else:
                out[targets] = array[rows[targets]]

    def _array(self, shard: int, index: int) -> Array:
        """The array of a shard, where sample `index` lies."""
        slot = shard % len(self._maps)
        # Threads may map a file twice at first; one of the maps is then dropped again.
        kept = self._maps[slot]
        try:
            if kept is None or kept[0] != shard:
                self._maps[slot] = None  # before a new one takes a descriptor
                kept = shard, self._mapped(shard)
                self._maps[slot] = kept
            return kept[1].array()
        except (OSError, FormatError) as error:
            raise sample_error(error, index, self.path(shard)) from None

    def _mapped(self, shard: int) -> NpyMap:
        path = self._storage.local_path(self._names[shard])
        assert path is not None
        return NpyMap(path, self._layouts[shard])

    def _check(self, layout: NpyLayout) -> None:
        if not layout.shape:
            raise FormatError("its array has no axis to run over the samples")
        spec, expected = _spec(layout), _spec(self._layouts[0])
        if spec != expected:
            raise FormatError(
                f"its samples have shape {spec.shape} and dtype {spec.dtype}; those of the first "
                f"file have shape {expected.shape} and dtype {expected.dtype}"
            )
        if not self._is_local and not has_rows_together(layout):
            raise FormatError(
                "it is in Fortran order, where no range of bytes is a sample. Save it in C order, "
                "with numpy.ascontiguousarray"
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": [None] * len(self._maps)}


def _spec(layout: NpyLayout) -> Spec:
    return Spec(layout.shape[1:], layout.dtype.newbyteorder("="))
