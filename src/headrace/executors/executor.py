"""The contract of an executor."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

Key = TypeVar("Key")


@runtime_checkable
class Executor(Protocol):
    """Makes batches in some place, ahead of their consumption, and hands them over in order.

    An executor

    - takes the keys one after the other, never more of them ahead than its budget allows, so
      endless keys are fine;
    - looks ahead within a budget in bytes, measured on the batches it has made;
    - raises what `make_batch` raised at the turn of its key, after all results before it;
    - keeps its workers from one `map` to the next, and serves several at once;
    - leaves nothing running once it is closed or garbage collected, and stops working ahead for a
      `map` that was exhausted, closed, or ended by an exception;
    - pickles as its configuration, without its workers.

    It may have an attribute `lookahead_bytes`, its budget; a loader then hands small batches over
    in blocks that are small beside it. The iterators of `map` may have attributes for
    `Loader.stats`: `ready`, the number of results that are made and not taken, and `copying_s`, how
    many seconds it took in all to copy those that were taken to the consumer.

    `headrace.testing.ExecutorContract` tests all of this.
    """

    def map(self, make_batch: Callable[[Key], Any], keys: Iterable[Key]) -> Iterator[Any]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        ...

    def close(self) -> None:
        """Ends the workers and waits for them. A later `map` starts new ones."""
        ...
