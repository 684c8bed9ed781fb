"""RecordReader: what readers of records have in common, whatever their records hold."""

import os

from headrace.arrays import Indices
from headrace.readers.access import fingerprint_of
from headrace.readers.reader import Specs
from headrace.readers.shared.samples.calling import Decode, SampleWriter
from headrace.readers.shared.samples.chosen_columns import ChosenColumns
from headrace.readers.shared.sharded.records import Records
from headrace.storage.stamps import Stamps


class RecordReader:
    """A reader of records, but for `read`. Whoever inherits it sets its attributes."""

    _records: Records
    _writer: SampleWriter
    _columns: ChosenColumns
    _version: str
    _decode: Decode | None = None

    @property
    def spec(self) -> Specs:
        return self._writer.spec

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._records}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the files' names, their numbers of records, the columns and the version.

        With what the functions that decode say of themselves.
        """
        said = fingerprint_of(self._decode)
        more = (said,) if said else ()
        return self._records.fingerprint(self._columns.described(), self._version, *more)

    def save_index(self, path: str | os.PathLike[str]) -> None:
        """Writes where all records begin to `path`, an .npz file, for `index=`.

        The index is good until the files change, and for any columns.
        """
        self._records.save_index(path)

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        return self._records.stamps(indices)
