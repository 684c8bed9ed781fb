"""Inline: batches are made where they are consumed, when they are asked for."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headrace.executors.executor import Key


class Inline:
    """Makes each batch in the consumer's thread when it is taken, without looking ahead.

    Example:
        >>> import headrace as hr
        >>> list(hr.Inline().map(lambda key: key * 2, [1, 2, 3]))
        [2, 4, 6]
    """

    def map(self, make_batch: Callable[[Key], Any], keys: Iterable[Key]) -> Iterator[Any]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        for key in keys:
            yield make_batch(key)

    def close(self) -> None:
        """There is nothing to close."""

    def __repr__(self) -> str:
        return "Inline()"
