"""What comes out of a loader when one byte is wrong: no timing, only what is delivered.

A server on this machine gives the same 256 samples of 1 KB to each contender that is installed,
over HTTP as S3 speaks it, with the MD5 of what was stored as ETag. One object is damaged: at rest,
in transit (in its first reply alone), or in the contender's local copy after a good run. Each
contender goes through an epoch in a process of its own, and through another in a second process,
which finds the local folder of the first: a restart. Each sample that is delivered is compared with
what was written.

Run it once at a time: jobs of Streaming on one machine share memory.

    python benchmarks/corruption.py                 # all
    python benchmarks/corruption.py --only headrace --workers 2
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from peers import streaming_library

N = 256
NBYTES = 1024
BATCH = 8
SHARD_NBYTES = 2**15
DAMAGED = 100  # the sample whose file is damaged, or in whose shard the damage is
BUCKET = "bucket"
HASH = "sha1"
SECONDS = 60

Samples = Iterator[tuple[int, bytes]]


def data_of(index: int) -> bytes:
    return np.random.default_rng(index).bytes(NBYTES)


# The server


@dataclass
class Server:
    """Serves a folder as a bucket; ETags are the MD5 of what was uploaded, as with S3."""

    folder: Path
    damaged: str = ""
    in_transit: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def upload_all(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(self.folder).as_posix()
                self.tags[name] = hashlib.md5(path.read_bytes()).hexdigest()

    def fault_of(self, name: str) -> str:
        """The fault of this reply: of the first alone."""
        with self.lock:
            if name != self.damaged:
                return ""
            fault, self.in_transit = self.in_transit, ""
            return fault

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Gives its URL."""
        handler = type("Handler", (_Handler,), {"bucket": self})
        server = _QuietServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are none."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.split("?")[0].removeprefix(f"/{BUCKET}/")
        path = self.bucket.folder / name
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = bytearray(path.read_bytes())
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(body)
        if asked:
            start, last = int(asked[1]), int(asked[2] or whole - 1)
            body = body[start : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{whole}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{self.bucket.tags[name]}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self.bucket.fault_of(name)
        if fault == "flip":
            body[len(body) // 2] ^= 1
        elif fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


# The contenders: each writes the samples, and gives what it reads as (index, bytes).


@dataclass(frozen=True)
class Contender:
    write: Callable[[Path], None]
    read: Callable[[str, Path, int], Samples]
    requires: tuple[str, ...]
    keeps_copies: bool = True


def streaming(compression: str | None, checked: bool) -> Contender:
    def write(folder: Path) -> None:
        with streaming_library().MDSWriter(
            out=str(folder), columns={"i": "int", "x": "bytes"}, compression=compression,
            hashes=[HASH] if checked else [], size_limit=SHARD_NBYTES,
        ) as writer:  # fmt: skip
            for i in range(N):
                writer.write({"i": i, "x": data_of(i)})

    def read(url: str, local: Path, workers: int) -> Samples:
        library = streaming_library()

        from streaming.base.util import clean_stale_shared_memory
        from torch.utils.data import DataLoader

        clean_stale_shared_memory()  # of a run that was killed
        server, _, name = url.partition(f"/{BUCKET}/")
        os.environ.update(
            S3_ENDPOINT_URL=server, AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any",
            AWS_DEFAULT_REGION="us-east-1",
        )  # fmt: skip
        dataset = library.StreamingDataset(
            remote=f"s3://{BUCKET}/{name}", local=str(local), batch_size=BATCH, shuffle=False,
            validate_hash=HASH if checked else None,
        )  # fmt: skip
        for batch in DataLoader(dataset, BATCH, num_workers=workers):
            yield from zip(map(int, batch["i"]), batch["x"], strict=True)

    return Contender(write, read, ("mosaicml-streaming", "torch", "boto3"))


def write_npy(folder: Path) -> None:
    for i in range(N):
        np.save(folder / f"{i}.npy", np.frombuffer(data_of(i), np.uint8))


def data_loader() -> Contender:
    def read(url: str, local: Path, workers: int) -> Samples:
        from torch.utils.data import DataLoader

        for indices, batch in DataLoader(FilesOfServer(url), BATCH, num_workers=workers):
            yield from zip(indices.tolist(), (row.numpy().tobytes() for row in batch), strict=True)

    return Contender(write_npy, read, ("torch",), keeps_copies=False)


class FilesOfServer:
    """What one would write oneself."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        with urllib.request.urlopen(f"{self.url}/{index}.npy") as reply:
            return index, np.load(io.BytesIO(reply.read()))


def headrace(manifest: bool, check_etags: bool = True) -> Contender:
    def write(folder: Path) -> None:
        from headrace.storage.manifest import Manifest

        write_npy(folder)
        if manifest:
            Manifest.of(folder).save(folder / "manifest.json")

    def read(url: str, local: Path, workers: int) -> Samples:
        import headrace as hr

        remote = hr.Remote(
            url, manifest="manifest.json" if manifest else None, cache=hr.Cache(local, 2**30),
            check_etags=check_etags, deadline_seconds=5,
        )  # fmt: skip
        files = hr.NpyFiles(remote, ids=range(N))
        executor = hr.Threads(workers) if workers else hr.Inline()
        source = (np.arange(N), files)
        with hr.Loader(source, batch_size=BATCH, shuffle=False, executor=executor) as loader:
            for indices, batch in loader:
                yield from zip(indices.tolist(), (row.tobytes() for row in batch), strict=True)

    return Contender(write, read, ("headrace", "obstore"))


CONTENDERS = {
    "Streaming": streaming(None, checked=False),
    "Streaming, validate_hash": streaming(None, checked=True),
    "Streaming, zstd": streaming("zstd", checked=False),
    "Streaming, zstd, validate_hash": streaming("zstd", checked=True),
    "DataLoader, urllib": data_loader(),
    "headrace, no checksums": headrace(manifest=False, check_etags=False),
    "headrace, ETags": headrace(manifest=False),
    "headrace, manifest": headrace(manifest=True),
}
FAULTS = {
    "none": "nothing",
    "flip in transit": "a byte flipped in transit, once",
    "cut in transit": "a reply cut in transit, once",
    "flip at rest": "a byte flipped in the object",
    "cut at rest": "the object cut in half",
    "flip in local copy": "a byte flipped in the local copy, after the first run",
}


# One trial


def damaged_object(folder: Path) -> Path:
    """The object in which the damaged sample lies."""
    npy = folder / f"{DAMAGED}.npy"
    if npy.exists():
        return npy
    index = json.loads((folder / "index.json").read_text())
    before = 0
    for shard in index["shards"]:
        before += shard["samples"]
        if before > DAMAGED:
            return folder / (shard["zip_data"] or shard["raw_data"])["basename"]
    raise LookupError(DAMAGED)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_copy(local: Path, name: str) -> None:
    """In a folder of the contender's: its copy of the damaged object, whatever it calls it."""
    files = [path for path in local.rglob("*") if path.is_file()]
    named = [
        path for path in files if path.name.partition(".zstd")[0] == name.partition(".zstd")[0]
    ]
    containing = [path for path in files if data_of(DAMAGED) in path.read_bytes()]
    [path, *_] = named or containing
    damage(path, "flip")


def trial(name: str, fault: str, workers: int) -> tuple[str, str]:
    """What the first run, and the one after the restart, gave."""
    contender = CONTENDERS[name]
    kind, _, where = fault.partition(" ")
    with tempfile.TemporaryDirectory() as made:
        folder, local = Path(made, "store"), Path(made, "local")
        (folder / "data").mkdir(parents=True)
        contender.write(folder / "data")
        target = damaged_object(folder / "data")
        server = Server(folder, damaged=target.relative_to(folder).as_posix())
        server.upload_all()
        if where == "at rest":
            damage(target, kind)
        if where == "in transit":
            server.in_transit = kind
        with server.running() as url:
            first = consumed(name, f"{url}/{BUCKET}/data", local, workers)
            if where == "in local copy":
                if not contender.keeps_copies:
                    return first, "keeps none"
                damage_copy(local, target.name)
            return first, consumed(name, f"{url}/{BUCKET}/data", local, workers)


def consumed(name: str, url: str, local: Path, workers: int) -> str:
    """What one epoch in a process of its own gives, in words."""
    command = [sys.executable, __file__, "--consume", name, url, str(local), str(workers)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    hangs = f", then **hangs** (killed after {SECONDS} s)"
    try:
        out, errors = process.communicate(timeout=SECONDS)
        hangs = ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, errors = process.communicate()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines:
        return in_words(json.loads(lines[-1])) + hangs
    return f"nothing: {errors.strip().splitlines()[-1:]}{hangs}"


def in_words(seen: dict[str, Any]) -> str:
    right, wrong, error = seen["right"], seen["wrong"], seen["error"]
    text = f"all {N} right" if right == N and not wrong else f"{right} right"
    if wrong:
        text += f", **{wrong} wrong**"
    if error:
        return f"{text}, then `{error}`"
    if seen["ended"] and right + wrong < N:
        return f"{text}, then **the epoch ends** without an error"
    return text


def consume(name: str, url: str, local: str, workers: str) -> None:
    """Goes through an epoch, and prints what came so far."""
    seen = {"right": 0, "wrong": 0, "error": "", "ended": False}
    try:
        for index, data in CONTENDERS[name].read(url, Path(local), int(workers)):
            seen["right" if data == data_of(index) else "wrong"] += 1
            print(json.dumps(seen), flush=True)
    except Exception as raised:
        seen["error"] = type(raised).__name__
        print(f"{seen['error']}: {raised}", file=sys.stderr)
    print(json.dumps({**seen, "ended": True}), flush=True)


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="contenders whose name begins with this")
    parser.add_argument("--fault", choices=FAULTS, help="one fault alone")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--consume", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.consume:
        consume(*options.consume)
        return
    names = [name for name in CONTENDERS if name.startswith(options.only or "")]
    packages = sorted({package for name in names for package in CONTENDERS[name].requires})
    versions = {package: version_of(package) for package in packages}
    for package, version in versions.items():
        print(f"{package} {version or 'is not installed'}")
    print(f"\n{N} samples of {NBYTES} bytes; workers: {options.workers}\n")
    print("| Damage | Contender | First run | After a restart |\n| --- | --- | --- | --- |")
    for fault in [options.fault] if options.fault else FAULTS:
        for name in names:
            if all(versions[package] for package in CONTENDERS[name].requires):
                first, then = trial(name, fault, options.workers)
                print(f"| {FAULTS[fault]} | {name} | {first} | {then} |", flush=True)


if __name__ == "__main__":
    main()
