"""What mypy and pyright tell users of the batches that their loaders give.

mypy reads all of src, and so is told to check it as well.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = Path(__file__).with_name("user_code.py")
WRONG = Path(__file__).with_name("wrong_user_code.py")


def printed_by(*command):
    """What a checker prints of both files; it finds headrace in src, installed or not."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", *command, str(RIGHT), str(WRONG)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # as there are errors
    return done.stdout


def errors_of_mypy():
    """(file, line, message) of each error."""
    # Without a cache, as another mypy may be writing to it.
    options = ("--show-absolute-path", f"--cache-dir={os.devnull}")
    printed = printed_by("mypy", *options, str(ROOT / "src/headrace"))
    found = re.findall(r"^(.+?):(\d+): error: (.+)$", printed, re.MULTILINE)
    return [(Path(file), int(line), message) for file, line, message in found]


def errors_of_pyright():
    """(file, line, message) of each error."""
    report = json.loads(printed_by("pyright", "--pythonpath", sys.executable, "--outputjson"))
    assert report["summary"]["filesAnalyzed"] == 2
    return [
        (Path(one["file"]), one["range"]["start"]["line"] + 1, one["message"])
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    ]


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def errors(request):
    pytest.importorskip(request.param, reason="static checkers are there in the typing session")
    return {"mypy": errors_of_mypy, "pyright": errors_of_pyright}[request.param]()


def test_a_user_is_told_the_types_of_batches_and_src_has_no_errors(errors):
    assert [error for error in errors if error[0] != WRONG] == []


def test_a_user_is_told_what_is_wrong(errors):
    lines = WRONG.read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert sorted({line for file, line, _ in errors if file == WRONG}) == wrong
