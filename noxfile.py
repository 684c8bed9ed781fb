"""The sessions of this project: `nox -l` lists them; `nox` alone runs what must pass.

The newest CPython runs the tests with numpy alone, the oldest one with the lowest versions that are
allowed. All that needs present versions of frameworks and formats shares one environment, as it
takes longer to install PyTorch, TensorFlow and Ray several times than to test with them; it runs
beside the others. Requirements are read from pyproject.toml.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nox

# Hundreds of processes import a framework; only the first one has to compile it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = PROJECT["project"]["optional-dependencies"]["test"]
FRAMEWORKS_PYTHON = "3.11"
# A request for any other build of PyTorch brings gigabytes of CUDA along.
TORCH = "torch==2.13.0"
# It requires torchvision, of which PyPI has no build for this torch, but does not need it.
STREAMING = "mosaicml-streaming==0.13.0"
FRAMEWORKS = "keras,tensorflow,jax,torch,openvino"
FORMATS = ("hdf5", "zarr", "arrow", "images", "turbo", "opencv", "audio", "tfrecord", "remote")
GETITEM = "tests/readers/test_getitem_frameworks.py"
COLLECTION = "tests/test_collection.py"
DEMO = "tests/cli/test_demo.py"
# What Keras does with TensorFlow on any backend.
KERAS_ONCE = (
    "tests/adapters/keras/test_images.py",
    "tests/adapters/keras/test_timeseries.py",
)
# What each backend that trains runs among the trainers.
KERAS_TRAINS = "tests/trainers/test_keras.py"
# A file of tests at a time for each of two processes.
PARALLEL = ("-n", "2", "--dist", "loadfile")
# Of what all versions have in common, fewer examples; the other sessions have all of them.
FEW = ("--hypothesis-profile=few", "--ignore=tests/sampling/test_statistics.py")
FEW_CASES = {"HEADRACE_CASES": "few"}
# What needs no format, and has been tested without any, and with the lowest versions.
WITHOUT_FORMATS = (
    "tests/readers/files",
    "tests/readers/jsonl",
    "tests/readers/npy/test_header.py",
    "tests/readers/npy/test_npy_f*",
    "tests/readers/npy/test_npy_shards.py",
    "tests/readers/npy/test_npz_files.py",
    "tests/readers/shared/test_block_cache.py",
    "tests/readers/views/test_concat.py",
    "tests/readers/views/test_subset.py",
    "tests/storage/local",
    "tests/storage/cache/test_cache.py",
    "tests/storage/test_coalesce.py",
)
# What a framework must be there for. The backends of Keras, and JAX, need processes of their own.
FRAMEWORK_TESTS = (
    "adapters/keras",
    "adapters/test_torch*",
    "adapters/test_jax*",
    "ranks",
    "cluster",
    "trainers/test_[a-l]*",
    "trainers/test_[n-z]*",
)
TRAINING_BACKENDS = ("jax", "tensorflow", "torch")
READING_BACKENDS = ("numpy", "openvino")
# Ray starts its processes in a way that JAX warns of once it is imported.
CLUSTER_GUIDE = "docs/cluster.md"


class Run(NamedTuple):
    """A command in a process of its own, which keeps about one core busy."""

    command: tuple[str, ...]
    env: dict[str, str] = {}


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)  # type: ignore[no-any-return]


TYPING = group("typing")
WITH_FORMATS = (f".[cli,{','.join(FORMATS)}]", *group("formats"), *TEST)
ADAPTERS = (".[demo,turbo,opencv]", *group("frameworks"), *group("checkpoints"), *TEST)
CLUSTER = (".[ray,keras,jax,torch]", *group("cluster"), *group("docs"), *TEST)
TRAINERS = (
    *group("trainers"),
    ".[keras,jax,ray,torch]",
    *group("frameworks"),
    *group("cluster"),
    *group("checkpoints"),
    *TEST,
)
DOCS = (
    *group("trainers"),
    f".[demo,{','.join(FORMATS)}]",
    *group("docs"),
    *group("kinds"),
    *group("checkpoints"),
)


@functools.cache
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


def install(session: nox.Session, *requirements: str) -> None:
    """Installs them, without bytecode: most of what is in a framework is never imported."""
    session.install("--no-compile", *requirements)


def install_with_torch(session: nox.Session, *requirements: str) -> None:
    install(session, TORCH)  # first and by itself, so that nothing else asks for another build
    install(session, *requirements)


def pytest(*arguments: str, **env: str) -> Run:
    return Run(("pytest", "-p", "no:cacheprovider", *arguments), env)


def two_at_a_time(session: nox.Session, *runs: Run) -> None:
    """Runs them in that order, two at a time, and shows what each has said once it ends."""
    failed = []

    def output_of(run: Run) -> str:
        with tempfile.TemporaryFile("w+") as output:  # no pipe, which a child left over would hold
            try:
                session.run(*run.command, env=run.env, stdout=output)
            except nox.command.CommandFailed:
                failed.append(" ".join(run.command))
            output.seek(0)
            return output.read()

    with ThreadPoolExecutor(2) as pool:
        for done in as_completed([pool.submit(output_of, run) for run in runs]):
            print(done.result(), flush=True)
    if failed:
        session.error("These have failed:\n" + "\n".join(failed))


@nox.session(name="all", python=False)
def all_of_them(session: nox.Session) -> None:
    """What must pass: lint, tests with the newest CPython, lowest; and beside them, present."""
    newest = [f"tests-{version}" for version in found_pythons()[-1:]]
    halves = [["present"], ["lint", *newest, "lowest"]]

    def fails(sessions: list[str]) -> bool:
        command = [sys.executable, "-m", "nox", "-s", *sessions, "--", *session.posargs]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout or ():  # whole ones, so that those of the two do not mix
                print(line, end="", flush=True)
        return process.returncode != 0

    # Installing keeps one core busy, and tests that wait none.
    with ThreadPoolExecutor(2) as pool:
        if any(list(pool.map(fails, halves))):
            session.error("A session has failed.")


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def lint(session: nox.Session) -> None:
    """Style, and the direction of imports."""
    install(session, *group("lint"), "numpy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": "src"})


@nox.session(python=found_pythons(), default=False)
def tests(session: nox.Session) -> None:
    """The core, the readers and the executors, without any framework or format."""
    install(session, ".[cli]", *TEST, *group("parallel"))
    session.run("pytest", *PARALLEL, *without_frameworks(), *session.posargs)


@nox.session(python=found_free_threaded(), default=False)
def free_threaded(session: nox.Session) -> None:
    """The same on CPython without the GIL, where there is one."""
    session.install("--only-binary", ":all:", *TEST)
    session.install(".")
    session.run("pytest", *without_frameworks(), "--ignore=tests/cli", *session.posargs,
                env={"PYTHON_GIL": "0"})  # fmt: skip


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def lowest(session: nox.Session) -> None:
    """The same with the lowest versions that are allowed, and with formats, and Keras on JAX."""
    lowest = ["numpy==1.26.0", *lowest_versions("keras", "jax", *FORMATS)]
    install(session, ".[cli]", *TEST, *group("parallel"), *group("server"), *lowest)
    tests = [*FEW, *without_frameworks(), "--ignore=tests/cli"]
    session.run("pytest", *PARALLEL, *tests, *session.posargs)
    keras = pytest(*keras_tests(), KERAS_TRAINS, **backend("jax"), **FEW_CASES)
    two_at_a_time(session, keras, pytest(*files("test_jax"), "tests/trainers/test_jax.py"))


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def present(session: nox.Session) -> None:
    """typing, formats, adapters, cluster, trainers and docs, in one environment."""
    install_with_torch(session, *TYPING, *WITH_FORMATS, *ADAPTERS, *CLUSTER, *TRAINERS, *DOCS)
    # Those that take longest first, and those of several processes last.
    runs = [*adapter_runs(), *format_runs(), *docs_runs(), *cluster_runs(), *typing_runs()]
    runs += [*trainer_runs(), *lowest_trainer_runs(session)]
    two_at_a_time(session, *runs, pytest(COLLECTION, **backend("jax")))


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def typing(session: nox.Session) -> None:
    """Static types, strictly."""
    install_with_torch(session, *TYPING)
    two_at_a_time(session, *typing_runs())


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def formats(session: nox.Session) -> None:
    """The formats that need an extra, and storage behind URLs, with a real S3 server."""
    install_with_torch(session, *WITH_FORMATS)
    two_at_a_time(session, *format_runs())


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def adapters(session: nox.Session) -> None:
    """Each framework, and Keras on each of its backends, in a process of its own."""
    install_with_torch(session, *ADAPTERS)
    two_at_a_time(session, *adapter_runs())


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def cluster(session: nox.Session) -> None:
    """Ranks of each framework in processes of their own, and Ray on a cluster of two nodes."""
    install_with_torch(session, *CLUSTER)
    two_at_a_time(session, *cluster_runs())


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def trainers(session: nox.Session) -> None:
    """Loaders in trainers that others wrote, also in two processes."""
    install_with_torch(session, *TRAINERS)
    two_at_a_time(session, *trainer_runs(), *lowest_trainer_runs(session))


def lowest_trainer_runs(session: nox.Session) -> list[Run]:
    """Of the trainers, the others have no older version with which all is right.

    They lie in a folder of their own, so that the other runs need not wait for them.
    """
    folder = os.path.join(session.virtualenv.location, "lowest-trainers")
    names = ("lightning", "ray")
    found = [one for one in (*group("trainers"), *group("cluster")) if one.startswith(names)]
    lowest = [one.replace(">=", "==") for one in found]
    install(session, "--upgrade", "--no-deps", "--target", folder, *lowest)
    return [run._replace(env={**run.env, "PYTHONPATH": folder}) for run in trainer_runs(*names)]


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def docs(session: nox.Session) -> None:
    """The code in the README, the guides and the docstrings."""
    install_with_torch(session, *DOCS)
    two_at_a_time(session, *docs_runs())


def typing_runs() -> list[Run]:
    return [pytest("tests/typing")]


def format_runs() -> list[Run]:
    ignored = [f"--ignore-glob={pattern}" for pattern in (*WITHOUT_FORMATS, GETITEM)]
    return [
        pytest("tests/storage", *ignored),
        pytest("tests/readers", "tests/test_formats.py", "tests/test_faults.py", *ignored),
        pytest("tests/cli", "tests/packing", f"--ignore={DEMO}"),
        pytest(GETITEM),  # which imports a framework
    ]


def adapter_runs() -> list[Run]:
    asked = {"HEADRACE_FRAMEWORKS": FRAMEWORKS}
    return [
        *(pytest(*keras_tests(), **backend(name)) for name in TRAINING_BACKENDS),
        pytest(*files("test_torch"), "tests/test_imports.py", **asked),
        pytest(*files("test_jax")),
        *(pytest(*keras_tests(), **backend(name)) for name in READING_BACKENDS),
        pytest(*KERAS_ONCE, **backend("tensorflow")),
        pytest(DEMO, **backend("jax")),
    ]


def docs_runs() -> list[Run]:
    return [
        pytest("README.md", "docs", "src", f"--ignore={CLUSTER_GUIDE}", **backend("jax")),
    ]


def trainer_runs(*clients: str) -> list[Run]:
    """Each client in a process of its own, as they set up the frameworks for themselves."""
    found = sorted(Path("tests/trainers").glob("test_*.py"))
    found.sort(key=lambda file: "ray" not in file.name)  # which takes longest
    asked = [file for file in found if not clients or any(name in file.name for name in clients)]
    return [
        pytest(str(file), **backend(name))
        for file in asked
        for name in (TRAINING_BACKENDS if str(file) == KERAS_TRAINS else ("jax",))
    ]


def cluster_runs() -> list[Run]:
    return [
        pytest("tests/cluster", **backend("jax")),
        pytest("tests/ranks", **backend("jax")),
        pytest(CLUSTER_GUIDE, **backend("jax")),
    ]


@nox.session(python=FRAMEWORKS_PYTHON, default=False)
def azure(session: nox.Session) -> None:
    """s3://, gs:// and az://, the last on Microsoft's emulator: 190 MB, which need npm."""
    session.install(".[remote]", *group("server"), *TEST)
    folder = os.path.abspath(session.create_tmp())
    session.run("npm", "install", "--prefix", folder, "azurite@3", external=True)
    path = os.pathsep.join([os.path.join(folder, "node_modules", ".bin"), os.environ["PATH"]])
    tests = "tests/storage/remote/test_each_store.py"
    session.run("pytest", tests, *session.posargs, env={"PATH": path})


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
    """Leaves out what needs one, and what is to be run where all tests can be imported."""
    left_out = (*FRAMEWORK_TESTS, Path(COLLECTION).name)
    return [f"--ignore-glob=tests/{pattern}" for pattern in left_out]


def lowest_versions(*extras: str) -> list[str]:
    """The requirements of the extras, each at the lowest version that it allows."""
    optional = PROJECT["project"]["optional-dependencies"]
    return [one.replace(">=", "==") for extra in extras for one in optional[extra]]


def files(start: str) -> list[str]:
    """The files of adapters' tests whose names begin so."""
    return sorted(str(path) for path in Path("tests/adapters").glob(f"{start}*.py"))


def keras_tests() -> list[str]:
    """Those that each backend runs."""
    found = sorted(str(path) for path in Path("tests/adapters/keras").glob("test_*.py"))
    return [path for path in found if path not in KERAS_ONCE]


def backend(name: str) -> dict[str, str]:
    return {"KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
