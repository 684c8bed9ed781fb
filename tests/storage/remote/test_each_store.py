"""Remote: s3://, gs:// and az://, as they are and through faults.

SeaweedFS answers what a client of Google's XML interface asks for, as that is S3's for what is
read; it knows nothing of Google's credentials. Azure's server is Azurite.
"""

import io
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

import azure_server
from fetching import fetched, remote
from web_server import FAULTS, FaultProxy

import headrace as hr
from headrace.storage import Manifest, Request

LISTINGS = ("bucket", azure_server.CONTAINER)
# Without a manifest, flipped bytes of a part can't be told.
TOLD = [fault for fault in FAULTS if fault != "flip"]
# Azure's signature is of the range, too, so that a proxy can't leave it out.
SIGNED = "whole"


class Store(NamedTuple):
    """A server, and how to make a Remote of a folder through an address."""

    address: str
    remote: Callable[..., hr.Remote]


def google(address, folder="objects", bucket="bucket", **arguments):
    options = {"base_url": address, "skip_signature": True}
    return hr.Remote(f"gs://{bucket}/{folder}", options=options, **patient(arguments))


def azure(address, folder="objects", bucket=azure_server.CONTAINER, **arguments):
    access = {"account_key": azure_server.KEY}
    return hr.Remote(
        f"az://{bucket}/{folder}", options=azure_options(address, access), **patient(arguments)
    )


def azure_options(address, access):
    account = azure_server.ACCOUNT
    return {"endpoint": f"{address}/{account}", "account_name": account, **access}


def pairs(faults):
    every = itertools.product(("s3", "gs", "az"), faults)
    return [pair for pair in every if pair != ("az", SIGNED)]


def patient(arguments):
    return {"deadline_seconds": 300.0, **arguments}


@pytest.fixture(scope="session")
def azurite(objects, samples, tmp_path_factory):
    """The address of an Azure server that has what the S3 server has."""
    if azure_server.azurite() is None:
        pytest.skip("needs the program azurite-blob: npm install -g azurite")
    with azure_server.azure_server(tmp_path_factory.mktemp("azure")) as address:
        for name, data in objects.items():
            azure_server.put(address, f"objects/{name}", data)
        for index, sample in enumerate(samples):
            file = io.BytesIO()
            np.save(file, sample)
            azure_server.put(address, f"samples/{index:02}.npy", file.getvalue())
        yield address


@pytest.fixture(params=["s3", "gs", "az"])
def store(request, s3):
    if request.param != "az":
        return Store(s3, {"s3": remote, "gs": google}[request.param])
    return Store(request.getfixturevalue("azurite"), azure)


class TestObjects:
    def test_whole_ones_and_parts(self, store, objects):
        storage = store.remote(store.address)
        requests = [Request(name) for name in objects]
        assert fetched(storage, requests) == list(objects.values())
        large = objects["large.bin"]
        bounds = [(0, None), (0, 10), (5, 5), (2_999_999, 3_000_000), (1000, None)]
        bounds += [(3_000_000, None), (3_000_005, None)]
        requests = [Request("large.bin", start, stop) for start, stop in bounds]
        assert fetched(storage, requests) == [large[r.start : r.stop] for r in requests]

    def test_names_and_sizes(self, store, objects):
        storage = store.remote(store.address)
        assert storage.names() == sorted(name for name in objects if not name.startswith("."))
        for name, data in objects.items():
            assert storage.size(name) == len(data)

    def test_missing_ones(self, store, objects):
        storage = store.remote(store.address)
        with pytest.raises(hr.FileMissingError, match="'nope'") as raised:
            fetched(storage, [Request("00.bin"), Request("nope")])
        assert raised.value.position == 1
        with pytest.raises(hr.FileMissingError):
            storage.size("nope")

    @pytest.mark.parametrize("bounds", [(990, 1001), (1000, 1001), (2000, 3000)])
    def test_ranges_past_the_end(self, store, objects, bounds):
        said = r"00\.bin.*2 attempts.*(1000 bytes|past the end)"
        with pytest.raises(hr.StorageError, match=said) as raised:
            fetched(store.remote(store.address), [Request("00.bin", *bounds)])
        assert raised.value.position == 0

    def test_of_nowhere(self, s3):
        nowhere = google(s3, bucket="no-bucket")
        with pytest.raises(hr.StorageError, match=r"1 attempt .*no such bucket"):
            nowhere.names()

    def test_of_nowhere_in_azure(self, azurite):
        nowhere = azure(azurite, bucket="nowhere")
        with pytest.raises(hr.StorageError, match=r"1 attempt .*no such container"):
            nowhere.names()
        with pytest.raises(hr.StorageError, match=r"1 attempt .*no such container"):
            fetched(nowhere, [Request("00.bin")])

    def test_the_wrong_key(self, azurite):
        options = azure_options(azurite, {"account_key": "d3Jvbmc="})
        storage = hr.Remote(f"az://{azure_server.CONTAINER}/objects", options=options)
        with pytest.raises(hr.StorageError, match=r"1 attempt .*denied.*check the cred") as raised:
            fetched(storage, [Request("00.bin")])
        assert "d3Jvbmc=" not in str(raised.value)


class TestFaults:
    @pytest.mark.parametrize(("store", "fault"), pairs(FAULTS), indirect=["store"])
    def test_that_pass(self, store, objects, fault):
        """Of whole objects and of parts, with a manifest."""
        names, parts = [f"{i:02}.bin" for i in range(6)], (0, 700, 2_997_500)
        large = objects["large.bin"]
        plain = store.remote(store.address)
        manifest = Manifest.of(plain, [*names, "large.bin"], block_bytes=1000)
        requests = [*map(Request, names)]
        requests += [Request("large.bin", start, start + 2500) for start in parts]

        def plan(name, before):
            return fault if before < (len(parts) if name == "large.bin" else 1) else None

        with FaultProxy(store.address, plan) as proxy:
            storage = store.remote(proxy.url, manifest=manifest, attempt_seconds=1.0)
            expected = [*(objects[name] for name in names)]
            expected += [large[start : start + 2500] for start in parts]
            assert fetched(storage, requests) == expected
            assert proxy.done[fault] == len(requests), "the fault was not there"

    @pytest.mark.parametrize(("store", "fault"), pairs(TOLD), indirect=["store"])
    def test_that_stay(self, store, objects, fault):
        with FaultProxy(store.address, lambda name, before: fault) as proxy:
            storage = store.remote(proxy.url, deadline_seconds=2.0, attempt_seconds=0.5)
            message = r"'03.bin', bytes \[10:20\] of .* can't be read: \d+ attempts"
            with pytest.raises(hr.StorageError, match=message):
                fetched(storage, [Request("03.bin", 10, 20)])

    def test_of_a_listing(self, store, objects):
        faults = ["503", "cut", "reset", "429"]
        plan = lambda name, before: faults[before] if before < len(faults) else None  # noqa: E731
        with FaultProxy(store.address, plan) as proxy:
            names = store.remote(proxy.url).names()
            assert proxy.done[None] == 1
        assert names == store.remote(store.address).names() != []


# Those that are closed first make all batches that they have looked ahead: here, few.
EXECUTORS = {
    f"{kind.__name__} {n}": kind(n, lookahead_bytes=1)
    for kind in (hr.Threads, hr.Processes)
    for n in (1, 2)
}
EXECUTORS["Inline"] = hr.Inline()
WITH = [("s3", one) for one in EXECUTORS]
WITH += itertools.product(("gs", "az"), ("Inline", "Threads 2", "Processes 2"))


@pytest.mark.parametrize(("store", "executor"), WITH, indirect=["store"])
def test_a_loader_gets_every_sample_through_faults(store, samples, executor):
    faults = ["503", "flip", "cut", "reset", "short", "429"]

    def plan(name, before):  # a fault, then none
        if name in LISTINGS or before % 2:
            return None
        return "stall" if name == "05.npy" else faults[(int(name[:2]) + before) % len(faults)]

    plain = store.remote(store.address, "samples")
    names = [f"{i:02}.npy" for i in range(len(samples))]
    # S3's ETags tell what is damaged.
    manifest = None if store.remote is remote else Manifest.of(plain, names)
    executor = EXECUTORS[executor]
    with FaultProxy(store.address, plan) as proxy:
        root = store.remote(proxy.url, "samples", manifest=manifest, attempt_seconds=1.0)
        loader = hr.Loader(hr.NpyFiles(root), batch_size=8, seed=3, executor=executor)
        epochs = [list(loader), list(loader)]
        assert all(proxy.done[fault] for fault in [*faults, "stall"])
        executor.close()  # which waits for the batches that were looked ahead
    expected = hr.Loader(hr.readers.ArrayReader(samples), batch_size=8, seed=3)
    for epoch in epochs:
        assert [batch.tolist() for batch in epoch] == [batch.tolist() for batch in expected]
    expected.seek(0)
    listed = hr.Loader(hr.NpyFiles(plain), batch_size=8, seed=3)
    assert [batch.tolist() for batch in listed] == [batch.tolist() for batch in expected]
