"""What a server refuses for good is an error at once, which says why and what helps."""

import pickle

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from fetching import PATIENT, always, fetched, remote
from web_server import FaultProxy, FileServer
from written import WRITTEN, expected
from written import samples as samples_of

import headrace as hr
from headrace.storage import Request


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("403 AccessDenied", r"403 .*, AccessDenied\): ask for the right"),
        ("400 ExpiredToken", r"400 .*, ExpiredToken\): the credentials have expired"),
        ("403 InvalidAccessKeyId", r"403 .*, InvalidAccessKeyId\): this store does not know"),
        ("403 SomethingNew", r"403 .*, SomethingNew\): check the credentials"),
    ],
)
def test_credentials(s3, objects, fault, said):
    """Also where the size is asked for, to which the reply has no body."""
    with FaultProxy(s3, always(fault)) as proxy:
        storage = remote(proxy.url)
        for attempt in (
            lambda: fetched(storage, [Request("03.bin")]),
            lambda: fetched(storage, [Request("03.bin", 3, 5)]),
            lambda: storage.size("03.bin"),
            storage.names,
        ):
            with pytest.raises(hr.AccessDeniedError, match=said) as raised:
                attempt()
            assert isinstance(raised.value, PermissionError)
            assert "1 attempt" in str(raised.value)


def test_a_bucket_of_another_region(s3, objects):
    with FaultProxy(s3, always("301 PermanentRedirect")) as proxy:
        storage = remote(proxy.url)
        for attempt in (
            lambda: fetched(storage, [Request("03.bin")]),
            lambda: storage.size("03.bin"),
            storage.names,
        ):
            with pytest.raises(hr.StorageError, match=r"1 attempt.* another region: pass .*region"):
                attempt()


@pytest.fixture(params=["http", "s3"])
def without_ranges(request, tmp_path):
    """What makes a storage of a folder behind a server that knows no ranges."""
    with FileServer(tmp_path, ranges=False) as server:
        if request.param == "http":
            yield lambda folder: hr.Remote(f"{server.url}/{folder}", **PATIENT)
        else:
            (tmp_path / "bucket").symlink_to(tmp_path)
            yield lambda folder: remote(server.url, folder)


class TestServersWithoutRanges:
    def test_a_range_that_is_the_whole_object_is_read(self, tmp_path, without_ranges):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "a.bin").write_bytes(bytes(100))
        storage = without_ranges("x")
        requests = [Request("a.bin", 0, 100), Request("a.bin"), Request("a.bin", 0, None)]
        assert fetched(storage, requests) == [bytes(100)] * 3

    @pytest.mark.parametrize("bounds", [(0, 99), (1, 100), (7, 9), (50, None)])
    def test_any_other_is_an_error_after_two_attempts(self, tmp_path, without_ranges, bounds):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "a.bin").write_bytes(bytes(100))
        said = r"'a\.bin'.* 2 attempts.* the whole object .*, 100 bytes.* knows no ranges"
        with pytest.raises(hr.StorageError, match=said):
            fetched(without_ranges("x"), [Request("a.bin", *bounds)])

    @pytest.mark.fault("a server that knows no ranges", "read", "a file for each sample")
    def test_files_of_one_sample_each_are_read(self, tmp_path, format_name):
        write, _, options = WRITTEN[format_name]
        here = hr.open(tmp_path / write(tmp_path), format=format_name, **options)
        size = {"size": (2, 3)} if format_name == "images" else {}
        with FileServer(tmp_path, ranges=False) as server:
            far = hr.open(server.url, format=format_name, ids=here.ids, **options, **size)
            assert samples_of(far).tolist() == expected(format_name).tolist()

    @pytest.mark.fault("a server that knows no ranges", "error", "npy-shards")
    def test_rows_of_a_file_are_not(self, tmp_path, without_ranges):
        (tmp_path / "x").mkdir()
        np.save(tmp_path / "x" / "all.npy", np.zeros((6, 1000)))
        with pytest.raises(hr.StorageError, match="store each sample as a file"):
            hr.NpyShards(without_ranges("x"), ["all.npy"])


def provider():
    """Credentials, were it in a module that another process can import."""
    return {"access_key_id": "a", "secret_access_key": "b", "expires_at": None}


def test_a_credential_provider_that_can_not_be_imported(s3, objects, monkeypatch):
    main = __import__("__main__")
    monkeypatch.setattr(main, "provider", provider, raising=False)
    monkeypatch.setattr(provider, "__module__", "__main__")
    assert pickle.loads(pickle.dumps(provider)) is provider, "positive control: it is there here"
    options = {"endpoint": s3, "credential_provider": provider}
    storage = hr.Remote("s3://bucket/objects", options=options)
    with pytest.raises(hr.StorageError, match=r"'provider'.* into a module, not the script"):
        fetched(storage, [Request("03.bin")])
