"""What `import headrace` loads, and what is said when something is not installed."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

OPTIONAL = [
    *("keras", "torch", "jax", "tensorflow", "ray", "scipy", "sklearn", "typer", "rich", "pandas"),
]


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


def loaded_by(statement):
    """The top-level packages, beyond the standard library, that the statement loads."""
    script = f"""
        import sys
        before = {{name.partition(".")[0] for name in sys.modules}}
        {statement}
        after = {{name.partition(".")[0] for name in sys.modules}}
        print(*sorted(after - before - set(sys.stdlib_module_names)))
    """
    done = run(script)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_headrace_loads_numpy_alone():
    assert loaded_by("import headrace") - loaded_by("import numpy.random") == {"headrace"}


def test_using_it_loads_no_framework():
    statement = (
        "import headrace as hr, numpy as np; "
        "loader = hr.Loader(np.arange(9), batch_size=2, executor=hr.Threads(2)); "
        "list(loader); loader.state_dict(); loader.close()"
    )
    assert not loaded_by(statement) & set(OPTIONAL)


@pytest.mark.parametrize(
    "package", [name for name in ("jax", "torch", "scipy") if importlib.util.find_spec(name)]
)
def test_the_proof_would_show_a_package_that_is_loaded(package):
    assert package in loaded_by(f"import {package}")


@pytest.mark.parametrize(
    ("package", "extra", "statement"),
    [
        ("keras", "keras", "loader.to_keras()"),
        ("keras", "keras", "from headrace.adapters.keras import DataGenerator"),
        ("torch", "torch", "loader.to_torch()"),
        ("jax", "jax", "loader.to_jax()"),
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
    done = run(script)
    assert done.returncode == 0, done.stderr
    hidden, message = done.stdout.splitlines()
    assert hidden == "hidden"
    assert message.startswith("MissingExtraError headrace.adapters.")
    assert message.endswith(f"Install it with: pip install 'headrace[{extra}]'")


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
