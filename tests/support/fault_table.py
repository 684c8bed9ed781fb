"""What is amiss with data, and what headrace does with it: the table of docs/faults.md.

A test says what it shows with a mark, of constants alone:

    @pytest.mark.fault("a pipe, socket or device", "error", "every format")
    def test_special_files(tmp_path, format_name, outcome): ...

The fault is a row of the table, the outcome one of `OUTCOMES`, and the rest are its columns:
formats by their names, groups of them, or one of `OTHERS`. What is said of a format by its name
goes before what is said of its group. A test that takes `format_name` runs once for each of these
formats, and may take the `outcome`, too; several marks may be put on it. So a format that is added
to `headrace.formats` has all tests of its groups, as soon as `written.py` says how it is written. A
test that takes no `format_name` shows what its mark says by itself.

tests/test_fault_table.py compares the table, and writes it with HEADRACE_WRITE_DOCS=1.
"""

import ast
from pathlib import Path

from headrace.formats import formats

OUTCOMES = ("error", "warning", "passed over", "read")
# What is no format, and may be a column too.
OTHERS = ("labels", "executors", "Keras", "PyTorch", "JAX")
TESTS = Path(__file__).parent.parent

# Groups of formats, told by what they declare.
_GROUPS = {
    "every format": lambda one: True,
    "folders of files": lambda one: bool(one.file_suffixes),
    "a file for each sample": lambda one: "ids" in one.options,
    "one path": lambda one: bool(one.path_suffixes),
    "columns": lambda one: "columns" in one.options,
}


def columns(names):
    """The columns that are meant by names of formats, of groups of them, and of others."""
    for name in names:
        if name in _GROUPS:
            yield from (one.name for one in formats().values() if _GROUPS[name](one))
        elif name in formats() or name in OTHERS:
            yield name
        else:
            known = (*_GROUPS, *formats(), *OTHERS)
            raise ValueError(f"{name!r} is none of the columns {known}")


def check(fault, outcome, *names):
    """Raises a ValueError unless these can be the arguments of a mark."""
    if outcome not in OUTCOMES:
        raise ValueError(f"{fault}: {outcome!r} is none of the outcomes {OUTCOMES}")
    if not list(columns(names)):
        raise ValueError(f"{fault}: no column is named")


def outcomes(marks):
    """The outcome in each column, of marks (outcome, names); a format's own before its groups'."""
    found = {}
    for is_group in (True, False):
        level = {}
        for outcome, names in marks:
            for column in columns(name for name in names if (name in _GROUPS) == is_group):
                if level.setdefault(column, outcome) != outcome:
                    raise ValueError(f"{column}: {outcome}, and elsewhere {level[column]}")
        found |= level
    return found


def parametrized(marks):
    """(format_name, outcome) of each format that the marks of a test name."""
    found = outcomes([(mark.args[1], mark.args[2:]) for mark in marks])
    return [(column, outcome) for column, outcome in found.items() if column not in OTHERS]


def shown():
    """(fault, outcome, names of columns) of each mark in the tests."""
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.fault(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                fault, outcome, *names = map(ast.literal_eval, node.args)
                yield fault, outcome, names


def table():
    """Rows of faults, sorted, and columns of formats; in each cell, the outcome."""
    marks = {}
    for fault, outcome, names in shown():
        check(fault, outcome, *names)
        marks.setdefault(fault, []).append((outcome, names))
    rows = {fault: outcomes(of_fault) for fault, of_fault in marks.items()}
    heads = [*formats(), *(one for one in OTHERS if any(one in row for row in rows.values()))]
    lines = [
        f"| | {' | '.join(f'`{one}`' if one in formats() else one for one in heads)} |",
        "| --- |" + " :---: |" * len(heads),
    ]
    for fault in sorted(rows, key=str.lower):
        cells = (rows[fault].get(head, "") for head in heads)
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)
