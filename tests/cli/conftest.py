"""Samples to pack."""

from packed import samples, source  # noqa: F401
