"""Single requests to object stores and web servers, through obstore.

It runs in the event loop of the helper process.
"""

import asyncio
import os
import urllib.parse
import weakref
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import FileMissingError, bad_value, missing_extra
from headrace.storage.remote.obstore_errors import WHOLE_OBJECT, explained
from headrace.storage.remote.retries import PAST_THE_END, AttemptFailed, Patience

if TYPE_CHECKING:
    from obstore import Bytes, GetOptions
    from obstore.store import ObjectStore

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "http", "https")
# What says which store is meant: parts of the names of options, and variables of the environment.
_WHERE = ("endpoint", "account_name", "base_url", "emulator")
_ENDPOINTS = (
    *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_ENDPOINT"),
    *("AZURE_STORAGE_ENDPOINT", "AZURITE_BLOB_STORAGE_URL", "GOOGLE_BASE_URL"),
)
_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR")
_PAGE = 1000


class Reply(NamedTuple):
    """What came: `data` are the bytes [start:stop] of an object of `size` bytes.

    `data` is None if there are more than were wanted.
    """

    data: "bytes | memoryview | Bytes | None"
    start: int
    stop: int
    size: int
    e_tag: str | None


class Listed(NamedTuple):
    """Names and sizes of objects, and what kept the rest from coming."""

    names: list[str]
    failed: AttemptFailed | None


class Endpoint:
    """A URL and how to get there: what a client is made from. Equal only to itself."""

    def __init__(self, url: str, options: Mapping[str, Any], patience: Patience) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme.lower() not in _SCHEMES or not parts.netloc:
            raise bad_value("url", self._without_user(parts), _ALLOWED)
        if parts.query or parts.fragment:
            remedy = "Leave out what follows '?' or '#'; headers go to options['client_options']."
            raise bad_value("url", self._without_user(parts), "a URL without a query", remedy)
        self.url = self._without_user(parts).rstrip("/")
        self.options = dict(options)
        self.patience = patience
        self.authorization = _basic(parts)

    @staticmethod
    def _without_user(parts: urllib.parse.SplitResult) -> str:
        host = parts.netloc.rpartition("@")[2]
        return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))

    @property
    def identity(self) -> str:
        """The URL, and what else says which store it means."""
        named = {
            key.lower(): value
            for key, value in self._settings().items()
            if any(word in key.lower() for word in _WHERE)
        }
        names = (*_ENDPOINTS, *_ACCOUNTS)
        here = {name: os.environ[name] for name in names if name in os.environ}
        return repr((self.url, sorted(named.items()), sorted(here.items())))

    def new_store(self) -> "ObjectStore":
        """A client of obstore."""
        try:
            import obstore.store
        except ImportError:
            raise missing_extra(f"The URL {self.url}", "obstore", "remote") from None
        options = dict(self.options)
        read = f"{max(1, round(self.patience.attempt_seconds * 1000))}ms"
        ours: dict[str, object] = {
            "allow_http": self._has_plain_http(),
            "connect_timeout": read,
            "read_timeout": read,
            "timeout": "1day",  # of a whole request: that depends on its bytes, and is ours
        }
        if self.authorization:
            ours["default_headers"] = {"authorization": self.authorization}
        options["client_options"] = {**ours, **(options.get("client_options") or {})}
        try:
            return obstore.store.from_url(self.url, retry_config={"max_retries": 0}, **options)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise bad_value(
                "options", sorted(self.options), f"options of obstore for {self.url}", reason
            ) from None

    def _has_plain_http(self) -> bool:
        candidates = [self.url, *self._settings().values()]
        candidates += [os.environ.get(name, "") for name in _ENDPOINTS]
        return any(isinstance(one, str) and one.startswith("http://") for one in candidates)

    def _settings(self) -> dict[str, object]:
        return {**(self.options.get("config") or {}), **self.options}


class ObstoreClient:
    """Makes requests, each once. Its clients are made on first use."""

    def __init__(self) -> None:
        self._stores: weakref.WeakKeyDictionary[Endpoint, ObjectStore] = weakref.WeakKeyDictionary()

    async def get(
        self, endpoint: Endpoint, name: str, start: int, stop: int | None, most_bytes: int
    ) -> Reply:
        """The bytes of an object, if there are no more than `most_bytes`."""
        import obstore

        patience = endpoint.patience
        options: GetOptions | None = None
        if stop is not None:
            options = {"range": (start, stop)}
        elif start:
            options = {"range": {"offset": start}}
        try:
            async with asyncio.timeout(patience.attempt_seconds):
                result = await obstore.get_async(self._store(endpoint), name, options=options)
            meta, (begin, end) = result.meta, result.range
            data = None
            if end - begin <= most_bytes:
                async with asyncio.timeout(patience.of_attempt(end - begin)):
                    data = await result.bytes_async()
        except Exception as error:
            # No name for what is raised: in a circle with its traceback it would keep the client.
            if start and stop is None and explained(error).cause == PAST_THE_END:
                size = await self.size(endpoint, name)
                return Reply(b"", min(start, size), size, size, None)
            if options is None or explained(error).cause != WHOLE_OBJECT:
                raise explained(error) from None
        else:
            return Reply(data, begin, end, meta["size"], meta["e_tag"])
        # Some servers know no ranges. Where all of the object is wanted, that is no matter.
        whole = await self.get(endpoint, name, 0, None, most_bytes if start == 0 else -1)
        if (start, stop) == (0, whole.size):
            return whole
        raise AttemptFailed(
            f"{WHOLE_OBJECT}, {whole.size} bytes. If it always does, it knows no ranges: read from "
            "a server that does, or store each sample as a file",
            "twice",
        )

    async def size(self, endpoint: Endpoint, name: str) -> int:
        """The bytes of an object."""
        import obstore

        try:
            async with asyncio.timeout(endpoint.patience.attempt_seconds):
                meta = await obstore.head_async(self._store(endpoint), name)
        except Exception as error:
            raise await self._told(endpoint, name, explained(error)) from None
        return int(meta["size"])

    async def _told(self, endpoint: Endpoint, name: str, failed: AttemptFailed) -> AttemptFailed:
        """Why a HEAD failed: its reply has no body, so that only that to a GET may say it."""
        if failed.again == "never" and failed.error is not FileMissingError:
            try:
                await self.get(endpoint, name, 0, 1, 1)
            except AttemptFailed as told:
                if told.again == "never":
                    return told
        return failed

    async def names(self, endpoint: Endpoint, after: str) -> Listed:
        """The names of all objects, or of those after `after`, as far as they come."""
        import obstore

        found: list[str] = []
        try:
            stream = obstore.list(self._store(endpoint), offset=after or None, chunk_size=_PAGE)
            pages = aiter(stream)
            while True:
                async with asyncio.timeout(endpoint.patience.attempt_seconds):
                    try:
                        page = await anext(pages)
                    except StopAsyncIteration:
                        return Listed(found, None)
                found += [meta["path"] for meta in page]
        except Exception as error:
            return Listed(found, explained(error))

    def _store(self, endpoint: Endpoint) -> "ObjectStore":
        store = self._stores.get(endpoint)
        if store is None:
            store = self._stores[endpoint] = endpoint.new_store()
        return store


_ALLOWED = "a URL that begins with s3://, gs://, az://, http:// or https://"


def _basic(parts: urllib.parse.SplitResult) -> str:
    """The header for the user and password of a URL, which obstore would leave out."""
    user, at, _ = parts.netloc.rpartition("@")
    return f"Basic {b64encode(urllib.parse.unquote(user).encode()).decode()}" if at else ""
