"""Files: one file for each sample, of any kind, decoded by a function."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from headrace.arguments import check_ids, check_version
from headrace.arrays import Indices, fingerprint
from headrace.errors import ArgumentError, bad_value
from headrace.pytree import Tree, map_leaves
from headrace.readers.access import fingerprint_of
from headrace.readers.reader import Out, Specs, check_read
from headrace.readers.shared.listing import counted, samples_below, suffix_of
from headrace.readers.shared.sample_files import ENCODED, InFiles, SampleFiles, as_bytes
from headrace.readers.shared.samples.calling import (
    Decode,
    SampleWriter,
    call,
    check_decode,
)
from headrace.readers.shared.samples.sample_values import RaggedLeaves
from headrace.storage.opening import Root, open_storage
from headrace.storage.storage import Storage


class Files(InFiles):
    """Samples in files of any kind, each of which a function decodes.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        decode: called with the bytes of a file. It returns an array, a number or a list of numbers;
            or a tuple or dict of these, nested at will. It must return the same for the same bytes:
            what is random belongs in the loader's transform. Threads may call it at once, and where
            there are processes, it must pickle: a function of a module does. Or False: samples are
            the bytes of the files, uint8, of any length.
        suffixes: what the names of the files end with, such as ".wav", or several. Default: all
            files have the same. Names that begin with a dot or an underscore are passed over.
        ids: the files, in the order of the samples, as for `headrace.NpyFiles`; without the suffix
            if `suffixes` is one. Default: all files with these suffixes below root, sorted.
        spec: of a sample. Numbers are converted to its dtypes if that does not change their kind,
            and of dicts only its keys are read. Default: that of the first file, which all others
            must then have. With None as its first axis, an array may have any length.
        ragged: which arrays may differ from those of the first file in the length of their first
            axis, so that a batch of them is a `headrace.Ragged`: True for all that have one, or
            bools in the structure of a sample, or a list of the keys of some, such as ["boxes"].
        version: names what `decode` does, such as "mono-2": a state is refused by a loader of
            another version. What the function is called, or how it prints, is not in the state.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such folder or
            file, files of several suffixes, or an id that would leave root; an argument is not
            allowed.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) `decode` fails, or its result differs from the spec.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import json, pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     _ = (root / f"{i}.json").write_text(json.dumps({"box": [i, i, 9, 9], "label": i}))
        >>> files = hr.Files(root, json.loads, suffixes=".json")
        >>> files.spec["box"], files.ids
        (Spec(shape=(4,), dtype=dtype('int64')), ['0', '1', '2'])
        >>> hr.Loader(files, batch_size=2, shuffle=False).batch(0, 0)["label"].tolist()
        [0, 1]
    """

    def __init__(
        self,
        root: Root,
        decode: Decode | Literal[False],
        *,
        suffixes: str | Iterable[str] | None = None,
        ids: Iterable[str | int] | None = None,
        spec: Specs | None = None,
        ragged: RaggedLeaves = False,
        version: str = "",
    ) -> None:
        if decode is False:
            if spec is not None or ragged is not False:
                raise bad_value("spec and ragged", (spec, ragged), "left out with decode=False")
            decode, spec = as_bytes, ENCODED
        check_decode("decode", decode)
        self._decode, self._version = decode, check_version("version", version)
        self._writer = SampleWriter(spec, ragged)
        storage = open_storage(root)
        if suffixes is not None:
            self._files = SampleFiles(storage, ids, _check_suffixes(suffixes))
        else:
            self._files = SampleFiles(storage, _all(storage) if ids is None else ids, ("",))
        if not self._writer.is_known:
            self._files.read(
                np.array([0]), lambda data, _: self._writer.learn(call(decode, bytes(data)))
            )

    @property
    def spec(self) -> Specs:
        return self._writer.spec

    def __repr__(self) -> str:
        name = getattr(self._decode, "__qualname__", type(self._decode).__qualname__)
        return f"Files({self._files.storage.root!r}, {name}, n={len(self)}, {self.spec})"

    def path(self, index: int) -> str:
        """The file of sample `index`, or its URL."""
        return self._files.location(index)

    def fingerprint(self) -> str:
        """A hash of the ids and the version, and what `decode` says of itself."""
        said = fingerprint_of(self._decode)
        named = self._files.names.fingerprint(), self._version
        return fingerprint(repr((*named, said) if said else named))

    def sample_lengths(self) -> Tree[Indices | None]:
        """With `decode=False`, the bytes of all files, int64; else None, as `decode` tells."""
        if self._decode is not as_bytes:
            return map_leaves(lambda _: None, self.spec)
        return self._files.sizes()

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if self._decode is as_bytes:
            self._files.read_encoded(indices, out)
            return
        self._files.read(
            indices, lambda data, row: self._writer.write(call(self._decode, bytes(data)), out, row)
        )


def _check_suffixes(suffixes: str | Iterable[str]) -> tuple[str, ...]:
    given = [suffixes] if isinstance(suffixes, str) else check_ids(suffixes, "suffixes")
    if not given or not all(isinstance(one, str) and one for one in given):
        raise bad_value("suffixes", suffixes, "one or more, such as '.wav'")
    return tuple(given)


def _all(storage: Storage) -> list[str]:
    """All files, if they are of one kind as far as their names tell."""
    names = samples_below(storage, ("",), "ids")
    if len({suffix_of(name).lower() for name in names}) > 1:
        raise ArgumentError(
            f"suffixes must be given, as {storage.root!r} has {counted(names)}. "
            "Pass those of the samples."
        )
    return names
