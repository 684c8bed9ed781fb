"""The contract of an executor: `Executor`, and `Results`, which its `map` returns."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

from headrace.errors import bad_type

Key = TypeVar("Key")
Result = TypeVar("Result")
_Result = TypeVar("_Result", covariant=True)


@runtime_checkable
class Results(Iterator[_Result], Protocol[_Result]):
    """What comes of one `map`, in the order of its keys, and how far it has come.

    Exhausted, closed, or ended by an exception, it is over: it yields nothing more, and its
    executor stops working ahead for it.
    """

    @property
    def ready(self) -> int:
        """How many results are finished and not taken yet; 0 where nothing is made ahead."""
        ...

    @property
    def copying_s(self) -> float:
        """How many seconds it took in all to copy the results that were taken to the consumer."""
        ...

    def close(self) -> None:
        """Lets go of the keys, and of the results that were not taken."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Makes batches somewhere, ahead of their consumption, and delivers them in order.

    An executor

    - takes the keys one after the other, never more of them ahead than its budget allows, so
      endless keys are fine;
    - looks ahead within a budget in bytes, measured on the batches it has made;
    - raises what `make_batch` raised at the turn of its key, after all results before it;
    - keeps its workers from one `map` to the next, and serves several at once;
    - leaves nothing running once it is closed or garbage collected, and stops working ahead for a
      `map` that was exhausted, closed, or ended by an exception;
    - pickles as its configuration, without its workers.

    `headrace.testing.ExecutorContract` tests all of this.
    """

    @property
    def lookahead_bytes(self) -> int:
        """The budget; 0 where each batch is made when it is asked for.

        A loader delivers small batches in blocks, which are small compared to the budget.
        """
        ...

    def map(self, make_batch: Callable[[Key], Result], keys: Iterable[Key]) -> Results[Result]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        ...

    def close(self) -> None:
        """Ends the workers and waits for them. A later `map` starts new ones."""
        ...


def check_executor(executor: object) -> Executor:
    """The executor itself, if it has all members of the contract.

    Raises:
        ArgumentTypeError: (a TypeError) it is something else, or lacks members, which are named.
    """
    if isinstance(executor, Executor) and not isinstance(executor, type):
        return executor
    members = ("map", "close", "lookahead_bytes")
    missing = _missing(executor, members)
    remedy = f"It has no {missing}: see headrace.Executor." if hasattr(executor, "map") else ""
    if isinstance(executor, type):
        remedy = ""
    raise bad_type("executor", executor, "Inline(), Threads(n) or another executor", remedy)


def map_checked(
    executor: Executor, make_batch: Callable[[Key], Result], keys: Iterable[Key]
) -> Results[Result]:
    """`executor.map(make_batch, keys)`, of which third parties may return something else.

    Raises:
        ArgumentTypeError: (a TypeError) what `map` returned lacks members of `Results`.
    """
    results: object = executor.map(make_batch, keys)
    if isinstance(results, Results):
        return results
    missing = _missing(results, ("__iter__", "__next__", "ready", "copying_s", "close"))
    raise bad_type(
        "executor",
        executor,
        "one whose map returns Results",
        f"Its map returned a {type(results).__name__}, which has no {missing}: see "
        "headrace.executors.Results.",
    )


def _missing(thing: object, members: tuple[str, ...]) -> str:
    return ", ".join(name for name in members if not hasattr(thing, name))
