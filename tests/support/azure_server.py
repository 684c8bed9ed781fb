"""A real server of Azure's blobs on loopback: Azurite, Microsoft's own, which npm installs."""

import base64
import contextlib
import hmac
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from ports import free_ports
from s3_server import die_too

CONTAINER = "container"
# The account that Azurite always has, and its key, which is no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"
_START_SECONDS = 120.0


def azurite() -> str | None:
    """The program, on the PATH."""
    return shutil.which("azurite-blob")


@contextlib.contextmanager
def azure_server(folder: Path) -> Iterator[str]:
    """Runs one that keeps its data in `folder`; yields its address, such as http://127.0.0.1:1234.

    It has an empty container, and ends with this process.
    """
    program = azurite()
    assert program is not None
    [port] = free_ports(1)
    command = [program, f"--blobPort={port}", f"--location={folder}", "--disableTelemetry"]
    command += ["--skipApiVersionCheck", "--silent"]
    with (folder / "output.txt").open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_too
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_SECONDS
    try:
        while True:
            try:
                _send(address, f"{CONTAINER}?restype=container", b"", {})
                break
            except ConnectionError:
                pass
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionError):
                    raise
            if server.poll() is not None or time.monotonic() > deadline:
                output_text = (folder / "output.txt").read_text()
                raise RuntimeError(f"Azurite does not start: {output_text[-2000:]}")
            time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


def put(address: str, name: str, data: bytes) -> None:
    """Stores a blob in the container."""
    path = f"{CONTAINER}/{urllib.parse.quote(name)}"
    _send(address, path, data, {"x-ms-blob-type": "BlockBlob"})


def _send(address: str, path: str, data: bytes, headers: dict[str, str]) -> None:
    """Makes a PUT request, signed with the key of the account."""
    url = urllib.parse.urlsplit(f"{address}/{ACCOUNT}/{path}")
    headers = headers | {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    kind = "application/octet-stream"
    # The headers that may be left empty are: Content-Encoding, -Language; Content-MD5; Date,
    # If-Modified-Since, If-Match, If-None-Match, If-Unmodified-Since, Range.
    lines = ["PUT", "", "", str(len(data) or ""), "", kind, *[""] * 6]
    lines += [f"{name}:{value}" for name, value in sorted(headers.items())]
    lines += [f"/{ACCOUNT}{url.path}"]
    lines += [f"{name}:{value}" for name, value in sorted(urllib.parse.parse_qsl(url.query))]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(lines).encode(), "sha256")
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers["Content-Type"] = kind
    request = urllib.request.Request(url.geturl(), data, headers, method="PUT")
    with urllib.request.urlopen(request, timeout=60):
        pass
