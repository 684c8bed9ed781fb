"""The progress of going through many bytes: how many, how fast, and how long it will still take."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def transfer(text: str, nbytes: int) -> Iterator[Callable[[int], None]]:
    """Shows on standard error how far something has come; a bar, or now and then a line.

    What it gives is to be called with the number of bytes that are done; the first call tells where
    it begins.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(console, text, nbytes)
        return
    columns = (
        TextColumn(f"   {text}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = None

        def show(done: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task(text, total=nbytes, completed=done)
            progress.update(task, completed=done)

        yield show


class _Lines:
    """A line every few seconds, for logs."""

    def __init__(self, console: Console, text: str, nbytes: int) -> None:
        self._console, self._text, self._nbytes = console, text, nbytes
        self._first: tuple[float, int] | None = None
        self._printed_at = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        if now - self._printed_at < _SECONDS_BETWEEN_LINES:
            return
        self._printed_at = now
        rate = (done - self._first[1]) / (now - self._first[0])
        left = f", {clock((self._nbytes - done) / rate)} left" if rate else ""
        self._console.print(
            f"   {self._text}: {decimal(done)} of {decimal(self._nbytes)}, "
            f"{decimal(int(rate))}/s{left}",
            soft_wrap=True,
            markup=False,
        )


def clock(seconds: float) -> str:
    """A duration, as people say it."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
