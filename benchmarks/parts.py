"""What the parts of the suite share: options, targets, and how they report.

A part names its contenders and has `measuring.measure_in_turns` start the part again, with
`--worker`, for each measurement. It hands the numbers of all rounds to `report`, which prints
Markdown and stores JSON, in the same form for all parts.
"""

import argparse
import json
import operator
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from measuring import MissingError, Numbers, busy_s, cpu_s, machine, median, others, peak_rss_mib

Results = dict[str, list[Numbers]]

_RELATIONS = {">=": operator.ge, "<=": operator.le}


class Column(NamedTuple):
    """A column of a table: its heading, the number that it shows, and how."""

    heading: str
    key: str
    form: str = ".0f"


SPEED = Column("MB/s", "mb_per_s")
PLAIN_COLUMNS = (
    SPEED,
    Column("samples/s", "samples_per_s"),
    Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
    Column("first batch, ms", "first_batch_ms", ".1f"),
    Column("peak RSS, MiB", "peak_rss_mib"),
)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of the options that all parts have."""
    made = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    made.add_argument("--rounds", type=int, default=3, help="measurements of each contender")
    made.add_argument("--quick", action="store_true", help="less data and time, to try it out")
    made.add_argument(
        "--patience", type=float, default=0.0, help="seconds, in all, to wait for an idle machine"
    )
    made.add_argument("--json", type=Path, help="where to store the numbers of every round")
    made.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    return made


def options_of(
    parser: argparse.ArgumentParser, measured: Callable[[Numbers], Numbers], **quick: object
) -> argparse.Namespace:
    """The options of a part, with those of `quick` and one round if it is to be tried out.

    In the process of a measurement, it prints the numbers that `measured` gives for the request, or
    what is missing for them, and ends.
    """
    options = parser.parse_args()
    if options.worker is not None:
        try:
            numbers = measured(options.worker)
        except MissingError as error:
            numbers = {"missing": str(error)}
        print(json.dumps(numbers), flush=True)
        raise SystemExit
    if options.quick:
        vars(options).update(rounds=1, **quick)
    return options


def all_cpu_s() -> float:
    """CPU seconds of this process and of all its workers, those that have ended included."""
    ended = os.times()
    return cpu_s() + ended.children_user + ended.children_system


class Watch:
    """Measures from when it is made until `stop`."""

    def __init__(self) -> None:
        self._all, self._own, self._started = busy_s(), all_cpu_s(), time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._started

    def stop(self, epochs: int, samples: int, nbytes: int) -> Numbers:
        """The numbers of so many epochs, each of so many samples and bytes, as `measure` has."""
        elapsed = self.elapsed_s
        own, everyone = all_cpu_s() - self._own, busy_s() - self._all
        return {
            "epochs": epochs,
            "mb_per_s": epochs * nbytes / 1e6 / elapsed,
            "samples_per_s": epochs * samples / elapsed,
            "cpu_s_per_epoch": own / epochs,
            "peak_rss_mib": peak_rss_mib(),
            "others_cpu_share": max(0.0, everyone - own) / elapsed / (os.cpu_count() or 1),
        }


def middle(results: Results, name: str, key: str) -> float | None:
    """The median of a contender's rounds, or None if it is missing."""
    return median(results[name], key) if results.get(name) else None


def best(results: Results, names: Iterable[str], key: str = "mb_per_s") -> str | None:
    """Which of the contenders has the highest median, of those that are not missing."""
    there = [name for name in names if results.get(name)]
    return max(there, key=lambda name: median(results[name], key), default=None)


def ratio(
    results: Results, name: str | None, rival: str | None, key: str = "mb_per_s"
) -> float | None:
    """The contender's median over its rival's, or None if one of them is missing."""
    if not (name and rival and results.get(name) and results.get(rival)):
        return None
    return median(results[name], key) / median(results[rival], key)


def target(work: str, against: str, bound: str, measured: float | None, note: str = "") -> Numbers:
    """What is to be reached, such as ">= 0.85", and whether it was; "" if there is no target."""
    met = None
    if bound and measured is not None:
        relation, limit = bound.split()
        met = bool(_RELATIONS[relation](measured, float(limit)))
    return {
        "work": work,
        "against": against,
        "target": bound,
        "measured": measured,
        "met": met,
        "note": note,
    }


def table(results: Results, missing: dict[str, str], columns: Iterable[Column]) -> str:
    """A Markdown table of medians; a contender without the number of a column has none there."""
    columns = list(columns)
    lines = [
        "| contender | " + " | ".join(column.heading for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, measured in results.items():
        if name in missing or not measured:
            cells = [f"missing: {missing.get(name, 'not measured')}"] + [""] * (len(columns) - 1)
        else:
            cells = [
                format(median(measured, column.key), column.form)
                if column.key in measured[0]
                else ""
                for column in columns
            ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def target_table(targets: list[Numbers]) -> str:
    lines = [
        "| work | against | target | measured | | note |",
        "| --- | --- | --- | ---: | --- | --- |",
    ]
    for entry in targets:
        measured, met = entry["measured"], entry["met"]
        shown = "" if measured is None else f"{measured:.3g}"
        if measured is None:
            verdict = "not measured"
        elif met is None:
            verdict = ""
        else:
            verdict = "met" if met else "**missed**"
        lines.append(
            f"| {entry['work']} | {entry['against']} | {entry['target']} | {shown} | {verdict} "
            f"| {entry['note']} |"
        )
    return "\n".join(lines)


def report(
    options: argparse.Namespace,
    part: str,
    intro: str,
    columns: Iterable[Column],
    results: Results,
    missing: dict[str, str],
    targets: list[Numbers],
) -> None:
    """Prints what a part is about, its table and targets, and stores its numbers."""
    about = machine() | {"rounds": options.rounds, "quick": options.quick}
    measured = {name: rounds for name, rounds in results.items() if rounds}
    busy = others(measured) if measured else ""
    print(
        f"{intro} {about['cpus']} CPUs, Python {about['python']}, numpy {about['numpy']}. {busy} "
        f"Medians of {options.rounds} rounds; one MB is 1e6 bytes.\n\n"
        f"{table(results, missing, columns)}\n\n"
        f"{target_table(targets)}"
    )
    if options.json is not None:
        stored = {
            "part": part,
            "about": about,
            "missing": missing,
            "results": results,
            "targets": targets,
        }
        options.json.write_text(json.dumps(stored, indent=1) + "\n")
