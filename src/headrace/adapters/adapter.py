"""Delivery: the batches of a feed to whoever consumes them. What all adapters have in common.

An adapter converts batches for its framework. Order, length and epochs are the feed's.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from headrace.batching.feed import Feed
from headrace.batching.transforms import Batch
from headrace.errors import ArgumentError, StoppedEarlyError
from headrace.sampling.keys import Place

S = TypeVar("S")
T = TypeVar("T")


def deliver(
    feed: Feed, batches_from: Callable[[Place], Iterable[T]], *, taken_ahead: bool = False
) -> Iterator[T]:
    """One pass over an epoch: its batches, each of which moves the feed when it is delivered.

    A pass that is left early is over; the next one starts with the next epoch. One that has
    delivered nothing counts for nothing.

    Args:
        feed: says where the pass starts.
        batches_from: the batches from a place to the end of its epoch.
        taken_ahead: whether who takes a batch delivers the one before it then, and not this one.

    Raises:
        LoaderMovedError: (a RuntimeError) something else, such as another pass, has moved the feed
            in between.
        StoppedEarlyError: (a RuntimeError) the batches end before their epoch.
    """
    cursor = feed.cursor
    left_at, place = cursor.place, cursor.start
    epoch, steps, count = place.epoch, feed.sampler.steps_left(place), 0
    taken: Place | None = None  # of the batch that is yet to be delivered
    for batch in batches_from(place):
        count += 1
        if taken is not None:
            left_at = cursor.deliver(left_at, taken)
        if taken_ahead:
            taken, place = place, feed.sampler.after(place)
        else:
            left_at = place = cursor.deliver(left_at, place)
        delivered = [batch]
        del batch
        yield delivered.pop()  # with no name for it here, it is the consumer's alone
        if count < steps:  # before a batch is taken that another pass may share, and needs
            cursor.check_left_at(left_at)
    if count < steps:
        raise StoppedEarlyError(
            f"the batches of epoch {epoch} ended after {count} of {steps}. What is called for "
            "them, such as worker_init_fn or a sampler, has raised StopIteration."
        )
    if taken is not None:
        cursor.deliver(left_at, taken)


def endless(feed: Feed) -> Iterator[Batch]:
    """The batches from the feed's place on, epoch after epoch, each of which moves it."""
    while True:
        delivered = [feed.take(feed.cursor.place)]
        feed.cursor.advance()
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


def needs_pad(name: str, leaf: object, framework: str) -> ArgumentError:
    """The error for samples of any length where `framework` has no arrays of them.

    Args:
        name: of the leaf in the batch.
        leaf: what has them.
        framework: as in "JAX takes arrays".
    """
    what = f"leaf {name}" if name else "the only leaf"
    return ArgumentError(
        f"{framework} takes arrays, but {what} of the batches is {leaf!r}, whose samples may "
        "differ in length. Use headrace.pad, which makes arrays of them."
    )


class _End:
    """Not `StopIteration`, as what converts a batch could raise that, too."""


_END = _End()
