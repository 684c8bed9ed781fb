"""Delivery: the batches of a feed to whoever consumes them. What all adapters have in common.

An adapter converts batches for its framework. Order, length and epochs are the feed's.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from headrace.batching.feed import Feed

S = TypeVar("S")
T = TypeVar("T")


def deliver(feed: Feed, batches: Iterable[T]) -> Iterator[T]:
    """Yields `batches`, those from the feed's place on, each of which moves the feed by a step.

    A batch counts once it is delivered, so the feed has moved when the consumer gets it.

    Raises:
        LoaderMovedError: (a RuntimeError) something else has moved the feed in between.
    """
    place = feed.cursor.place
    for batch in batches:
        place = feed.cursor.advance_from(place)
        delivered = [batch]
        del batch
        yield delivered.pop()  # with no name for it here, it is the consumer's alone


def one_ahead(batches: Iterable[S], start: Callable[[S], Callable[[], T]]) -> Iterator[T]:
    """The batches as `start(batch)()` gives them; the next one has started when one is delivered.

    What goes wrong with a batch is raised at its turn, and nothing comes after it.

    Args:
        batches: to be converted, or moved to a device.
        start: starts that, and returns a function that waits for it.
    """
    source = iter(batches)

    def start_next() -> Callable[[], T] | Exception | None:
        try:
            batch = next(source, _END)
            return None if isinstance(batch, _End) else start(batch)
        except Exception as error:  # of the next batch, and not of the present one
            return error

    coming = start_next()
    while coming is not None:
        if isinstance(coming, Exception):
            try:
                raise coming
            finally:
                del coming  # whose traceback leads to this frame: a cycle
        finish = [coming]
        coming = start_next()
        yield finish.pop()()  # with no name for it here, it is the consumer's alone


class _End:
    """Not `StopIteration`, as what converts a batch could raise that, too."""


_END = _End()
