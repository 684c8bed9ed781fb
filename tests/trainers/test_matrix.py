"""The table of clients and habits in docs/trainers.md says what tests of trainers show."""

import ast
from pathlib import Path

from docs_table import check_table
from trainer_habits import HABITS

TESTS = Path(__file__).parents[1]
FOLDERS = ("trainers", "ranks", "adapters")


def strings(call):
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant)]


def is_cell(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.cell"


def shown_in(file):
    """(client, habit, test) of each mark, also of those that a function of the file gives."""
    functions = [
        node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)
    ]
    given = {
        function.name: strings(part)
        for function in functions
        for part in ast.walk(ast.Module(function.body, []))
        if is_cell(part)
    }
    for function in functions:
        for decorator in function.decorator_list:
            marks = [strings(part) for part in ast.walk(decorator) if is_cell(part)]
            name = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name in given:
                more = strings(decorator) if isinstance(decorator, ast.Call) else []
                marks.append([*given[name], *more])
            for client, *habits in marks:
                for habit in habits:
                    yield client, habit, function.name


def table():
    """Rows of clients and columns of habits; in each cell, how many tests show it."""
    cells = {}
    for file in sorted(file for name in FOLDERS for file in (TESTS / name).rglob("test_*.py")):
        for client, habit, test in shown_in(file):
            assert habit in HABITS, f"{test}: {habit}"
            cells.setdefault(client, {}).setdefault(habit, set()).add(test)
    lines = [f"| | {' | '.join(HABITS)} |", "| --- |" + " :---: |" * len(HABITS)]
    for client in sorted(cells):
        shown = (len(cells[client].get(habit, ())) for habit in HABITS)
        lines.append(f"| {client} | {' | '.join(str(n) if n else '' for n in shown)} |")
    return "\n".join(lines)


def test_the_table_says_what_is_tested():
    check_table("trainers.md", "tests/trainers/test_matrix.py", table())
