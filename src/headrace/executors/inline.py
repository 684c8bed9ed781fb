"""Inline: batches are made where they are consumed, when they are asked for."""

from collections.abc import Callable, Generator, Iterable, Iterator

from headrace.executors.executor import Key, Result, Results


class Inline:
    """Makes each batch in the consumer's thread when it is taken, without looking ahead.

    Example:
        >>> import headrace as hr
        >>> list(hr.Inline().map(lambda key: key * 2, [1, 2, 3]))
        [2, 4, 6]
    """

    lookahead_bytes = 0

    def map(self, make_batch: Callable[[Key], Result], keys: Iterable[Key]) -> Results[Result]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        return _InlineResults(make_batch(key) for key in keys)

    def close(self) -> None:
        """There is nothing to close."""

    def __repr__(self) -> str:
        return "Inline()"


class _InlineResults(Iterator[Result]):
    """Results of which none is made before it is taken."""

    ready = 0
    copying_s = 0.0

    def __init__(self, results: Generator[Result, None, None]) -> None:
        self._results = results

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """Lets go of the keys."""
        self._results.close()
