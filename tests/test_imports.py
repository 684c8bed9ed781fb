"""What `import headrace` loads, its public names, and what is said when something is missing."""

import ast
import importlib.util
import os
import pickle
import sys
from pathlib import Path

import pytest
from other_python import printed_by, run_script

import headrace

OPTIONAL = {
    *("keras", "torch", "jax", "tensorflow", "ray", "scipy", "sklearn", "typer", "rich", "pandas"),
}
# What takes long to load, and is of use to some programs alone.
COSTLY = {
    *("asyncio", "ssl", "socket", "subprocess", "zipfile", "logging", "concurrent.futures"),
    *("multiprocessing", "sqlite3", "tempfile"),
}
ROOT = Path(headrace.__file__).parent
# The packages whose names are imported when they are first used.
LAZY = {
    ".".join(("headrace", *path.relative_to(ROOT).parts[:-1])): path
    for path in sorted(ROOT.rglob("__init__.py"))
    if "lazy_names(" in path.read_text(encoding="utf-8")
}


def modules_loaded_by(statement, after="pass"):
    """The modules that the statement loads, besides those that `after` has loaded."""
    script = f"""
        import sys
        {after}
        before = set(sys.modules)
        {statement}
        print(*sorted(set(sys.modules) - before))
    """
    return set(printed_by(script).split())


def loaded_by(statement):
    """The top-level packages, beyond the standard library, that the statement loads."""
    loaded = {name.partition(".")[0] for name in modules_loaded_by(statement)}
    return loaded - sys.stdlib_module_names


def test_headrace_loads_numpy_alone():
    assert loaded_by("import headrace") - loaded_by("import numpy.random") == {"headrace"}


USUAL = "import headrace as hr; hr.Loader; hr.NpyFiles; hr.Threads"


def test_the_usual_names_load_nothing_costly():
    loaded = modules_loaded_by(USUAL, after="import numpy")
    assert {"headrace.loader", "headrace.readers.npy.npy_files"} <= loaded
    assert not loaded & (COSTLY | OPTIONAL)


def test_the_proof_would_show_what_is_costly():
    imports = "".join(f"; import {module}" for module in sorted(COSTLY))
    assert modules_loaded_by(USUAL + imports, after="import numpy") >= COSTLY


def test_another_executor_or_format_is_loaded_when_it_is_used():
    loaded = modules_loaded_by(USUAL)
    for module in ("executors.ray.ray", "executors.processes.pool", "readers.zarr.zarr"):
        assert f"headrace.{module}" not in loaded
    loaded = modules_loaded_by(f"{USUAL}; hr.Zarr; hr.Ray")
    assert {"headrace.readers.zarr.zarr", "headrace.executors.ray.ray"} <= loaded
    assert "ray" not in loaded


class TestPublicNames:
    @pytest.mark.parametrize("package", LAZY)
    def test_the_lists_agree(self, package):
        """The names for type checkers, the lazy ones and `__all__` are the same."""
        tree = ast.parse(LAZY[package].read_text(encoding="utf-8"))
        (block,) = [node for node in tree.body if isinstance(node, ast.If)]
        assert ast.unparse(block.test) == "TYPE_CHECKING"
        checked = imported(block.body)
        (call,) = [node.value for node in block.orelse]
        assert ast.unparse(call.func) == "lazy_names"
        assert ast.literal_eval(call.args[1]) == checked
        lazy = [name for names in checked.values() for name in names]
        eager = [name for names in imported(tree.body).values() for name in names]
        ours = set(eager) - {"TYPE_CHECKING", "lazy_names"}
        assert len(lazy) == len(set(lazy))
        assert sorted({*lazy, *ours}) == sorted(listed_in(package))

    @pytest.mark.parametrize("package", LAZY)
    def test_a_new_process_finds_every_one(self, package):
        if package == "headrace.adapters.keras" and not importlib.util.find_spec("keras"):
            pytest.skip("Keras is not installed")
        script = f"""
            import {package} as package
            listed = dir(package)
            print(*(getattr(package, name).__name__ for name in package.__all__))
            assert set(package.__all__) <= set(listed)
            package.Npy
        """
        fastest = {"KERAS_BACKEND": "numpy"}
        done = run_script(script, environment=fastest)
        assert done.stdout.split() == listed_in(package)
        (*_, last) = done.stderr.splitlines()
        assert last.startswith(f"AttributeError: module {package!r} has no attribute 'Npy'")

    def test_all_of_them_can_be_imported_at_once(self):
        names = {}
        exec("from headrace import *", names)
        assert set(headrace.__all__) <= set(names)

    @pytest.mark.parametrize("package", ["headrace", "headrace.readers"])
    def test_a_pickle_may_name_them(self, package):
        script = f"import pickle; print(pickle.loads(b'c{package}\\nNpyFiles\\n.').__name__)"
        done = run_script(script)
        assert (done.stdout, done.stderr) == ("NpyFiles\n", "")
        assert pickle.loads(pickle.dumps(headrace.NpyFiles)) is headrace.NpyFiles


def listed_in(package):
    """Its `__all__`, without importing it."""
    (listed,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(LAZY[package].read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return listed


def imported(nodes):
    """What these statements import: names by module."""
    return {
        node.module: [name.name for name in node.names]
        for node in nodes
        if isinstance(node, ast.ImportFrom)
    }


def test_using_it_loads_no_framework():
    statement = (
        "import headrace as hr, numpy as np; "
        "loader = hr.Loader(np.arange(9), batch_size=2, executor=hr.Threads(2)); "
        "list(loader); loader.state_dict(); loader.close()"
    )
    assert not loaded_by(statement) & OPTIONAL


def test_the_proof_would_show_a_package_that_is_loaded():
    assert "scipy" in loaded_by("import scipy")


@pytest.mark.parametrize(
    ("package", "extra", "statement"),
    [
        ("keras", "keras", "loader.to_keras()"),
        ("keras", "keras", "from headrace.adapters.keras import DataGenerator"),
        ("torch", "torch", "loader.to_torch()"),
        ("jax", "jax", "loader.to_jax()"),
        ("ray", "ray", "hr.Ray()"),
    ],
)
def test_a_missing_package_is_an_error_that_names_its_extra(package, extra, statement):
    script = f"""
        import sys
        sys.modules[{package!r}] = None  # an import of it now fails as if it were not installed
        try:
            import {package}
        except ModuleNotFoundError:
            print("hidden")
        import headrace as hr, numpy as np
        loader = hr.Loader(np.arange(4), batch_size=2)
        try:
            {statement}
        except ImportError as error:
            print(type(error).__name__, error)
    """
    hidden, message = printed_by(script).splitlines()
    assert hidden == "hidden"
    assert message.startswith("MissingExtraError headrace.")
    assert message.endswith(f"Install it with: pip install 'headrace[{extra}]'")


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_missing_backend_of_keras_is_named_and_not_keras(backend):
    pytest.importorskip("keras", reason="needs headrace[keras]")
    script = f"""
        import os, sys
        os.environ["KERAS_BACKEND"] = {backend!r}
        sys.modules[{backend!r}] = None
        import headrace as hr, numpy as np
        try:
            hr.Loader(np.arange(4), batch_size=2).to_keras()
        except ImportError as error:
            print(type(error).__name__, error)
    """
    said = printed_by(script)
    assert said.startswith(
        f"MissingExtraError Keras can't be imported, as {backend!r} is not installed"
    )
    assert "KERAS_BACKEND" in said


def test_frameworks_that_are_asked_for_are_there():
    # HEADRACE_FRAMEWORKS lists those whose tests must run; others may be missing, and are named.
    asked = [name for name in os.environ.get("HEADRACE_FRAMEWORKS", "").split(",") if name]
    missing = [name for name in asked if importlib.util.find_spec(name) is None]
    assert missing == []
    untested = [
        name
        for name in ("keras", "tensorflow", "jax", "torch", "openvino")
        if importlib.util.find_spec(name) is None
    ]
    if untested:
        pytest.skip(f"not installed, so not tested: {', '.join(untested)}")
