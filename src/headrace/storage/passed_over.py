"""PassedOverWarning: what has the look of a sample is not read. Said where headrace was called."""

import sys
import warnings


class PassedOverWarning(UserWarning):
    """Something in a folder has the look of a sample, and is not read."""


class MissingFilesWarning(PassedOverWarning):
    """The names of files tell of others, which are not there."""


def warn_passed_over(message: str, category: type[PassedOverWarning] = PassedOverWarning) -> None:
    """Warns of what is not read, at the line that called headrace."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("headrace."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
