"""What mypy and pyright tell users of the batches that their loaders give."""

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


def run(*command):
    """What a checker prints, which finds headrace in src, whether it is installed or not."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1 is that there are errors
    return done.stdout


def mypy_errors(path):
    """The lines of the file in which mypy finds errors, each with what it says."""
    printed = run("mypy", "--no-error-summary", "--hide-error-context", path)
    found = re.findall(r"^(.+?):(\d+): error: (.+)$", printed, re.MULTILINE)
    assert {name for name, _, _ in found} <= {str(path.relative_to(ROOT)), str(path)}, printed
    return {int(line): message for _, line, message in found}


def pyright_errors(path):
    printed = run("pyright", "--pythonpath", sys.executable, "--outputjson", path)
    report = json.loads(printed)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        one["range"]["start"]["line"] + 1: one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


@pytest.fixture(params=["mypy", "pyright"])
def errors_in(request):
    pytest.importorskip(request.param, reason="static checkers are there in the typing session")
    return {"mypy": mypy_errors, "pyright": pyright_errors}[request.param]


def test_a_user_is_told_the_types_of_batches(errors_in):
    assert errors_in(RIGHT) == {}


def test_a_user_is_told_what_is_wrong(errors_in):
    lines = WRONG.read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert sorted(errors_in(WRONG)) == wrong
