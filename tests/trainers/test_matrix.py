"""The table of clients and habits in docs/trainers.md says what the tests here show."""

import importlib.util
import os
from pathlib import Path

import pytest
from trainer_habits import HABITS

PAGE = Path(__file__).parents[2] / "docs" / "trainers.md"
BEGIN, END = "<!-- The table: written by tests/trainers/test_matrix.py -->", "<!-- End -->"
CLIENTS = ("lightning", "accelerate", "transformers", "ray", "keras", "jax", "torch")


def table(items):
    """Rows of clients and columns of habits; in each cell, how many tests show it."""
    cells = {}
    for item in items:
        for mark in item.iter_markers("cell"):
            client, *habits = mark.args
            for habit in habits:
                cells.setdefault(client, {}).setdefault(habit, set()).add(item.nodeid)
    lines = [f"| | {' | '.join(HABITS)} |", "| --- |" + " :---: |" * len(HABITS)]
    for client in sorted(cells):
        shown = (len(cells[client].get(habit, ())) for habit in HABITS)
        lines.append(f"| {client} | {' | '.join(str(n) if n else '' for n in shown)} |")
    return "\n".join(lines)


def test_the_table_says_what_is_tested(request):
    missing = [name for name in CLIENTS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs all clients, without {', '.join(missing)}")
    folder = Path(__file__).parent
    files = {Path(item.path).name for item in request.session.items if folder in item.path.parents}
    alone = {file.name for file in folder.glob("test_*.py")} - files
    if alone:
        pytest.skip(f"needs all tests of trainers in one run, without {', '.join(sorted(alone))}")
    expected = table(request.session.items)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("HEADRACE_WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}\n\n{expected}\n\n{END}{after}")
    else:
        assert written.strip() == expected, "run it again with HEADRACE_WRITE_DOCS=1"
