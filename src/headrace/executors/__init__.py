"""Executors: where a batch is made. One file or folder for each, one contract: `Executor`."""

from headrace.executors.executor import Executor, Results
from headrace.executors.inline import Inline
from headrace.executors.processes.processes import Processes
from headrace.executors.ray.ray import Ray
from headrace.executors.threads import Threads

__all__ = ["Executor", "Inline", "Processes", "Ray", "Results", "Threads"]
