"""Web servers on loopback: one for the files of a folder, and one that spoils what it passes on."""

import contextlib
import http.client
import http.server
import re
import socket
import stat
import struct
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

# What `FaultProxy` can do to a reply.
FAULTS = (
    *("503", "429", "500", "cut", "reset", "stall", "no answer", "flip", "short", "long"),
    *("wrong range", "whole"),
)


# What S3's clients want to know of any object.
_OF_OBJECTS = {"ETag": '"no-md5"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


class FileServer(http.server.ThreadingHTTPServer):
    """Serves the files below a folder, whole or in ranges, if it knows `ranges`. A context manager.

    It is a web server, and enough of S3's to read objects by name, in buckets that are folders. Its
    end is that of its threads and of all connections, also those that clients keep for later.
    """

    request_queue_size = 256
    daemon_threads = False  # so that its end waits for them

    def __init__(self, folder, ranges=True):
        self.folder = Path(folder)
        self.ranges = ranges
        self.connections = set()
        super().__init__(("127.0.0.1", 0), _FileHandler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Clients that go away are none."""


class FaultProxy(FileServer):
    """Passes requests on to the server at `upstream`, and spoils the replies as `plan` says.

    Args:
        plan: called with the name of an object (the end of its path) and how often it was asked
            for before; one of FAULTS, or None. A status may be followed by a code of S3's.
        delay_seconds: how far away the server is.

    Attributes:
        until_underway: each request waits until so many are underway.
    """

    def __init__(self, upstream, plan=lambda name, before: None, delay_seconds=0.0):
        super().__init__(".")
        self.RequestHandlerClass = _FaultHandler
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.plan = plan
        self.delay_seconds = delay_seconds
        self.asked = Counter()
        self.done = Counter()
        self.underway = self.most_underway = self.until_underway = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def __exit__(self, *error):
        self.ended.set()
        super().__exit__(*error)

    def fault(self, name):
        with self.lock:
            fault = self.plan(name, self.asked[name])
            self.asked[name] += 1
            self.done[fault] += 1
        return fault


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *arguments):
        pass

    def reply(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


class _FileHandler(_Handler):
    def do_GET(self):
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        path = self.server.folder / name
        try:
            data = path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return self.reply(404, {"Content-Length": "0"}, b"")
        except OSError:
            data = None
        if data is None:
            return self.reply(403, {"Content-Length": "0"}, b"")
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or not self.server.ranges:
            return self.reply(200, {"Content-Length": str(len(data)), **_OF_OBJECTS}, data)
        start = int(found[1])
        stop = min(len(data), int(found[2]) + 1 if found[2] else len(data))
        if start >= len(data):
            return self.reply(416, {"Content-Length": "0"}, b"")
        return self.reply(206, _range_headers(start, stop, len(data)), data[start:stop])

    do_HEAD = do_GET  # noqa: N815


class _FaultHandler(_Handler):
    def do_GET(self):
        proxy = self.server
        with proxy.lock:
            proxy.underway += 1
            proxy.most_underway = max(proxy.most_underway, proxy.underway)
        try:
            self.pass_on(proxy)
        finally:
            with proxy.lock:
                proxy.underway -= 1

    do_HEAD = do_GET  # noqa: N815

    def pass_on(self, proxy):
        time.sleep(proxy.delay_seconds)
        while proxy.most_underway < proxy.until_underway and not proxy.ended.wait(0.001):
            pass
        # Some clients write the / between folders as %2F.
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).rpartition("/")[2]
        fault = proxy.fault(name)
        status, _, code = (fault or "").partition(" ")
        if status.isdigit():
            body = f"<Error><Code>{code}</Code></Error>".encode() if code else b"busy"
            return self.reply(int(status), {"Content-Length": str(len(body))}, body)
        if fault == "no answer":
            proxy.ended.wait()
            return self.drop()
        status, headers, body = self.upstream(proxy, whole=fault == "whole")
        if fault == "reset":
            return self.drop(reset=True)
        if fault in ("cut", "stall"):
            self.reply(status, headers, body[: len(body) // 2])
            if fault == "stall":
                proxy.ended.wait()
            return self.drop()
        if fault == "flip" and body:
            at = len(body) // 3
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        elif fault in ("short", "long") and body:
            body = body[:-1] if fault == "short" else body + b"x"
            headers["Content-Length"] = str(len(body))
        elif fault == "wrong range" and status == 206:
            start, size = map(
                int, re.findall(r"bytes (\d+)-\d+/(\d+)", headers["Content-Range"])[0]
            )
            headers["Content-Range"] = f"bytes {start + 1}-{start + len(body)}/{size}"
        return self.reply(status, headers, body)

    def upstream(self, proxy, whole):
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        if whole:
            headers.pop("range", None)
        connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, headers=headers)
            reply = connection.getresponse()
            body = reply.read()
        kept = ("content-length", "content-range", "etag", "last-modified", "content-type")
        headers = {
            name.title(): value for name, value in reply.getheaders() if name.lower() in kept
        }
        headers.setdefault("Content-Length", str(len(body)))
        return reply.status, headers, body

    def drop(self, reset=False):
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()


def _range_headers(start, stop, size):
    return {
        "Content-Length": str(stop - start),
        "Content-Range": f"bytes {start}-{stop - 1}/{size}",
        **_OF_OBJECTS,
    }
