"""Which backend Keras runs on in the demo, chosen and prepared before Keras is imported.

Requires nothing; promises to name what is not installed together with the extra that brings it.
"""

import contextlib
import importlib.util
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from headrace.errors import bad_value, missing_extra

BACKENDS = ("jax", "tensorflow", "torch")

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_NO_INFO = "2"
# How the library logs information, and how it introduces its log.
_INFO = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\)")


def choose_backend() -> str:
    """The backend of Keras, set for its import if the user has not chosen one.

    Raises:
        MissingExtraError: scikit-learn, Keras or each of its backends is not installed.
        ArgumentError: the user has chosen a backend that can't train here.
    """
    for module, package in (("sklearn", "scikit-learn"), ("keras", "Keras")):
        if not is_installed(module):
            raise missing_extra("headrace demo", package, "demo")
    usable = [name for name in BACKENDS if is_installed(name)]
    if not usable:
        raise missing_extra("headrace demo", "a backend of Keras, such as JAX", "demo")
    chosen = os.environ.get("KERAS_BACKEND") or usable[0]
    if chosen not in usable:
        raise bad_value(
            "KERAS_BACKEND",
            chosen,
            f"a backend that trains and is installed, here {' or '.join(usable)}",
            "Set it to one of those, or leave it unset.",
        )
    os.environ["KERAS_BACKEND"] = chosen
    return chosen


def import_keras(backend: str, seed: int) -> ModuleType:
    """Keras on `backend`, with its random numbers seeded."""
    quiet = backend == "tensorflow" and _LOG_LEVEL not in os.environ
    if quiet:
        os.environ[_LOG_LEVEL] = _NO_INFO
    with _without_info() if quiet else contextlib.nullcontext():
        import keras
    # Keras draws its seeds from here. keras.utils.set_random_seed would import each framework.
    random.seed(seed)
    if backend == "torch":
        import torch

        torch.manual_seed(seed)
        # Layers as small as the demo's take several times as long on many threads.
        torch.set_num_threads(1)
    module: ModuleType = keras
    return module


def is_installed(module: str) -> bool:
    """Whether `module` can be imported, without the seconds that importing it may take."""
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder of that name has no origin


@contextlib.contextmanager
def _without_info() -> Iterator[None]:
    """Drops information that C++ logs meanwhile; tensorflow's level comes too late for some."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            for line in log:
                if not _INFO.match(line):
                    os.write(2, line)
