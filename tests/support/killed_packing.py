"""Packs a folder again and again, each time killed at a later step of its work on the file system.

killed_packing.py SOURCE FOLDER NAME OPTIONS: each run packs SOURCE to FOLDER/<k>/NAME and is killed
a stride of steps later than the one before it; then another packs to the same target, and is not.
Prints how many were killed, and at how many samples each was gone on with. Requires fork.
"""

import json
import os
import pathlib
import signal
import sys

import numpy as np

import headrace as hr
from headrace.packing import Shape, pack

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.listdir")


def pack_once(source, target, options):
    reader = hr.NpyFiles(source)
    return pack(
        reader,
        target,
        labels=hr.Labels(np.arange(len(reader)) % 3),
        texts={"ids": reader.ids},
        shape=Shape(**options["shape"]),
        force=options["force"],
        workers=1,
        seconds_between_saves=0,
    )


def die_at(step, folder):
    """Lets this process be killed when it comes to that step below the folder."""
    steps = 0

    def look(event, arguments):
        nonlocal steps
        if event in STEPS and str(arguments[0]).startswith(str(folder)):
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def main():
    source, folder, name, options = sys.argv[1:]
    # Loaded once, and not in each process that is killed.
    if name.endswith(".zarr"):
        import zarr  # noqa: F401
    if name.endswith(".parquet"):
        import pyarrow.parquet  # noqa: F401
    options = json.loads(options)
    killed, continued, step = 0, [], 1
    while True:
        parent = pathlib.Path(folder, str(killed)).resolve()
        parent.mkdir()
        for kept, content in options["before"].items():
            (parent / kept).write_text(content)
        child = os.fork()
        if child == 0:
            die_at(step, parent)
            pack_once(source, parent / name, options)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        # Whole, or not there.
        present = (parent / name).exists() and name not in options["before"]
        whole = present and sorted(p.name for p in parent.iterdir() if ".partial" not in p.name)
        child = os.fork()
        if child == 0:
            packed = None
            try:
                packed = pack_once(source, parent / name, options)
            except hr.ArgumentError as error:
                if not whole or "must not exist yet" not in str(error):
                    raise  # else it was killed after all was done
            (parent / "continued").write_text(str(packed.continued_at if packed else "done"))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        continued.append((parent / "continued").read_text())
        (parent / "continued").unlink()
        if whole:
            now = sorted(p.name for p in parent.iterdir() if ".partial" not in p.name)
            assert whole == now, (whole, now)
        killed, step = killed + 1, step + options["stride"]
    print(json.dumps({"killed": killed, "continued": continued}))


main()
