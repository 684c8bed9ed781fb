"""All benchmarks in one run, or the parts named: one Markdown table, the targets, and a plot.

Requires what the parts require, and matplotlib for the plot. Runs each part as a process, and keeps
its numbers in `results/<part>.json`, from which `RESULTS.md` and `docs/throughput.png` are made, so
that a part can be run again by itself.

    python benchmarks/suite.py files keras --rounds 5 --patience 600

`--quick` runs one short round to see that everything works, and writes nothing unless `--to` names
a folder.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import parts
from measuring import Numbers, median
from workload import SIZES

FOLDER = Path(__file__).resolve().parent
PICTURE = FOLDER.parent / "docs" / "throughput.png"
# The script of each part, and the options that choose the part in it.
PARTS: dict[str, tuple[str, ...]] = {
    **{f"files-{size}": ("files.py", "--size", size) for size in SIZES},
    "keras": ("keras_fit.py",),
    "rows": ("rows.py",),
    "ragged": ("ragged.py",),
    "any_length": ("any_length.py",),
    "packed": ("packed_rows.py",),
    "windows": ("windows.py",),
    "cached": ("cached.py",),
    "images": ("images.py",),
    "crops": ("crops.py",),
    "overheads": ("overheads.py",),
    "samplings": ("samplings.py",),
    "cold": ("cold.py",),
    "processes": ("processes.py",),
    "cluster": ("cluster.py",),
    "formats": ("format_reads.py",),
    "records": ("records.py",),
}
HEADINGS = {
    **{f"files-{name}": f"files of {size.label}" for name, size in SIZES.items()},
    "keras": "Keras fit",
    "rows": "rows of one array",
    "ragged": "lists of any length",
    "any_length": "padded batches of lists",
    "packed": "packed rows",
    "windows": "windows over one array",
    "cached": "epochs over kept samples",
    "images": "photographs, decoded and resized",
    "crops": "random crops of photographs",
    "cold": "files of 128 KB, not in the page cache",
    "cluster": "a ready batch of 16 MB",
    "formats": "formats",
    "records": "records of TFRecord, JSON lines and sound",
}
# The contenders that hand over nothing: the others can at best be as fast.
LIMITS = ("C, ", "np.take, ", "np.concatenate, ", "bulk read")
# What a part may measure instead of a speed.
UNITS = {
    "ms": "ms",
    "us_per_batch": "us a batch",
    "mib": "MiB",
    "million_per_s": "million indices/s",
    "million_tokens_per_s": "million tokens/s",
    "fill": "of the rows filled",
    "plan_s": "s to plan",
    "share": "of the time",
    "share_error": "samples off in 1,000",
    "resume_ms": "ms to resume",
    "exact": "exact",
}


def asked_for(names: Sequence[str]) -> list[str]:
    """The parts of these names, where `files` is those of all sizes; all parts without names."""
    unknown = [name for name in names if name not in PARTS and name != "files"]
    if unknown:
        raise SystemExit(
            f"there is no part {unknown[0]!r}; the parts are: files, {', '.join(PARTS)}"
        )
    return [part for part in PARTS if not names or part in names or part.split("-")[0] in names]


def run(part: str, options: argparse.Namespace, folder: Path) -> bool:
    """Runs a part, which stores its numbers in the folder; returns whether it succeeded."""
    script, *chosen = PARTS[part]
    command = [
        sys.executable,
        str(FOLDER / script),
        *chosen,
        "--json",
        str(folder / f"{part}.json"),
    ]
    if options.quick:
        command.append("--quick")
    if options.rounds is not None:
        command += ["--rounds", str(options.rounds)]
    command += ["--patience", str(options.patience)]
    print(f"\n=== {part}", file=sys.stderr, flush=True)
    return subprocess.run(command).returncode == 0


def group_of(name: str) -> str:
    """What a contender competes in: `jax, files` of `jax, files: headrace`."""
    return name.rpartition(": ")[0]


def competitors(results: parts.Results, name: str) -> dict[str, float]:
    """The speeds in the contender's group, by the names within it."""
    group = group_of(name)
    return {
        other.rpartition(": ")[2]: median(rounds, "mb_per_s")
        for other, rounds in results.items()
        if group_of(other) == group and rounds and "mb_per_s" in rounds[0]
    }


def share_of_limit(results: parts.Results, name: str) -> str:
    """The contender's speed as a share of the fastest limit's, if there is one."""
    speeds = competitors(results, name)
    limit = max((v for k, v in speeds.items() if k.startswith(LIMITS)), default=None)
    return "" if limit is None else f"{speeds[name.rpartition(': ')[2]] / limit:.2f}"


def faster(results: parts.Results) -> dict[str, str]:
    """What is faster than all that headrace was measured as, but for limits, and how much."""
    found = {}
    for group in dict.fromkeys(map(group_of, results)):
        prefix = f"{group}: " if group else ""
        speeds = competitors(results, prefix)
        ours = {name: speed for name, speed in speeds.items() if name.startswith("headrace")}
        best = max(ours, key=lambda name: ours[name], default=None)
        for name, speed in speeds.items():
            if best and speed > ours[best] and not name.startswith(LIMITS):
                found[prefix + name] = f"{speed / ours[best]:.2f} times as fast as {best}"
    return found


def row(part: str, name: str, stored: Numbers) -> str:
    """What was measured of a contender, as a row of the table."""
    results: parts.Results = stored["results"]
    rounds = results[name]
    work = HEADINGS.get(part, part)
    shown = f"{name} (**faster than headrace**)" if name in faster(results) else name

    def cell(key: str, form: str) -> str:
        return format(median(rounds, key), form) if key in rounds[0] else ""

    if not rounds:
        reason = stored["missing"].get(name, "not measured")
        return f"| {work} | {name} | missing: {reason} | | | | | | |"
    share = spread = ""
    if "mb_per_s" in rounds[0]:
        speeds = [numbers["mb_per_s"] for numbers in rounds]
        form = ".0f" if min(speeds) >= 100 else ".1f"
        speed = f"{statistics.median(speeds):{form}}"
        spread = f"{min(speeds):{form}} to {max(speeds):{form}}"
        share = share_of_limit(results, name)
    else:
        speed = ", ".join(
            f"{cell(key, '.3g')} {unit}" for key, unit in UNITS.items() if key in rounds[0]
        )
    return (
        f"| {work} | {shown} | {speed} | {spread} | {share} | {cell('samples_per_s', '.0f')} "
        f"| {cell('cpu_s_per_epoch', '.3f')} | {cell('first_batch_ms', '.1f')} "
        f"| {cell('peak_rss_mib', '.0f')} |"
    )


def machines(parts_stored: dict[str, Numbers]) -> list[str]:
    """Where the numbers come from: a line for each machine, or set of versions, that was used."""
    found: dict[str, list[str]] = {}
    for part, stored in parts_stored.items():
        about = stored["about"]
        versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        line = (
            f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gib']} GiB, "
            f"{about['machine']}, Python {about['python']}; {versions}"
        )
        found.setdefault(line, []).append(part)
    if len(found) == 1:
        return [f"On {line}." for line in found]
    return [f"{', '.join(names)}: on {line}." for line, names in found.items()]


def busy(parts_stored: dict[str, Numbers]) -> str:
    """How far the machine was busy with something else."""
    shares = [
        numbers["others_cpu_share"]
        for stored in parts_stored.values()
        for rounds in stored["results"].values()
        for numbers in rounds
        if "others_cpu_share" in numbers
    ]
    if not shares:
        return ""
    return (
        f"Other processes used {statistics.median(shares):.0%} of the CPUs during the median "
        f"measurement, and {max(shares):.0%} during the worst."
    )


def markdown(parts_stored: dict[str, Numbers]) -> str:
    """The page of results."""
    wins = [
        f"- {HEADINGS.get(part, part)}: {name} is {how}."
        for part, stored in parts_stored.items()
        for name, how in faster(stored["results"]).items()
    ]
    targets = [target for stored in parts_stored.values() for target in stored["targets"]]
    conversions = [
        f"{stored['about']['conversion_s']:.1f} s for {HEADINGS[part]}"
        for part, stored in parts_stored.items()
        if "conversion_s" in stored["about"]
    ]
    lines = [
        "# Results",
        "",
        "Made by `nox -s bench`; the parts say in their first lines what they measure, and how.",
        "Each number is the median of rounds in which the contenders take turns, each in a process",
        "of its own; one MB is 1e6 bytes. Memory is the peak of all processes of a contender, with",
        "its imports; the first batch is that of the first epoch, with the start of its workers.",
        "Own reader is code that the user of that library has to write, for files whose header is",
        "known.",
        "",
        *machines(parts_stored),
        busy(parts_stored),
    ]
    if conversions:
        lines += [
            "",
            "Streaming reads files of its own format, and its numbers leave out their making: "
            f"{', '.join(conversions)}.",
        ]
    lines += [
        "",
        "## Targets",
        "",
        parts.target_table(targets),
        "",
        "## Where another is faster",
        "",
    ]
    lines += wins or ["Nowhere, limits aside."]
    lines += [
        "",
        "## All measurements",
        "",
        "| work | contender | MB/s, if not said | lowest to highest | of the limit | samples/s "
        "| CPU s an epoch | first batch, ms | peak MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for part, stored in parts_stored.items():
        lines += [row(part, name, stored) for name in stored["results"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", help=f"files, {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, help="measurements of each contender")
    parser.add_argument(
        "--patience", type=float, default=0.0, help="seconds a part may wait for an idle machine"
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--to", type=Path, help="the folder to write to, instead of the project's")
    options = parser.parse_args()
    chosen = asked_for(options.parts)
    with tempfile.TemporaryDirectory(prefix="headrace-suite-") as temporary:
        to = options.to or (Path(temporary) if options.quick else None)
        results = FOLDER / "results" if to is None else to / "results"
        results.mkdir(parents=True, exist_ok=True)
        failed = [part for part in chosen if not run(part, options, results)]
        found = {part: results / f"{part}.json" for part in PARTS}
        stored = {
            part: json.loads(path.read_text()) for part, path in found.items() if path.exists()
        }
        page = markdown(stored)
        (FOLDER if to is None else to).joinpath("RESULTS.md").write_text(page)
        if options.quick:
            print(f"\n{page}")
        if "files-128k" in stored:
            try:
                import plot  # not above, as it needs matplotlib
            except ModuleNotFoundError as error:
                print(f"no plot, as {error.name} is not installed", file=sys.stderr)
            else:
                plot.draw(stored["files-128k"], PICTURE if to is None else to / PICTURE.name)
    failed += [
        f"{part}: {name}"
        for part in chosen
        for name, reason in stored.get(part, {}).get("missing", {}).items()
        if "headrace" in name and reason.startswith("it failed")
    ]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
