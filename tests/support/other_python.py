"""Python in a process of its own."""

import os
import subprocess
import sys
import textwrap


def run_python(*arguments, timeout=500, environment=None, **options):
    """What `python ARGUMENTS...` returned and printed; in this environment, and what is given."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )


def run_script(script, *arguments, **options):
    """The same for a script, which may be indented."""
    return run_python("-c", textwrap.dedent(script), *arguments, **options)


def printed_by(*command, **options):
    """What a script prints, and `run_script` takes; it must not fail."""
    done = run_script(*command, **options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
