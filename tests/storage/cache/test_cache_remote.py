"""A Remote with a Cache: what is fetched is kept, and only what was found to be right."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from at_once import at_once
from cache_scripts import sizes
from web_server import FaultProxy, FileServer

import headrace as hr
from headrace.storage import Manifest, Request
from headrace.testing.processes import eventually

N = 24
NAMES = [f"{i}.npy" for i in range(N)]


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "store").mkdir()
    made = np.random.default_rng(0).random((N, 40), np.float32)
    for i, sample in enumerate(made):
        np.save(tmp_path / "store" / f"{i}.npy", sample)
    Manifest.of(tmp_path / "store").save(tmp_path / "manifest.json")
    return made


@pytest.fixture
def proxy(tmp_path, samples, helper):
    """A server that counts what it is asked for."""
    with FileServer(tmp_path / "store") as server, FaultProxy(server.url) as proxy:
        yield proxy


def remote(proxy, tmp_path, cache, **arguments):
    manifest = Manifest.load(tmp_path / "manifest.json")
    return hr.Remote(
        proxy.url, manifest=manifest, cache=cache, **{"deadline_seconds": 300.0, **arguments}
    )


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.glob("??/*") if path.is_file()]


def epoch(loader) -> np.ndarray:
    return np.concatenate(list(loader))


def loader_of(storage, executor) -> hr.Loader:
    return hr.Loader(
        hr.NpyFiles(storage, ids=range(N)), batch_size=8, shuffle=False, executor=executor
    )


@pytest.mark.parametrize("executor", [hr.Inline, lambda: hr.Threads(2), lambda: hr.Processes(2)])
def test_what_is_kept_needs_no_server(tmp_path, samples, executor):
    with FileServer(tmp_path / "store") as server:
        cache = hr.Cache(tmp_path / "cache", 2**30)
        with loader_of(remote(server, tmp_path, cache), executor()) as loader:

            def all_are_kept():
                assert (epoch(loader) == samples).all()
                return len(entries(tmp_path / "cache")) == N

            # Usually by one epoch; but nobody waits for long while another one has the lock.
            assert eventually(all_are_kept)
    cache = hr.Cache(tmp_path / "cache", 2**30)
    again = remote(server, tmp_path, cache, deadline_seconds=0.5)
    with loader_of(again, executor()) as loader:
        assert (epoch(loader) == samples).all()


def test_what_is_damaged_on_the_way_never_gets_into_the_cache(proxy, tmp_path, samples):
    proxy.plan = lambda name, before: "flip" if before < 2 and name in NAMES[3:6] else None
    cache = hr.Cache(tmp_path / "cache", 2**30)
    for _ in range(2):
        with loader_of(remote(proxy, tmp_path, cache), hr.Inline()) as loader:
            assert (epoch(loader) == samples).all()
    assert proxy.done["flip"] == 6
    assert cache.stats().rejected == 0


def test_what_is_damaged_where_it_lies_is_an_error_and_not_kept(proxy, tmp_path, samples):
    proxy.plan = lambda name, before: "flip" if name == NAMES[9] else None
    cache = hr.Cache(tmp_path / "cache", 2**30)
    storage = remote(proxy, tmp_path, cache, deadline_seconds=3.0)
    with loader_of(storage, hr.Inline()) as loader:
        with pytest.raises(hr.StorageError, match=r"9\.npy") as raised:
            epoch(loader)
        assert any("step 1" in note for note in raised.value.__notes__)
        assert loader.state_dict()["position"] == 8
    proxy.plan = lambda name, before: None  # it was put right
    again = remote(proxy, tmp_path, hr.Cache(tmp_path / "cache", 2**30))
    with loader_of(again, hr.Inline()) as loader:
        assert (epoch(loader) == samples).all()


def test_a_damaged_entry_is_fetched_again(proxy, tmp_path, samples):
    cache = hr.Cache(tmp_path / "cache", 2**30)
    with loader_of(remote(proxy, tmp_path, cache), hr.Inline()) as loader:
        epoch(loader)
        asked = proxy.asked.total()
        for path, damage in zip(entries(tmp_path / "cache"), (b"\0", b"", None), strict=False):
            data = bytearray(path.read_bytes())
            if damage is None:
                data[-1] ^= 1
            path.write_bytes(data if damage is None else damage)
        for _ in range(2):
            assert (epoch(loader) == samples).all()
    assert cache.stats().rejected == 3
    assert proxy.asked.total() == asked + 3


def test_where_it_can_not_write_batches_come_all_the_same(proxy, tmp_path, samples):
    (tmp_path / "blocked").write_bytes(b"")
    cache = hr.Cache(tmp_path / "blocked" / "cache", 2**30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with loader_of(remote(proxy, tmp_path, cache), hr.Threads(2)) as loader:
            for _ in range(2):
                assert (epoch(loader) == samples).all()
    assert len([each for each in caught if "cache" in str(each.message)]) == 1
    assert cache.stats().skipped == cache.stats().misses >= 2 * N


def test_a_small_cache_keeps_its_limit_while_threads_fetch(proxy, tmp_path, samples):
    cache = hr.Cache(tmp_path / "cache", 2000)
    storage = remote(proxy, tmp_path, cache)

    def fetch(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(N)
        for position, data in storage.fetch([Request(NAMES[i]) for i in order]):
            assert data == (tmp_path / "store" / NAMES[order[position]]).read_bytes()

    at_once(fetch, range(4))
    assert sum(sizes(tmp_path / "cache").values()) <= 2000
    assert os.listdir(tmp_path / "cache" / "partial") == []
