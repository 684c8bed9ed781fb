"""What JAX compiles is kept for the run: its tests train the same models many times."""

import atexit
import contextlib
import os
import tempfile
from importlib import metadata

with contextlib.suppress(metadata.PackageNotFoundError):
    # JAX 0.4.30 crashes over some of what it has kept.
    if not metadata.version("jax").startswith("0.4."):
        # For this run alone, as JAX writes files in place, which another run would read.
        compiled = tempfile.TemporaryDirectory(prefix="headrace-jax-")
        atexit.register(compiled.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
