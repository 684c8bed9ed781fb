"""What is on its way to a process, or here and not yet taken, stays within bounds."""

import gc
import time

import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from fetching import fetched, remote
from web_server import FaultProxy

import headrace as hr
from headrace.storage import Request
from headrace.storage.remote.event_loop import transfers_of_this_process
from headrace.testing.processes import eventually


class TestBounds:
    def test_requests(self, s3, objects):
        names = [f"{i:02}.bin" for i in range(12)]
        with FaultProxy(s3, delay_seconds=0.05) as proxy:
            fetched(remote(proxy.url, max_requests=3), list(map(Request, names)))
            assert proxy.most_underway <= 3
            proxy.until_underway = 4  # without which this would wait for ever
            assert fetched(remote(proxy.url), list(map(Request, names)))

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
        assert eventually(lambda: not (admission._held or admission._moving))
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
