"""What a failed transfer means, and when it is tried again.

Only one layer tries again, so that the deadline holds: the retries of obstore are turned off.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, TypeVar

from headrace.errors import FileMissingError, StorageError

T = TypeVar("T")

PAST_THE_END = "the range lies past the end of the object"
# "never": no other attempt can succeed. "twice": neither if the next one fails alike, which tells a
# property of the object from a fault on its way. "always": it may be transient.
Again = Literal["never", "twice", "always"]
# Each of this many bytes may take the whole of `attempt_seconds`, or of `deadline_seconds`.
_BYTES_OF_AN_ATTEMPT = 2**24
_BYTES_OF_A_DEADLINE = 2**26
# Processes that were forked from one another would share the state of any other generator.
_random = random.SystemRandom()


class AttemptFailed(Exception):
    """One attempt failed; `cause` says how, without any credential."""

    def __init__(
        self, cause: str, again: Again = "always", error: type[StorageError] = StorageError
    ) -> None:
        super().__init__(cause, again, error)
        self.cause = cause
        self.again = again
        self.error = error


class RetriesFailed(Exception):
    """All attempts failed: `last` is how the last did."""

    def __init__(self, last: AttemptFailed, attempts: int, seconds: float) -> None:
        super().__init__(last, attempts, seconds)
        self.last = last
        self.attempts = attempts
        self.seconds = seconds


class Patience(NamedTuple):
    """How long to try.

    Attributes:
        deadline_seconds: from the first attempt to the end of the last.
        attempt_seconds: until an attempt is given up that makes no progress.
        pause_seconds: the longest pause after the first attempt; it doubles with each.
        longest_pause_seconds: what it doubles up to.
    """

    deadline_seconds: float
    attempt_seconds: float
    pause_seconds: float = 0.1
    longest_pause_seconds: float = 10.0

    def of_attempt(self, nbytes: int) -> float:
        """Seconds for a body of so many bytes."""
        return self.attempt_seconds * max(1.0, nbytes / _BYTES_OF_AN_ATTEMPT)

    def of_all(self, nbytes: int) -> float:
        """Seconds for all attempts at so many bytes."""
        return self.deadline_seconds * max(1.0, nbytes / _BYTES_OF_A_DEADLINE)

    def pause(self, attempts: int) -> float:
        """Seconds between attempt number `attempts` and the next: exponential, with full jitter."""
        most = min(self.longest_pause_seconds, self.pause_seconds * 2.0 ** min(attempts - 1, 60))
        return _random.uniform(0.0, most)


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    patience: Patience,
    nbytes: int = 0,
    *,
    bounded: bool = True,
) -> T:
    """What `attempt()` returns, of which `AttemptFailed` may be transient.

    An attempt is cut off at the deadline, unless it is not `bounded` by it.

    Raises:
        RetriesFailed: the deadline has passed, or the failure is none that passes.
    """
    began = time.monotonic()
    deadline = began + patience.of_all(nbytes)
    attempts, before = 0, ""
    failed: AttemptFailed | None = None
    while True:
        attempts += 1
        try:
            left = max(0.0, deadline - time.monotonic())
            async with asyncio.timeout(left if bounded else None):
                return await attempt()
        except TimeoutError:  # how an attempt before has failed says more
            failed = failed or AttemptFailed("no answer within the deadline")
        except AttemptFailed as error:
            failed = error
        pause = patience.pause(attempts)
        final = failed.again == "never" or (failed.again == "twice" and failed.cause == before)
        if final or time.monotonic() + pause >= deadline:
            raise RetriesFailed(failed, attempts, time.monotonic() - began) from None
        before = failed.cause
        await asyncio.sleep(pause)


def gave_up(failed: RetriesFailed, what: str) -> StorageError:
    """The error for what could not be read."""
    last = failed.last
    if last.error is FileMissingError:
        return FileMissingError(f"there is no {what}")
    times = "1 attempt" if failed.attempts == 1 else f"{failed.attempts} attempts"
    message = f"{what} can't be read: {times} in {failed.seconds:.1f} s, at last: {last.cause}"
    return last.error(message)
