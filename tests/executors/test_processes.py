from headrace import Processes
from headrace.testing import ExecutorContract


class TestProcessesContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Processes(2, lookahead_bytes=lookahead_bytes)


class TestOneProcessContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Processes(1, lookahead_bytes=lookahead_bytes)
