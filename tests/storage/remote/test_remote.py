"""Remote: objects of a real S3 server, and of a web server, as they are and through faults."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from fetching import fetched, send_fetched
from web_server import FAULTS, FaultProxy, FileServer

import headrace as hr
from headrace.storage import Manifest, Request
from headrace.storage.remote.event_loop import transfers_of_this_process
from headrace.testing import ReaderContract

# Long enough for any test on a slow machine: what must fail is made to fail by its own deadline.
PATIENT = {"deadline_seconds": 300.0}
RANGE_FAULTS = ("wrong range", "whole")


def remote(address, folder="objects", **arguments):
    options = {"endpoint": address, "skip_signature": True}
    return hr.Remote(f"s3://bucket/{folder}", options=options, **{**PATIENT, **arguments})


def once(fault):
    """The plan of a proxy: each object's first request meets the fault."""
    return lambda name, before: fault if before == 0 else None


def always(fault):
    return lambda name, before: fault


class TestObjects:
    def test_whole_ones_and_parts(self, s3, objects):
        storage = remote(s3)
        requests = [Request(name) for name in objects]
        assert fetched(storage, requests) == list(objects.values())
        large = objects["large.bin"]
        requests = [
            Request("large.bin", start, stop)
            for start, stop in (
                (0, 10),
                (5, 5),
                (2_999_999, 3_000_000),
                (1000, None),
                (3_000_000, None),
            )
        ]
        assert fetched(storage, requests) == [large[r.start : r.stop] for r in requests]

    def test_names_and_sizes(self, s3, objects):
        storage = remote(s3)
        assert storage.names() == sorted(name for name in objects if not name.startswith("."))
        assert storage.names(("1.bin", "é.bin")) == ["01.bin", "11.bin", "sub/a b+c%25é.bin"]
        for name, data in objects.items():
            assert storage.size(name) == len(data)

    def test_names_of_many_pages(self, s3):
        import s3_server

        names = [f"{i:04}" for i in range(1100)]
        for name in names:
            s3_server.put(s3, f"pages/{name}", b"")
        with FaultProxy(s3, lambda name, before: [None, "503", "cut"][before % 3]) as proxy:
            assert remote(proxy.url, "pages").names() == names

    def test_of_nowhere(self, s3, objects):
        assert remote(s3, "nowhere").names() == []
        nowhere = hr.Remote("s3://no-bucket/", options={"endpoint": s3, "skip_signature": True})
        with pytest.raises(hr.StorageError, match="no such bucket"):
            nowhere.names()
        with pytest.raises(hr.StorageError, match="no such bucket"):
            fetched(nowhere, [Request("a")])

    def test_what_is_asked_for_twice_is_fetched_once(self, s3, objects):
        with FaultProxy(s3) as proxy:
            name = "03.bin"
            assert fetched(remote(proxy.url), [Request(name)] * 5) == [objects[name]] * 5
            assert proxy.asked[name] == 1

    def test_missing_ones(self, s3, objects):
        storage = remote(s3)
        with pytest.raises(hr.FileMissingError, match=r"'nope' of 's3://bucket/objects'") as raised:
            fetched(storage, [Request("00.bin"), Request("nope")])
        assert raised.value.position == 1
        with pytest.raises(hr.FileMissingError):
            storage.size("nope")

    @pytest.mark.parametrize("bounds", [(990, 1001), (1000, 1001), (2000, 3000)])
    def test_ranges_past_the_end(self, s3, objects, bounds):
        with pytest.raises(hr.StorageError, match=r"00.bin.*1000 bytes|past the end") as raised:
            fetched(remote(s3), [Request("00.bin", *bounds)])
        assert raised.value.position == 0

    @pytest.mark.parametrize("name", ["../secret", "a//b"])
    def test_names_that_lead_elsewhere(self, s3, name):
        with pytest.raises(hr.StorageError, match="1 attempt"):
            fetched(remote(s3), [Request(name)])

    def test_threads_at_once(self, s3, objects):
        storage = remote(s3, max_requests=4, max_bytes=5000)
        failures = []

        def read():
            try:
                for _ in range(5):
                    assert fetched(storage, list(map(Request, objects))) == list(objects.values())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(250)
            assert not thread.is_alive(), "it hangs"
        assert not failures


class TestBounds:
    def test_requests(self, s3, objects):
        names = [f"{i:02}.bin" for i in range(12)]
        with FaultProxy(s3, delay_seconds=0.05) as proxy:
            fetched(remote(proxy.url, max_requests=3), list(map(Request, names)))
            assert proxy.most_underway <= 3
            assert fetched(remote(proxy.url), list(map(Request, names)))
            assert proxy.most_underway > 3, "the requests of a batch are not in flight at once"

    def test_bytes(self, s3, objects):
        """No more is fetched than fits, until something is taken."""
        requests = [Request("large.bin", i * 1000, (i + 1) * 1000) for i in range(30)]
        with FaultProxy(s3) as proxy:
            storage = remote(proxy.url, max_bytes=5000)
            replies = storage.fetch(requests)
            next(replies)
            time.sleep(0.5)
            # One was taken; of the others, five fit.
            assert proxy.asked["large.bin"] <= 6
            assert len(list(replies)) == 29
            assert proxy.asked["large.bin"] == 30

    def test_whole_objects_of_unknown_size(self, s3, objects):
        with FaultProxy(s3) as proxy:
            storage = remote(proxy.url, max_bytes=2_000_000)
            large = objects["large.bin"]
            replies = storage.fetch([Request("large.bin"), Request("large.bin", 1, None)])
            found = {}
            for position, data in replies:
                found[position] = bytes(data)
                assert transfers_of_this_process().admission._held <= 2 * len(large)
            assert found == {0: large, 1: large[1:]}

    def test_a_fetch_inside_another(self, s3, objects):
        """Whose bytes are not taken meanwhile."""
        storage = remote(s3, max_bytes=1, max_requests=1)
        requests = [Request(f"{i:02}.bin") for i in range(5)]
        for position, data in storage.fetch(requests):
            assert data == objects[requests[position].name]
            assert fetched(storage, requests) == [objects[r.name] for r in requests]

    def test_nothing_is_held_afterwards(self, s3, objects):
        storage = remote(s3)
        fetched(storage, list(map(Request, objects)))
        replies = storage.fetch(list(map(Request, objects)))
        next(replies)
        replies.close()
        with pytest.raises(hr.StorageError):
            fetched(storage, [*map(Request, objects), Request("nope")])
        admission = transfers_of_this_process().admission
        deadline = time.monotonic() + 60
        while (admission._held or admission._moving) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (admission._held, admission._moving, len(admission._waiting)) == (0, 0, 0)

    def test_closing_cancels_what_is_on_its_way(self, s3, objects):
        plan = lambda name, before: None if name == "00.bin" else "no answer"  # noqa: E731
        with FaultProxy(s3, plan) as proxy:
            replies = remote(proxy.url).fetch([Request("00.bin"), Request("01.bin")])
            assert next(replies)[0] == 0
            replies.close()
            del replies
            gc.collect()
            assert fetched(remote(s3), [Request("01.bin")]) == [objects["01.bin"]]


class TestFaults:
    """Through a proxy that spoils replies."""

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("known", ["etag", "manifest"])
    def test_of_whole_objects_that_pass(self, s3, objects, fault, known):
        names = [f"{i:02}.bin" for i in range(12)]
        manifest = Manifest.of(remote(s3), names) if known == "manifest" else None
        with FaultProxy(s3, once(fault)) as proxy:
            storage = remote(proxy.url, manifest=manifest, attempt_seconds=1.0)
            assert fetched(storage, list(map(Request, names))) == [objects[n] for n in names]
            assert proxy.done[fault] == len(names), "the fault was not there"

    @pytest.mark.parametrize("fault", FAULTS)
    def test_of_parts_that_pass(self, s3, objects, fault):
        large = objects["large.bin"]
        manifest = Manifest.of(remote(s3), ["large.bin"], block_bytes=1000)
        requests = [Request("large.bin", start, start + 2500) for start in (0, 700, 2_997_500)]
        with FaultProxy(s3, lambda name, before: fault if before < 3 else None) as proxy:
            storage = remote(proxy.url, manifest=manifest, attempt_seconds=1.0)
            assert fetched(storage, requests) == [large[r.start : r.stop] for r in requests]
            assert proxy.done[fault] == 3, "the fault was not there"

    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in RANGE_FAULTS])
    def test_of_whole_objects_that_stay(self, s3, objects, fault):
        with FaultProxy(s3, always(fault)) as proxy:
            storage = remote(proxy.url, deadline_seconds=2.0, attempt_seconds=0.5)
            kind = hr.ChecksumError if fault in ("flip", "long", "short") else hr.StorageError
            with pytest.raises(
                kind, match=r"'03.bin' of 's3://bucket/objects'.* attempts"
            ) as raised:
                fetched(storage, [Request("00.bin"), Request("03.bin")][1:])
            assert raised.value.position == 0

    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "flip"])
    def test_of_parts_that_stay(self, s3, objects, fault):
        with FaultProxy(s3, always(fault)) as proxy:
            storage = remote(proxy.url, deadline_seconds=2.0, attempt_seconds=0.5)
            message = (
                r"'03.bin', bytes \[10:20\] of 's3://bucket/objects' can't be read: \d+ attempts"
            )
            with pytest.raises(hr.StorageError, match=message):
                fetched(storage, [Request("03.bin", 10, 20)])

    @pytest.mark.parametrize("status", ["400", "401", "403", "409"])
    def test_refusals_are_not_tried_again(self, s3, objects, status):
        with FaultProxy(s3, always(status)) as proxy:
            with pytest.raises(hr.StorageError, match=rf"1 attempt .*{status}"):
                fetched(remote(proxy.url), [Request("03.bin")])
            assert proxy.asked["03.bin"] == 1

    def test_refused_connections(self, s3, objects):
        proxy = FaultProxy(s3)
        url = proxy.url
        proxy.server_close()
        storage = remote(url, deadline_seconds=2.0)
        with pytest.raises(hr.StorageError, match="Connect"):
            fetched(storage, [Request("03.bin")])

    def test_a_server_that_comes_back(self, s3, objects):
        with FaultProxy(s3, lambda name, before: "reset" if before < 6 else None) as proxy:
            assert fetched(remote(proxy.url), [Request("03.bin")]) == [objects["03.bin"]]

    def test_damage_where_it_is_stored(self, s3, objects):
        """Transfers agree with each other, and not with the manifest."""
        manifest = Manifest.of(remote(s3), ["03.bin"])
        sums = manifest["03.bin"]
        other = {"03.bin": sums._replace(sha256="0" * 64, crc32=(1,))}
        storage = remote(s3, manifest=Manifest(other), deadline_seconds=1.0)
        with pytest.raises(hr.ChecksumError, match="SHA-256"):
            fetched(storage, [Request("03.bin")])
        small = {"03.bin": sums._replace(block_bytes=500, crc32=(1,) * -(-sums.bytes // 500))}
        storage = remote(s3, manifest=Manifest(small), deadline_seconds=1.0)
        with pytest.raises(hr.ChecksumError, match=r"CRC-32 of its bytes \[500:1000\]"):
            fetched(storage, [Request("03.bin", 600, 700)])
        longer = Manifest({"03.bin": sums._replace(bytes=sums.bytes + 1)})
        with pytest.raises(hr.ChecksumError, match="in the manifest"):
            fetched(remote(s3, manifest=longer), [Request("03.bin")])

    def test_etags_that_are_no_md5(self, s3, objects):
        with FaultProxy(s3, always("flip")) as proxy:
            storage = remote(proxy.url)
            with pytest.raises(hr.ChecksumError, match=r"2 attempts.*check_etags=False"):
                fetched(storage, [Request("03.bin")])
            unchecked = remote(proxy.url, check_etags=False)
            [data] = fetched(unchecked, [Request("03.bin")])
            assert data != objects["03.bin"], "positive control: the proxy flips a byte"

    def test_the_step_is_named(self, s3, samples):
        plan = lambda name, before: "503" if name == "17.npy" else None  # noqa: E731
        with FaultProxy(s3, plan) as proxy:
            root = remote(proxy.url, "samples", deadline_seconds=1.0)
            loader = hr.Loader(
                hr.NpyFiles(root), batch_size=4, shuffle=False, executor=hr.Threads(2)
            )
            with pytest.raises(hr.StorageError, match="503") as raised:
                list(loader)
        notes = "\n".join(raised.value.__notes__)
        assert "sample 17" in notes
        assert "epoch 0, step 4" in notes


class TestManifests:
    def test_beside_the_objects(self, s3, objects, tmp_path):
        import s3_server

        names = [name for name in objects if not name.startswith(".")]
        Manifest.of(remote(s3), names).save(tmp_path / "m.json")
        s3_server.put(s3, "objects/.sums/m.json", (tmp_path / "m.json").read_bytes())
        storage = remote(s3, manifest=".sums/m.json")
        assert storage.names() == sorted(names)
        assert storage.size("large.bin") == 3_000_000
        copy = pickle.loads(pickle.dumps(storage))
        assert len(pickle.dumps(storage)) == len(pickle.dumps(copy))
        assert fetched(copy, list(map(Request, names))) == [objects[name] for name in names]
        with pytest.raises(hr.FileMissingError, match="manifest") as raised:
            fetched(copy, [Request(names[0]), Request(".hidden/x.bin")])
        assert raised.value.position == 1
        with pytest.raises(hr.StorageError, match="3000000 bytes"):
            fetched(copy, [Request("large.bin", 5, 3_000_001)])
        assert fetched(copy, [Request("large.bin", 3_000_000, None)]) == [b""]

    def test_that_is_damaged_or_missing(self, s3, objects):
        with pytest.raises(hr.StorageError, match=r"manifest.* is damaged"):
            remote(s3, manifest="00.bin").names()
        with pytest.raises(hr.FileMissingError, match="'nope'"):
            remote(s3, manifest="nope").size("00.bin")


def make_loader(root, executor):
    return hr.Loader(hr.NpyFiles(root), batch_size=8, shuffle=True, seed=3, executor=executor)


# Those that are closed first make all batches that they have looked ahead: here, few.
EXECUTORS = [
    hr.Inline(),
    *(kind(n, lookahead_bytes=1) for kind in (hr.Threads, hr.Processes) for n in (1, 2)),
]


class TestLoaders:
    @pytest.mark.parametrize("executor", EXECUTORS, ids=repr)
    def test_get_every_sample_through_faults(self, s3, samples, executor):
        faults = ["503", "flip", "cut", "reset", "short", "429"]

        def plan(name, before):  # a fault, then none
            if name == "bucket" or before % 2:
                return None
            return "stall" if name == "05.npy" else faults[(int(name[:2]) + before) % len(faults)]

        with FaultProxy(s3, plan) as proxy:
            loader = make_loader(remote(proxy.url, "samples", attempt_seconds=1.0), executor)
            epochs = [list(loader), list(loader)]
            assert all(proxy.done[fault] for fault in [*faults, "stall"])
            executor.close()  # which waits for the batches that were looked ahead
        expected = hr.Loader(hr.readers.ArrayReader(samples), batch_size=8, shuffle=True, seed=3)
        for epoch in epochs:
            assert [batch.tolist() for batch in epoch] == [batch.tolist() for batch in expected]

    @pytest.mark.parametrize("executor", EXECUTORS, ids=repr)
    def test_end_in_an_error_if_a_fault_stays(self, s3, samples, executor):
        """At the batch that it belongs to: neither early nor with a wrong sample."""
        plan = lambda name, before: "flip" if name == "17.npy" else None  # noqa: E731
        expected = list(
            hr.Loader(hr.readers.ArrayReader(samples), batch_size=8, shuffle=True, seed=3)
        )
        [bad] = [i for i, batch in enumerate(expected) if (batch == samples[17]).all((1, 2)).any()]
        with FaultProxy(s3, plan) as proxy:
            batches = iter(make_loader(remote(proxy.url, "samples"), executor))
            for step in range(bad):
                assert next(batches).tolist() == expected[step].tolist()
            with pytest.raises(hr.ChecksumError, match=r"17\.npy"):
                next(batches)
            executor.close()


class TestProcesses:
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_of_each_kind(self, s3, objects, method):
        """Also one that is forked after the parent has read, and one that it forks itself."""
        if method not in multiprocessing.get_all_start_methods():
            pytest.skip(f"this system has no {method}")
        storage = remote(s3)
        requests = [Request("large.bin"), Request("00.bin", 3, 9)]
        before = fetched(storage, requests)
        context = multiprocessing.get_context(method)
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=send_fetched, args=(sender, storage, requests))
        child.start()
        try:
            for expected in (before, storage.names(), 3_000_000, child.pid):
                assert receiver.poll(120), "it hangs"
                assert receiver.recv() == expected
            child.join(120)
            assert child.exitcode == 0
        finally:
            child.kill()
            child.join()
        assert fetched(storage, requests) == before

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
            deadline = time.monotonic() + 60
            while len(os.listdir(f"/proc/{helper}/fd")) > 90:
                assert time.monotonic() < deadline, "it keeps the connections of all"
                time.sleep(0.05)
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
storage = hr.Remote("s3://bucket/objects", deadline_seconds=5)
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
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(path), address],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected.split(), done.stderr


class TestWebServers:
    def test_read_whole_files_and_parts(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(range(100)))
        with FileServer(tmp_path) as server:
            storage = hr.Remote(server.url)
            assert storage.size("a") == 100
            requests = [Request("a"), Request("a", 10, 20), Request("a", 90), Request("a", 100)]
            expected = [bytes(range(100)[r.start : r.stop]) for r in requests]
            assert fetched(storage, requests) == expected
            with pytest.raises(hr.FileMissingError):
                fetched(storage, [Request("b")])

    def test_can_not_list(self, tmp_path):
        (tmp_path / "a").write_bytes(b"a")
        with FileServer(tmp_path) as server:
            with pytest.raises(hr.ArgumentError, match=r"ids must be given.*http://127"):
                hr.NpyFiles(server.url)
            manifest = Manifest.of(tmp_path)
            assert hr.Remote(server.url, manifest=manifest).names() == ["a"]

    def test_get_the_user_of_the_url_and_errors_do_not_name_it(self, tmp_path):
        (tmp_path / "a").write_bytes(b"a")
        seen = []
        with FileServer(tmp_path) as server:
            handler = server.RequestHandlerClass

            class Handler(handler):
                def do_GET(self):  # noqa: N802
                    seen.append(self.headers["Authorization"])
                    super().do_GET()
                    self.close_connection = True  # for nobody to be there afterwards

            server.RequestHandlerClass = Handler
            url = server.url.replace("//", "//me:s3cret@")
            storage = hr.Remote(url, deadline_seconds=1.0)
            assert fetched(storage, [Request("a")]) == [b"a"]
            assert seen == ["Basic bWU6czNjcmV0"]
            assert "s3cret" not in repr(storage)
            with pytest.raises(hr.FileMissingError) as raised:
                fetched(storage, [Request("b")])
            assert "s3cret" not in str(raised.value)
        nobody_there = hr.Remote(url, deadline_seconds=1.0)
        with pytest.raises(hr.StorageError) as raised:
            fetched(nobody_there, [Request("a")])
        assert "s3cret" not in str(raised.value)
        assert "Connect" in str(raised.value)


class TestNpyFilesFromAWebServer(ReaderContract):
    """The contract of readers, which also damages the files."""

    @pytest.fixture(autouse=True)
    def _serve(self, tmp_path):
        self.served = tmp_path
        with FileServer(tmp_path) as server:
            self.url = server.url
            yield

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        url = f"{self.url}/{folder.relative_to(self.served).as_posix()}"
        return hr.NpyFiles(url, [f"sample-{i}" for i in range(len(samples))])

    def sample_file(self, folder, index):
        return folder / f"sample-{index}.npy"


class TestArguments:
    @pytest.mark.parametrize(
        ("url", "store"),
        [
            ("s3://bucket/folder", "S3Store"),
            ("gs://bucket/folder", "GCSStore"),
            ("az://container/folder", "AzureStore"),
            ("http://host/folder", "HTTPStore"),
            ("https://host/folder", "HTTPStore"),
            ("https://bucket.s3.eu-central-1.amazonaws.com/folder", "S3Store"),
        ],
    )
    def test_urls(self, url, store):
        options = {"account_name": "account", "skip_signature": True} if store[0] == "A" else {}
        storage = hr.Remote(url, options=options)
        assert type(storage._endpoint.new_store()).__name__ == store
        assert storage.root == url

    def test_az_needs_an_account(self, monkeypatch):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
        with pytest.raises(hr.ArgumentError, match=r"options .*Account must be specified"):
            hr.Remote("az://container/folder")

    @pytest.mark.parametrize(
        ("url", "option", "variable"),
        [
            ("s3://bucket/x", "endpoint", "AWS_ENDPOINT_URL"),
            ("gs://bucket/x", "base_url", "GOOGLE_BASE_URL"),
            ("az://container/x", "endpoint", "AZURE_STORAGE_ENDPOINT"),
            ("az://container/x", "account_name", "AZURE_STORAGE_ACCOUNT_NAME"),
            ("az://container/x", "use_emulator", "AZURITE_BLOB_STORAGE_URL"),
        ],
    )
    def test_other_stores_have_other_entries_of_a_cache(self, url, option, variable, monkeypatch):
        needed = {"account_name": "me", "skip_signature": True}
        options = needed if url.startswith("az") else {"skip_signature": True}
        value = True if option == "use_emulator" else "http://127.0.0.1:1"
        found = {hr.Remote(url, options=options)._endpoint.identity}
        found.add(hr.Remote(url, options={**options, option: value})._endpoint.identity)
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
        found.add(hr.Remote(url, options=options)._endpoint.identity)
        assert len(found) == 3

    @pytest.mark.parametrize(
        ("url", "variable"),
        [("gs://bucket/x", "GOOGLE_BASE_URL"), ("az://container/x", "AZURE_STORAGE_ENDPOINT")],
    )
    def test_an_endpoint_of_the_environment_may_be_http(self, url, variable, monkeypatch):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        storage = hr.Remote(url, options={"skip_signature": True}, deadline_seconds=1.0)
        with pytest.raises(hr.StorageError, match="Connection refused"):
            storage.names()

    def test_http_that_was_not_asked_for(self):
        key = '{"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": true, '
        key += '"client_email": "", "private_key": "", "private_key_id": ""}'
        storage = hr.Remote("gs://bucket/x", options={"service_account_key": key})
        with pytest.raises(hr.StorageError, match=r"1 attempt .*'allow_http': True"):
            storage.names()

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"url": 3}, hr.ArgumentTypeError, "url must be a URL"),
            ({"url": "ftp://host/x"}, hr.ArgumentError, "begins with s3://"),
            ({"url": "s3://"}, hr.ArgumentError, "begins with s3://"),
            ({"url": "http://host/x?sig=s3cret"}, hr.ArgumentError, "without a query"),
            ({"options": 3}, hr.ArgumentTypeError, "options must be a dict"),
            ({"options": {"retry_config": {}}}, hr.ArgumentError, "deadline_seconds"),
            ({"options": {"nonsense": "s3cret"}}, hr.ArgumentError, "nonsense"),
            ({"manifest": 3}, hr.ArgumentTypeError, "manifest must be"),
            ({"manifest": {"format": 2}}, hr.ArgumentError, "format"),
            ({"cache": 3}, hr.ArgumentTypeError, "cache must be a headrace.Cache"),
            ({"check_etags": 3}, hr.ArgumentTypeError, "check_etags"),
            ({"max_requests": 0}, hr.ArgumentError, "max_requests"),
            ({"max_bytes": 0}, hr.ArgumentError, "max_bytes"),
            ({"deadline_seconds": 0}, hr.ArgumentError, "deadline_seconds"),
            ({"attempt_seconds": "1"}, hr.ArgumentTypeError, "attempt_seconds"),
        ],
    )
    def test_that_are_not_allowed(self, arguments, error, message):
        with pytest.raises(error, match=message) as raised:
            hr.Remote(**{"url": "s3://bucket/x", **arguments})
        assert "s3cret" not in str(raised.value)

    def test_options_are_not_shown(self, s3):
        options = {"endpoint": s3, "access_key_id": "me", "secret_access_key": "s3cret"}
        storage = hr.Remote("s3://bucket/x", options=options)
        assert repr(storage) == "Remote('s3://bucket/x')"
        assert repr(pickle.loads(pickle.dumps(storage))) == repr(storage)
