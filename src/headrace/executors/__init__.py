"""Executors: where a batch is made. One contract for all: `Executor`."""

from typing import TYPE_CHECKING

from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.executors.executor import Executor, Results
    from headrace.executors.inline import Inline
    from headrace.executors.processes.processes import Processes
    from headrace.executors.ray.ray import Ray
    from headrace.executors.threads import Threads
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "headrace.executors.executor": ["Executor", "Results"],
            "headrace.executors.inline": ["Inline"],
            "headrace.executors.processes.processes": ["Processes"],
            "headrace.executors.ray.ray": ["Ray"],
            "headrace.executors.threads": ["Threads"],
        },
    )

__all__ = ["Executor", "Inline", "Processes", "Ray", "Results", "Threads"]
