"""What a command prints as it goes on."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


class Report:
    """Headings, lines and progress. None is more than ASCII, as not every terminal is."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def heading(self, text: str) -> None:
        self._console.print(Text(text, style="bold"), soft_wrap=True)

    def section(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold cyan"), soft_wrap=True)

    def line(self, text: str) -> None:
        # Not as markup, as a folder's name may look like it; not wrapped, so that it can be copied.
        self._console.print(Text(f"   {text}"), soft_wrap=True)

    def status(self, text: str) -> contextlib.AbstractContextManager[object]:
        """Shows that `text` goes on."""
        return self._console.status(Text(text), spinner="line")

    @contextlib.contextmanager
    def progress(self, text: str, steps: int) -> Iterator[Callable[[], None]]:
        """Shows how many of the steps are done; each call of what it gives is one more."""
        columns = (TextColumn(f"   {text}"), BarColumn(), TimeElapsedColumn())
        shown = self._console.is_terminal
        with Progress(
            *columns, console=self._console, transient=True, disable=not shown
        ) as progress:
            task = progress.add_task(text, total=steps)
            yield lambda: progress.advance(task)
