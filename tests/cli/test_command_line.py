"""The command line as a user meets it: in a process of its own."""

import importlib.util
from importlib.metadata import entry_points

import pytest
from other_python import printed_by, run_python, run_script

import headrace as hr


def run_without(packages, *arguments):
    """The command line, where the packages can't be imported; and which of them that hid."""
    script = f"""
import sys
hidden = []
for package in {packages!r}:
    sys.modules[package] = None  # an import of it now fails as if it were not installed
    try:
        __import__(package)
    except ModuleNotFoundError:
        hidden.append(package)
print("hidden:", *hidden)
from headrace.cli import main
sys.argv = ["headrace", *{arguments!r}]
sys.exit(main())
"""
    done = run_script(script)
    assert done.stdout.splitlines()[:1] == [" ".join(["hidden:", *packages])]
    return done


def assert_one_error(done, *parts):
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    for part in parts:
        assert part in line


def test_importing_it_imports_nothing_that_is_optional():
    optional = ["typer", "rich", "keras", "sklearn", "torch", "jax", "tensorflow"]
    script = f"import sys, headrace.cli; print([p for p in {optional!r} if p in sys.modules])"
    assert printed_by(script).strip() == "[]"


@pytest.mark.parametrize("package", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [["--version"], ["demo"], []])
def test_without_its_packages_it_names_their_extra(package, arguments):
    pytest.importorskip("typer")
    done = run_without([package], *arguments)
    assert_one_error(done, f"needs {package}, which is not", "pip install 'headrace[cli]'")


@pytest.mark.parametrize(
    ("packages", "named"),
    [
        (["keras"], "Keras"),
        (["sklearn"], "scikit-learn"),
        (["jax", "tensorflow", "torch"], "a backend of Keras"),
    ],
)
def test_the_demo_without_its_packages_names_their_extra(packages, named, monkeypatch):
    for needed in ("typer", "sklearn", "keras"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"the demo needs {needed}, which is not installed")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    done = run_without(packages, "demo")
    assert_one_error(done, "headrace demo", f"needs {named}", "pip install 'headrace[demo]'")


def test_a_failing_import_of_its_own_is_not_taken_for_a_missing_extra():
    pytest.importorskip("typer")
    done = run_without(["headrace.cli.app"])
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr


class TestWithItsPackages:
    @pytest.fixture(autouse=True)
    def _needs_typer(self):
        pytest.importorskip("typer", reason="the command line needs typer and rich")

    def test_version(self):
        done = run_python("-m", "headrace", "--version")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"headrace {hr.__version__}\n"

    @pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
    def test_alone_it_shows_help(self, arguments):
        done = run_python("-m", "headrace", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "demo" in done.stdout
        assert "--version" in done.stdout

    def test_the_help_of_the_demo_names_its_extra(self):
        # Brackets are markup to rich, which would leave them out.
        assert (
            "pip install 'headrace[demo]'" in run_python("-m", "headrace", "demo", "--help").stdout
        )

    def test_an_unknown_command_is_a_usage_error(self):
        done = run_python("-m", "headrace", "dmeo")
        assert done.returncode == 2
        assert "dmeo" in done.stderr

    def test_the_script_runs_the_same(self):
        scripts = entry_points(group="console_scripts", name="headrace")
        if not scripts:
            pytest.skip("headrace was installed before it had a script, or is not installed")
        (script,) = scripts
        assert script.value == "headrace.cli:main"
