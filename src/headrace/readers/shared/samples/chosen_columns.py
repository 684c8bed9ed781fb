"""ChosenColumns: the parts of a record that a user names, and what makes arrays of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from headrace.arguments import check_ids
from headrace.arrays import Array
from headrace.errors import bad_type, bad_value
from headrace.readers.access import fingerprint_of
from headrace.readers.reader import Specs
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.samples.calling import call
from headrace.readers.shared.samples.sample_values import RaggedLeaves


class Each(list[object]):
    """Values of a column, each of which its function is called with."""


# One column, several, or each with what makes an array of its value; or all.
Columns: TypeAlias = str | Iterable[str] | Mapping[str, Callable[[Any], object] | None] | None


class ChosenColumns:
    """The columns to read.

    Args:
        columns: as a user gives them.
        spec: of a sample, whose keys are the columns if it is a dict, and they are not named.

    Attributes:
        names: of the columns, in order; None for all that a record has.
    """

    def __init__(self, columns: Columns, spec: Specs | None) -> None:
        if columns is None and isinstance(spec, dict):
            columns = list(spec)
        self._alone = isinstance(columns, str)
        self._functions: dict[str, Callable[[Any], object]] = {}
        self.names: list[str] | None = None
        if columns is None:
            return
        if isinstance(columns, Mapping):
            self.names = list(columns)
            self._functions = {name: one for name, one in columns.items() if one is not None}
        else:
            self.names = [columns] if isinstance(columns, str) else check_ids(columns, "columns")
        if not self.names or len(set(self.names)) < len(self.names):
            raise bad_value("columns", self.names, "at least one name, and none of them twice")
        for name in self.names:
            if not isinstance(name, str):
                raise bad_type("columns", name, "a str, a list of them, or a dict of functions")
        for name, function in self._functions.items():
            if not callable(function):
                raise bad_type(f"columns[{name!r}]", function, "a function of its value, or None")
        if isinstance(spec, dict) and not self._alone and list(spec) != self.names:
            raise bad_value("spec", list(spec), f"one with the keys {self.names}, as columns")

    def ragged(self, ragged: RaggedLeaves) -> RaggedLeaves:
        """`ragged` in the structure of a sample, which has no key where it is one column alone."""
        return True if self._alone and ragged == self.names else ragged

    def check(self, values: Mapping[str, object], record: str) -> None:
        """Raises an ArgumentError unless the first record has the columns."""
        missing = [name for name in self.names or () if name not in values]
        if missing:
            there = ", ".join(map(repr, values)) or "none"
            allowed = f"among those of the first {record}: {there:.1000}"
            raise bad_value("columns", missing[0] if self._alone else missing, allowed)

    def sample(self, values: Mapping[str, object]) -> object:
        """The sample of a record with these values.

        Raises:
            FormatError: one is missing, or a function fails.
        """
        if self.names is None:
            return values
        found = {}
        for name in self.names:
            if name not in values:
                there = ", ".join(map(repr, values)) or "nothing"
                raise FormatError(f"it has no {name!r}, but {there:.500}")
            found[name] = self.value(name, values[name])
        return found[self.names[0]] if self._alone else found

    def value(self, name: str, value: Any) -> object:
        """What the function of a column makes of a value; the value itself if it has none."""
        function = self._functions.get(name)
        if function is None:
            return value
        try:
            if isinstance(value, Each):
                return _stacked([np.asarray(call(function, one)) for one in value])
            return call(function, value)
        except FormatError as error:
            raise FormatError(f"{name!r}: {error}") from error.__cause__

    def has_function(self, name: str) -> bool:
        """Whether a column has a function."""
        return name in self._functions

    def described(self) -> tuple[object, ...]:
        """What tells them from others: which have a function, and what that says of itself."""
        said = {name: fingerprint_of(function) for name, function in self._functions.items()}
        return (self._alone, self.names, said) if said else (self._alone, self.names)


def _stacked(arrays: list[Array]) -> object:
    """The arrays along a new first axis; of none, an empty list, as they have no shape."""
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise FormatError(f"its steps become arrays of the shapes {shapes[0]} and {shapes[1]}")
    return np.stack(arrays) if arrays else []
