"""The sessions of this project: `nox -l` lists them; `nox` alone runs what must pass.

Requirements are read from pyproject.toml. Frameworks are tested on CPython 3.11.
"""

import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "lint", "typing", "tests", "minimums", "formats", "adapters", "cluster", "docs"
]  # fmt: skip

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = PROJECT["project"]["optional-dependencies"]["test"]
FRAMEWORKS_PYTHON = "3.11"
# A request for any other build of PyTorch brings gigabytes of CUDA along.
TORCH = "torch==2.13.0"
# It requires torchvision, of which PyPI has no build for this torch, but does not need it.
STREAMING = "mosaicml-streaming==0.13.0"
FRAMEWORKS = "keras,tensorflow,jax,torch,openvino"
FORMATS = ("hdf5", "zarr", "arrow", "images", "remote")
FORMAT_TESTS = (
    *("hdf5", "zarr", "arrow", "images", "tar", "npy/test_npy_remote.py"),
    "test_getitem_frameworks.py",
)
# A file of tests at a time for each of two processes.
PARALLEL = ("-n", "2", "--dist", "loadfile")
# In each session that imports others of them, as it collects what can be imported there.
COLLECTION = "tests/test_collection.py"
TRAINING_BACKENDS = ["tensorflow", "jax", "torch"]
READING_BACKENDS = ["numpy", "openvino"]
# Ray starts its processes in a way that JAX warns of once it is imported.
CLUSTER_GUIDE = "docs/cluster.md"


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)  # type: ignore[no-any-return]


def found_pythons() -> list[str]:
    """The versions of CPython from 3.11 on that are installed, also by pyenv."""
    if shutil.which("pyenv"):
        listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
        versions = [v for v in listed.stdout.split() if v.startswith("3.") and v[2:4].isdigit()]
        newer = [v for v in versions if int(v.split(".")[1]) >= 11]
        os.environ["PYENV_VERSION"] = ":".join(newer)
    found = []
    for minor in range(11, 20):
        command = [f"python3.{minor}", "-c", "import sys; print(sys.implementation.name)"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except OSError:
            continue
        if done.stdout.strip() == "cpython":
            found.append(f"3.{minor}")
    return found


def found_free_threaded() -> list[str]:
    """The versions of CPython without the GIL that are installed."""
    return [f"3.{minor}t" for minor in range(13, 20) if shutil.which(f"python3.{minor}t")]


def install_frameworks(session: nox.Session, *more: str) -> None:
    session.install(TORCH)  # first and by itself, so that nothing else asks for another build
    session.install(*group("frameworks"), *group("checkpoints"), *TEST, *more)


@nox.session(python=FRAMEWORKS_PYTHON)
def lint(session: nox.Session) -> None:
    """Style, and the direction of imports."""
    session.install(*group("lint"), "numpy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": "src"})


@nox.session(python=FRAMEWORKS_PYTHON)
def typing(session: nox.Session) -> None:
    """Static types, strictly."""
    session.install(TORCH)
    session.install(*group("typing"))
    session.run("mypy")


@nox.session(python=found_pythons())
def tests(session: nox.Session) -> None:
    """The core, the readers and the executors, without any framework."""
    session.install(".[cli]", *TEST, *group("parallel"))
    session.run("pytest", *PARALLEL, *without_frameworks(), *session.posargs)


@nox.session(python=found_free_threaded(), default=False)
def free_threaded(session: nox.Session) -> None:
    """The same on CPython without the GIL, where there is one."""
    session.install("--only-binary", ":all:", *TEST)
    session.install(".")
    session.run("pytest", *without_frameworks(), "--ignore=tests/cli", *session.posargs,
                env={"PYTHON_GIL": "0"})  # fmt: skip


@nox.session(python=FRAMEWORKS_PYTHON)
def minimums(session: nox.Session) -> None:
    """The lowest versions that are allowed, of numpy, and of Keras and JAX with it."""
    lowest = ["numpy==1.26.0", "keras==3.11.0", "jax==0.4.30"]
    session.install(".[cli]", *TEST, *group("parallel"), *lowest)
    session.run("pytest", *PARALLEL, *without_frameworks(), "--ignore=tests/cli")
    session.run("pytest", "tests/adapters/test_jax.py")
    session.run("pytest", *keras_tests(), env=backend("jax"))


@nox.session(python=FRAMEWORKS_PYTHON)
@nox.parametrize("versions", ["present", "lowest"])
def formats(session: nox.Session, versions: str) -> None:
    """The formats that need an extra, and storage behind URLs, with a real S3 server."""
    lowest = lowest_versions(*FORMATS) if versions == "lowest" else []
    session.install(f".[cli,{','.join(FORMATS)}]", *TEST, *lowest)
    if versions == "present":
        session.install(TORCH)
        session.install(*group("formats"))
        more = ["tests/storage", "tests/packing", "tests/test_formats.py", "tests/cli"]
        more += ["--ignore=tests/cli/test_demo.py", COLLECTION]
    else:
        session.install(*group("server"))
        more = ["tests/storage/remote/test_remote.py"]
    session.run("pytest", *format_tests(), *more, *session.posargs)


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def azure(session: nox.Session) -> None:
    """gs:// and az://, the latter on Microsoft's emulator: 190 MB, which need npm."""
    session.install(".[remote]", *group("server"), *TEST)
    folder = os.path.abspath(session.create_tmp())
    session.run("npm", "install", "--prefix", folder, "azurite@3", external=True)
    path = os.pathsep.join([os.path.join(folder, "node_modules", ".bin"), os.environ["PATH"]])
    tests = "tests/storage/remote/test_google_and_azure.py"
    session.run("pytest", tests, *session.posargs, env={"PATH": path})


@nox.session(python=FRAMEWORKS_PYTHON)
def adapters(session: nox.Session) -> None:
    """Each framework, and Keras on each of its backends, in a process of its own."""
    install_frameworks(session, ".[demo,images]")
    asked = {"HEADRACE_FRAMEWORKS": FRAMEWORKS}
    session.run("pytest", *torch_tests(), "tests/test_imports.py", COLLECTION, env=asked)
    session.run(
        "pytest", "tests/adapters/test_jax.py", "tests/adapters/test_jax_state.py", env=asked
    )
    for name in TRAINING_BACKENDS + READING_BACKENDS:
        session.run("pytest", *keras_tests(), env=backend(name))
    session.run("pytest", keras_images(), env=backend("tensorflow"))
    session.run("pytest", "tests/cli/test_demo.py", env=backend("jax"))


@nox.session(python=FRAMEWORKS_PYTHON)
def cluster(session: nox.Session) -> None:
    """Ranks of each framework in processes of their own, and Ray on a cluster of two nodes."""
    session.install(TORCH)
    session.install(".[ray,keras,jax,torch]", *group("cluster"), *group("docs"), *TEST)
    session.run("pytest", "tests/ranks", env=backend("jax"))
    session.run("pytest", "tests/cluster", COLLECTION, env=backend("jax"))
    session.run("pytest", CLUSTER_GUIDE, "-p", "no:cacheprovider", env=backend("jax"))


@nox.session(python=FRAMEWORKS_PYTHON)
def docs(session: nox.Session) -> None:
    """The code in the README, the guides and the docstrings."""
    session.install(TORCH)
    session.install(f".[demo,{','.join(FORMATS)}]", *group("docs"), *group("checkpoints"))
    pages = ["README.md", "docs", "src", f"--ignore={CLUSTER_GUIDE}"]
    session.run("pytest", *pages, "-p", "no:cacheprovider", env=backend("jax"))


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def demo(session: nox.Session) -> None:
    """The main job, on scikit-learn's digits."""
    session.install(".[demo]")
    session.run("headrace", "demo", *session.posargs)


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def bench(session: nox.Session) -> None:
    """All benchmarks, or the parts named: `nox -s bench -- files keras --quick`."""
    session.install(TORCH)
    # One by one, as a peer that can't be installed is named as missing by the benchmark.
    for requirement in group("bench"):
        session.install(requirement, success_codes=[0, 1])
    session.install("--no-deps", STREAMING, success_codes=[0, 1])
    session.install(f".[{','.join(FORMATS)}]")
    session.run("python", "benchmarks/suite.py", *session.posargs)


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def changelog(session: nox.Session) -> None:
    """CHANGELOG.md with the changes since the last release, whose fragments stay."""
    session.install(*group("release"))
    drop_unreleased_changes()
    session.run("towncrier", "build", "--keep", "--version", version(), "--date", "unreleased")


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def build(session: nox.Session) -> None:
    """A wheel and an sdist in dist/, checked for what they hold."""
    session.install(*group("release"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    [wheel], [sdist] = Path("dist").glob("*.whl"), Path("dist").glob("*.tar.gz")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    problems = wheel_problems(wheel) + sdist_problems(sdist)
    if problems:
        session.error("; ".join(problems))


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def release(session: nox.Session) -> None:
    """Dates the changes of this version, uses up their fragments, and says what is left to do."""
    session.install(*group("release"))
    drop_unreleased_changes()
    session.run("towncrier", "build", "--yes", "--version", version())
    session.log("Now run:")
    session.log(f"git commit -m 'Version {version()}' && git tag v{version()}")
    session.log("nox -s build && twine upload dist/* && git push --follow-tags")


def version() -> str:
    found = re.search(r'__version__ = "(.+)"', Path("src/headrace/__init__.py").read_text())
    assert found, "src/headrace/__init__.py says no version"
    return found[1]


def drop_unreleased_changes() -> None:
    """Takes what an earlier run of `changelog` has written out of CHANGELOG.md."""
    path = Path("CHANGELOG.md")
    start = "<!-- towncrier release notes start -->\n"
    head, marker, released = path.read_text().partition(start)
    unreleased = re.compile(r"\A\s*## \S+ \(unreleased\)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    path.write_text(head + marker + unreleased.sub("\n", released))


def wheel_problems(path: Path) -> list[str]:
    """Why the wheel must not be given away: tests in it, or something missing."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    tests = [name for name in names if re.search(r"(^|/)(tests/|test_|conftest)", name)]
    others = [name for name in names if not re.match(r"headrace(-[^/]*\.dist-info)?/", name)]
    found = [f"the wheel holds {name}" for name in (*tests, *others)]
    needed = ("headrace/__init__.py", "headrace/py.typed", "licenses/LICENSE")
    return found + [
        f"the wheel lacks {name}" for name in needed if not any(n.endswith(name) for n in names)
    ]


def sdist_problems(path: Path) -> list[str]:
    """Why the sdist must not be given away: it lacks what its tests, docs or build need."""
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    left_out = re.compile(r"\.ci/")
    needed = [name for name in tracked.stdout.splitlines() if not left_out.match(name)]
    return [f"the sdist lacks {name}" for name in needed if name not in names]


def without_frameworks() -> list[str]:
    return [f"--ignore=tests/{folder}" for folder in ("adapters", "ranks", "cluster")]


def format_tests() -> list[str]:
    """The tests of readers that need an extra."""
    return [f"tests/readers/{name}" for name in FORMAT_TESTS]


def lowest_versions(*extras: str) -> list[str]:
    """The requirements of the extras, each at the lowest version that it allows."""
    optional = PROJECT["project"]["optional-dependencies"]
    return [one.replace(">=", "==") for extra in extras for one in optional[extra]]


def torch_tests() -> list[str]:
    return [f"tests/adapters/test_torch{part}.py" for part in ("", "_device", "_state")]


def keras_tests() -> list[str]:
    return [
        f"tests/adapters/keras/test_{part}.py"
        for part in ("passes", "dataset", "resume", "saved_training")
    ]


def keras_images() -> str:
    return "tests/adapters/keras/test_images.py"


def backend(name: str) -> dict[str, str]:
    return {"KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
