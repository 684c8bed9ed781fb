"""Faults on the way that pass are not seen, and those that stay are errors: never other bytes."""

import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from fetching import always, fetched, once, remote
from web_server import FAULTS, FaultProxy

import headrace as hr
from headrace.storage import Manifest, Request

RANGE_FAULTS = ("wrong range", "whole")


class TestFaults:
    """Through a proxy that spoils replies."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_of_whole_objects_that_pass(self, s3, objects, fault):
        """Which their ETags tell; with a manifest, see test_each_store.py."""
        names = [f"{i:02}.bin" for i in range(12)]
        with FaultProxy(s3, once(fault)) as proxy:
            storage = remote(proxy.url, attempt_seconds=1.0)
            assert fetched(storage, list(map(Request, names))) == [objects[n] for n in names]
            assert proxy.done[fault] == len(names), "the fault was not there"

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

    @pytest.mark.parametrize("status", ["400", "401", "403", "409"])
    def test_refusals_are_not_tried_again(self, s3, objects, status):
        with FaultProxy(s3, always(status)) as proxy:
            with pytest.raises(hr.StorageError, match=rf"1 attempt .*{status}"):
                fetched(remote(proxy.url), [Request("03.bin")])
            assert proxy.asked["03.bin"] == 1

    def test_a_server_that_comes_back(self, s3, objects):
        with FaultProxy(s3, lambda name, before: "reset" if before < 6 else None) as proxy:
            assert fetched(remote(proxy.url), [Request("03.bin")]) == [objects["03.bin"]]

    def test_damage_where_it_is_stored(self, s3, objects):
        """Transfers agree with each other, and not with the manifest."""
        manifest = Manifest.of(remote(s3), ["03.bin"])
        sums = manifest["03.bin"]
        other = {"03.bin": sums._replace(sha256="0" * 64, crc32=(1,))}
        storage = remote(s3, manifest=Manifest(other), deadline_seconds=2.0)
        with pytest.raises(hr.ChecksumError, match="SHA-256"):
            fetched(storage, [Request("03.bin")])
        small = {"03.bin": sums._replace(block_bytes=500, crc32=(1,) * -(-sums.bytes // 500))}
        storage = remote(s3, manifest=Manifest(small), deadline_seconds=2.0)
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


def make_loader(root, executor):
    return hr.Loader(hr.NpyFiles(root), batch_size=8, shuffle=True, seed=3, executor=executor)


EXECUTORS = [
    hr.Inline(),
    *(kind(n, lookahead_bytes=1) for kind in (hr.Threads, hr.Processes) for n in (1, 2)),
]


class TestLoaders:
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
