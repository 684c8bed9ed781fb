"""The processes that make requests: one for each that reads, and none that outlives it."""

import os
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from fetching import always, fetched
from other_python import run_python
from web_server import FaultProxy, FileServer

import headrace as hr
from headrace.storage import Request
from headrace.storage.remote.event_loop import transfers_of_this_process
from headrace.testing.processes import eventually


class TestProcesses:
    def test_forked_children_and_grandchildren(self, s3, objects, tmp_path):
        run(FORKING, s3, tmp_path, "1000 1000 1000 closed")

    def test_the_helper_of_a_killed_child_ends(self, s3, objects, tmp_path):
        run(KILLED, s3, tmp_path, "helper ended")

    def test_a_helper_that_is_killed_is_replaced(self, s3, objects, tmp_path):
        run(HELPER_KILLED, s3, tmp_path, "1000 1000")

    def test_a_helper_knows_the_environment_of_now(self, s3, objects, tmp_path):
        run(ENVIRONMENT, s3, tmp_path, "1000 1000")

    def test_a_helper_keeps_few_clients(self, tmp_path):
        """Each has its connections."""
        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        with FileServer(tmp_path) as server:
            storages = []
            for i in range(100):
                (tmp_path / f"{i}").mkdir()
                (tmp_path / f"{i}" / "a").write_bytes(b"%d" % i)
                storages.append(hr.Remote(f"{server.url}/{i}"))
                assert fetched(storages[-1], [Request("a")]) == [b"%d" % i]
            helper = transfers_of_this_process().client._helper._process.pid
            few = eventually(lambda: len(os.listdir(f"/proc/{helper}/fd")) <= 90)
            assert few, "it keeps the connections of all"
            for i, storage in enumerate(storages[:3]):  # whose clients are gone
                assert fetched(storage, [Request("a")]) == [b"%d" % i]

    def test_the_interpreter_ends_while_transfers_are_on_their_way(self, s3, objects, tmp_path):
        with FaultProxy(s3, always("no answer")) as proxy:
            run(UNFINISHED, proxy.url, tmp_path, "leaving")

    def test_what_was_begun_before_a_fork_is_refused_in_the_child(self, s3, objects, tmp_path):
        run(CROSSING, s3, tmp_path, "what was asked for before a fork can't be taken in the child")


PREAMBLE = """
import os, signal, sys, time
import headrace as hr
from headrace.storage import Request
from headrace.storage.remote.event_loop import transfers_of_this_process

options = {"endpoint": sys.argv[1], "skip_signature": True}
storage = hr.Remote("s3://bucket/objects", options=options)
def read():
    [(_, data)] = storage.fetch([Request("00.bin")])
    print(len(data), end=" ", flush=True)
def in_child(function):
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
def helper():
    return transfers_of_this_process().client._helper._process.pid
def is_gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] == "Z"
    except OSError:
        return True
"""
FORKING = """
read()
def child():
    read()
    in_child(read)
    # The grandchild, which ended by now, and the child have a helper each.
    transfers_of_this_process().end()
    print("closed", flush=True)
in_child(child)
"""
KILLED = """
sys.stdout = open(os.devnull, "w")
read()
receiver, sender = os.pipe()
pid = os.fork()
if pid == 0:
    read()
    os.write(sender, str(helper()).encode())
    time.sleep(600)
its_helper = int(os.read(receiver, 20))
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
deadline = time.monotonic() + 120
while not is_gone(its_helper) and time.monotonic() < deadline:
    time.sleep(0.01)
print("helper ended" if is_gone(its_helper) else "it goes on", file=sys.__stdout__)
"""
HELPER_KILLED = """
sys.modules["obstore"].__name__
def child():
    read()
    os.kill(helper(), signal.SIGKILL)
    read()
in_child(child)
"""
ENVIRONMENT = """
read()
os.environ["AWS_ENDPOINT_URL"] = sys.argv[1]
os.environ["AWS_SKIP_SIGNATURE"] = "true"
storage = hr.Remote("s3://bucket/objects", deadline_seconds=200)
read()
"""
UNFINISHED = """
import threading
threading.Thread(target=read, daemon=True).start()
time.sleep(0.5)
print("leaving", flush=True)
"""
CROSSING = """
replies = storage.fetch([Request("00.bin"), Request("01.bin")])
next(replies)
def child():
    try:
        next(replies)
    except hr.StorageError as error:
        print(error, flush=True)
in_child(child)
"""


def run(script, address, tmp_path, expected):
    if not hasattr(os, "fork") or not Path("/proc/self/stat").exists():
        pytest.skip("needs os.fork and /proc")
    path = tmp_path / "script.py"
    path.write_text(PREAMBLE + script)
    done = run_python("-W", "ignore::DeprecationWarning", path, address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected.split(), done.stderr
