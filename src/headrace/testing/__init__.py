"""The contract tests: what every reader, executor and storage has to do, also third parties'.

Requires pytest. A test class inherits `ReaderContract`, `RaggedReaderContract` for samples of any
length, `ExecutorContract` or `StorageContract`, says how to make the thing under test, and has all
the tests of its contract:

    from headrace.testing import ReaderContract

    class TestMyReader(ReaderContract):
        def make_reader(self, folder, samples):
            my_format.save(folder / "data", samples)
            return MyReader(folder / "data")

The contracts make the samples and the batches themselves, so that what is expected never passes
through the code under test. What they pickle must be importable by name in another process.
"""

from typing import TYPE_CHECKING

from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.testing.executors import ExecutorContract
    from headrace.testing.ragged_readers import RaggedReaderContract
    from headrace.testing.readers import ReaderContract
    from headrace.testing.storages import StorageContract
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "headrace.testing.executors": ["ExecutorContract"],
            "headrace.testing.ragged_readers": ["RaggedReaderContract"],
            "headrace.testing.readers": ["ReaderContract"],
            "headrace.testing.storages": ["StorageContract"],
        },
    )

__all__ = ["ExecutorContract", "RaggedReaderContract", "ReaderContract", "StorageContract"]
