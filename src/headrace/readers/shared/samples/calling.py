"""What a user's function makes of the bytes of a sample, and what is said where it fails."""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from headrace.errors import bad_type, bad_value
from headrace.readers.reader import Out, Specs
from headrace.readers.shared.format_error import FormatError, is_of_storage
from headrace.readers.shared.samples.sample_values import (
    RaggedLeaves,
    UnfitError,
    check_ragged,
    check_spec,
    learned,
    write_sample,
)

Decode: TypeAlias = Callable[[bytes], object]
D = TypeVar("D")
T = TypeVar("T")


def call(decode: Callable[[D], T], data: D) -> T:
    """What the function returns.

    Raises:
        FormatError: of what it raises over the bytes. What is wrong with this machine, such as a
            library that is not installed, comes as it is: it says nothing of the sample.
    """
    try:
        return decode(data)
    except (FormatError, ImportError, MemoryError):
        raise
    except Exception as error:  # of anyone's function
        if is_of_storage(error):
            raise
        raise FormatError(f"{type(error).__name__}: {error}") from error


class SampleWriter:
    """Writes samples that functions return into batches, if they are what they must be.

    Args:
        spec: of a sample. Default: that of the first; `learn` is then to be called with it.
        ragged: which arrays may differ from those of the first in the length of their first axis.
    """

    def __init__(self, spec: Specs | None, ragged: RaggedLeaves = False) -> None:
        check_ragged(ragged)
        if spec is not None and ragged is not False:
            raise bad_value("ragged", ragged, "left out with spec=", "Use None in its shapes.")
        self._ragged = ragged
        self._converts = spec is not None
        self._spec: Specs | None = None if spec is None else check_spec(spec)

    @property
    def spec(self) -> Specs:
        assert self._spec is not None
        return self._spec

    @property
    def is_known(self) -> bool:
        """Whether the spec is known."""
        return self._spec is not None

    def learn(self, sample: object) -> None:
        """Takes the spec of this sample; a `FormatError` if it can't become arrays."""
        try:
            self._spec = learned(sample, "it", self._ragged)
        except UnfitError as error:
            raise FormatError(error) from None

    def write(self, sample: object, out: Out, row: int) -> None:
        """Writes the sample into row `row` of the arrays of a batch.

        Raises:
            FormatError: it is another, which can't be converted.
        """
        try:
            write_sample(sample, self.spec, out, row, "it", self._converts)
        except UnfitError as error:
            raise FormatError(error) from None


def check_decode(argument: str, decode: object) -> None:
    """Raises an ArgumentTypeError unless it may be a function of bytes."""
    if not callable(decode):
        raise bad_type(argument, decode, "a function from the bytes of a sample to arrays")
