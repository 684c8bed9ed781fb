"""Remote: objects of a real S3 server, and files of a web server."""

import pickle

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from at_once import at_once
from fetching import PATIENT, fetched, remote
from web_server import FaultProxy, FileServer

import headrace as hr
from headrace.storage import Manifest, Request
from headrace.testing import ReaderContract, StorageContract


class TestContract(StorageContract):
    """Of objects of a real S3 server."""

    @pytest.fixture(autouse=True)
    def _server(self, s3):
        self.s3 = s3

    def make_storage(self, folder, files):
        import s3_server

        if self.s3 not in stored:  # the same ones for all tests
            for name, data in files.items():
                s3_server.put(self.s3, f"contract/{name}", data)
            stored.add(self.s3)
        return remote(self.s3, "contract")


stored = set()


class TestWebServerContract(StorageContract):
    """Of files of a web server, whose names stand in a manifest."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path):
        with FileServer(tmp_path / "files") as server:
            self.url = server.url
            yield

    def make_storage(self, folder, files):
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return hr.Remote(self.url, manifest=Manifest.of(folder, files), **PATIENT)


class TestObjects:
    def test_sizes_are_asked_for_at_once(self, s3, objects):
        names = [f"{i:02}.bin" for i in range(12)]
        with FaultProxy(s3, delay_seconds=0.05) as proxy:
            proxy.until_underway = 2  # without which this would wait for ever
            found = remote(proxy.url, max_requests=6).sizes(names)
            assert found == [len(objects[name]) for name in names]
            assert proxy.most_underway <= 6

    def test_a_size_that_does_not_come_is_named(self, s3, objects):
        names = [f"{i:02}.bin" for i in range(12)]
        plan = lambda name, before: "503" if name == "07.bin" else None  # noqa: E731
        with FaultProxy(s3, plan) as proxy:
            with pytest.raises(hr.StorageError, match=r"'07.bin'.*503") as raised:
                remote(proxy.url, deadline_seconds=1.0).sizes(names)
            assert raised.value.position == 7
            proxy.plan = lambda name, before: None
            assert remote(proxy.url).sizes(names) == [len(objects[name]) for name in names]

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

    def test_a_missing_one_is_named_with_its_url(self, s3, objects):
        with pytest.raises(hr.FileMissingError, match=r"'nope' of 's3://bucket/objects'"):
            fetched(remote(s3), [Request("nope")])

    @pytest.mark.parametrize("name", ["../secret", "a//b"])
    def test_names_that_lead_elsewhere(self, s3, name):
        with pytest.raises(hr.StorageError, match="1 attempt"):
            fetched(remote(s3), [Request(name)])

    def test_threads_at_once(self, s3, objects):
        storage = remote(s3, max_requests=4, max_bytes=5000)

        def read(_):
            for _ in range(5):
                assert fetched(storage, list(map(Request, objects))) == list(objects.values())

        at_once(read, range(6))


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

    def test_get_the_user_of_the_url_and_errors_do_not_name_it(self, tmp_path, helper):
        (tmp_path / "a").write_bytes(b"a")
        seen = []
        with FileServer(tmp_path) as server:
            handler = server.RequestHandlerClass

            class Handler(handler):
                def do_GET(self):  # noqa: N802
                    seen.append(self.headers["Authorization"])
                    super().do_GET()

            server.RequestHandlerClass = Handler
            url = server.url.replace("//", "//me:s3cret@")
            storage = hr.Remote(url, **PATIENT)
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
    def test_an_endpoint_of_the_environment_may_be_http(self, url, variable, monkeypatch, helper):
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
