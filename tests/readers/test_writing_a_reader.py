"""The readers that docs/writing_a_reader.md makes pass the tests that it makes for them."""

from readers_of_the_page import TestCsvRows, TestWavFiles

__all__ = ["TestCsvRows", "TestWavFiles"]
