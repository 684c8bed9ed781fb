"""The contract tests: what every reader and every executor has to do, ours and third parties'."""

from headrace.testing.testing import ExecutorContract, ReaderContract

__all__ = ["ExecutorContract", "ReaderContract"]
