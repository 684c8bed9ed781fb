"""Remote: the objects of an object store or web server below a URL."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from headrace.arguments import check_bool, check_int
from headrace.errors import ArgumentError, StorageError, bad_type, bad_value
from headrace.storage.cache.cache_like import CacheLike
from headrace.storage.remote.admission import Consumer, Limits, Ticket
from headrace.storage.remote.client import Endpoint
from headrace.storage.remote.event_loop import transfers_of_this_process
from headrace.storage.remote.parts import BatchOfParts, FetchFailedError, Part, PartFetcher
from headrace.storage.remote.retries import Patience, RetriesFailed, gave_up, with_retries
from headrace.storage.stamps import stamp_of_sums
from headrace.storage.storage import Request
from headrace.storage.stored_manifest import StoredManifest, check_range


class Remote:
    """The objects below a URL: of S3 (s3://), Google Cloud Storage (gs://), Azure (az://), or of a
    web server (http://, https://).

    A batch is in flight all at once. What arrives is checked: its length, the MD5 that S3 gives as
    the ETag of a whole object, and, with a manifest, all of it. What may be transient is tried
    again, with growing pauses of random length, until the deadline. Objects are taken not to
    change.

    Args:
        url: such as "s3://bucket/folder", "gs://bucket/folder", "az://container/folder" (with
            options={"account_name": ...}) or "https://host/folder".
        options: what `obstore.store.from_url` takes, such as {"endpoint": ..., "region": ...,
            "skip_signature": True, "client_options": {...}}. What is not given comes from the
            environment, as obstore reads it: AWS_ACCESS_KEY_ID and so on.
        manifest: checksums of the objects: the name of a file below the URL that
            `Manifest.save` has made, or its content as a dict. Parts of objects are then read in
            whole blocks of the manifest, and nothing is read that it does not name.
        cache: a `Cache`: what was fetched and verified is kept there.
        check_etags: whether the ETag of an S3 object is its MD5, and to be checked where it can be.
            It is not for objects encrypted with a key of a customer's (SSE-KMS, SSE-C).
        max_requests: how many requests of this process may be on their way at once.
        max_bytes: how many bytes of this process may be on their way, or here and not yet taken.
            One request of each batch is let through at any rate.
        deadline_seconds: from the first attempt at a request to the end of the last, for each
            64 MiB of it.
        attempt_seconds: after how long without progress an attempt is given up; at the latest,
            after as long for each 16 MiB.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.
        MissingExtraError: (an ImportError) headrace[remote] is not installed.

    Example:
        >>> import headrace as hr
        >>> hr.Remote("s3://bucket/train", options={"region": "eu-central-1"})
        Remote('s3://bucket/train')
    """

    def __init__(
        self,
        url: str,
        *,
        options: dict[str, Any] | None = None,
        manifest: str | Mapping[str, object] | None = None,
        cache: CacheLike | None = None,
        check_etags: bool = True,
        max_requests: int = 64,
        max_bytes: int = 2**28,
        deadline_seconds: float = 120.0,
        attempt_seconds: float = 20.0,
    ) -> None:
        if not isinstance(url, str):
            raise bad_type("url", url, "a URL")
        if options is not None and not isinstance(options, dict):
            raise bad_type("options", options, "a dict")
        if "retry_config" in (options or {}):
            remedy = "Set deadline_seconds and attempt_seconds."
            raise bad_value("options", ["retry_config"], "without 'retry_config'", remedy)
        if cache is not None and not isinstance(cache, CacheLike):
            raise bad_type("cache", cache, "a headrace.Cache")
        limits = Limits(
            check_int("max_requests", max_requests, 1, 10_000),
            check_int("max_bytes", max_bytes, 1, 2**60),
        )
        patience = Patience(
            _positive("deadline_seconds", deadline_seconds),
            _positive("attempt_seconds", attempt_seconds),
        )
        self._endpoint = Endpoint(url, options or {}, patience)
        self._can_list = type(self._endpoint.new_store()).__name__ != "HTTPStore"
        check_etags = check_bool("check_etags", check_etags)
        self._parts = PartFetcher(self._endpoint, limits, cache, check_etags)
        self._manifest = None
        if manifest is not None:
            self._manifest = StoredManifest(manifest, self.root, self._whole, "object")

    @property
    def root(self) -> str:
        return self._endpoint.url

    def location(self, name: str) -> str:
        return f"{self.root}/{name}"

    def local_path(self, name: str = "") -> None:
        return None

    def __repr__(self) -> str:
        return f"Remote({self.root!r})"

    def fetch(self, requests: Sequence[Request]) -> Generator[tuple[int, memoryview], None, None]:
        # What is asked for twice is fetched once.
        parts: dict[tuple[str, int, int | None], tuple[Part, list[int]]] = {}
        for position, request in enumerate(requests):
            part = self._part(request, position)
            parts.setdefault(part[:3], (part, []))[1].append(position)
        transfers = transfers_of_this_process()
        batch = BatchOfParts(self._parts, transfers, [part for part, _ in parts.values()])
        transfers.loop.call_soon_threadsafe(batch.start)
        try:
            for _ in parts:
                part, data = batch.take()
                for position in parts[part[:3]][1]:
                    _, start, stop = requests[position]
                    end = len(data) if stop is None else stop - part.start
                    yield position, data[start - part.start : end]
                del data  # before the next one is waited for
        except FetchFailedError as failed:
            error = failed.error
            if isinstance(error, StorageError):
                error.position = parts[failed.part[:3]][1][0]
            raise error from None
        finally:
            transfers.soon(batch.close)

    def size(self, name: str) -> int:
        return self.sizes([name])[0]

    def sizes(self, names: Sequence[str]) -> list[int]:
        if self._manifest is not None:
            return self._manifest.sizes(names)
        transfers = transfers_of_this_process()
        return transfers.call(self._parts.sizes(transfers, names))

    def stamp(self, name: str) -> int:
        """What stands for an object as the manifest names it; 1 without one."""
        manifest = self._manifest
        return 1 if manifest is None else stamp_of_sums(manifest.sums(name, 0).sha256)

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        if self._manifest is not None:
            return self._manifest.load().names(suffixes)
        if not self._can_list:
            raise ArgumentError(
                f"ids must be given to read from {self.root!r}, as a web server can't list its "
                "files. Pass ids=..., or hr.Remote(url, manifest=...) as root."
            )
        return sorted(
            name
            for name in self._listed()
            if name.endswith(suffixes) and not _has_hidden_part(name)
        )

    def _listed(self) -> list[str]:
        """All names. If the listing breaks, it goes on after the last that came."""
        transfers = transfers_of_this_process()
        found: list[str] = []

        async def is_complete() -> bool:
            listed = await transfers.client.names(self._endpoint, found[-1] if found else "")
            found.extend(listed.names)
            in_order = found == sorted(found)
            if listed.failed is not None and not (listed.names and in_order):
                raise listed.failed
            return listed.failed is None

        try:
            # The client gives up a page that does not come; there may be any number of them.
            while not transfers.call(
                with_retries(is_complete, self._endpoint.patience, bounded=False)
            ):
                pass
        except RetriesFailed as failed:
            raise gave_up(failed, f"the list of the objects of {self.root!r}") from None
        return found

    def _part(self, request: Request, position: int) -> Part:
        """What to transfer for a request: with a manifest, whole blocks of it."""
        check_range(request, position)
        if self._manifest is None:
            return Part(*request, None)
        sums, start, end = self._manifest.blocks(request, position)
        return Part(request.name, start, end, sums)

    def _whole(self, name: str) -> memoryview:
        """An object, not from the cache: whoever replaces files replaces their manifest, too."""
        transfers = transfers_of_this_process()
        ticket = Ticket(Consumer(), self._parts.limits)
        try:
            whole = Part(name, 0, None, None)
            return transfers.call(self._parts.fetch(transfers, whole, ticket, cached=False))
        finally:
            transfers.soon(transfers.admission.leave, ticket)


def _has_hidden_part(name: str) -> bool:
    return name.startswith(".") or "/." in name


def _positive(argument: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_type(argument, value, "a number of seconds")
    if not 0 < value < float("inf"):
        raise bad_value(argument, value, "positive and finite")
    return float(value)
