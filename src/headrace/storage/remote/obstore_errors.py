"""What a failure of obstore means: most of it stands in the text of its errors alone.

`TEXTS` is all that is looked for there. It is what obstore 0.11 and 0.12 write, which hand on what
the Rust crate object_store 0.13 says; a version that words it otherwise ends the row, as
tests/storage/remote/test_obstore_errors.py, which provokes each of them, then says.
"""

import re
from collections.abc import Mapping
from typing import Final

from headrace.errors import AccessDeniedError, FileMissingError
from headrace.storage.remote.retries import PAST_THE_END, AttemptFailed

TEXTS: Final[Mapping[str, re.Pattern[str]]] = {
    # Codes of S3 and of Azure, in the body of the reply.
    "no bucket": re.compile("NoSuchBucket"),
    "no container": re.compile("ContainerNotFound"),
    # What is asked for credentials where none are given.
    "metadata service": re.compile(r"169\.254\.169\.254|metadata\.google\.internal"),
    "http not allowed": re.compile("BadScheme"),
    "whole object": re.compile("Range request not supported|non-partial response when range"),
    "redirect": re.compile("redirect without LOCATION"),
    "past the end": re.compile("Wanted range starting at"),
    "status": re.compile(r"status code: (\d{3})"),
    # What the body of a reply of S3 or Azure calls it.
    "code": re.compile("<Code>([A-Za-z0-9.]+)</Code>"),
    # For a message in one line.
    "status line": re.compile(r"status code: (\d{3}[A-Za-z ]*)"),
    "debug": re.compile(r"\n\nDebug source:"),
    "request": re.compile(r"Error performing [A-Z]+ \S+ in \S+ - "),
    "kind": re.compile(r"kind: (Timeout|Connect|Interrupted|ConnectionRefused)"),
    "detail": re.compile(r'(?:message|error): "?([A-Za-z][A-Za-z ]*)'),
}
_TRANSIENT_STATUS = {408, 425, 429}
WHOLE_OBJECT = "the server sent the whole object in place of a range"

_REGION = "pass the one where the bucket is: options={'region': ...}"
_EXPIRED = "the credentials have expired: get new ones"
# What helps, by the codes of S3 and Azure that concern credentials.
_REMEDIES: Final[Mapping[str, str]] = {
    "AccessDenied": "ask for the right to read this with these credentials",
    "AuthenticationFailed": "check the account key, or whether the signature (SAS) has expired",
    "AuthorizationFailure": "ask for the right to read this with these credentials",
    "AuthorizationHeaderMalformed": f"the region may be wrong; {_REGION}",
    "AuthorizationPermissionMismatch": "ask for the right to read this with these credentials",
    "ExpiredToken": _EXPIRED,
    "InvalidAccessKeyId": "this store does not know the access key: check it, and the endpoint",
    "InvalidObjectState": "the object is archived: restore it first",
    "InvalidToken": "the session token does not belong to the access key, or is damaged",
    "RequestExpired": _EXPIRED,
    "RequestTimeTooSkewed": "set the clock of this machine",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: check it",
    "TokenRefreshRequired": _EXPIRED,
}


def explained(error: Exception) -> AttemptFailed:
    """What a failure of obstore means."""
    if isinstance(error, AttemptFailed):
        return error
    text, kind, cause = str(error), type(error).__name__, _cause(error)

    def says(name: str) -> bool:
        return TEXTS[name].search(text) is not None

    for name, what in (("no bucket", "bucket"), ("no container", "container")):
        if says(name):
            return AttemptFailed(f"there is no such {what} ({cause})", "never")
    if isinstance(error, FileNotFoundError):
        return AttemptFailed("there is no such object", "never", FileMissingError)
    if isinstance(error, TimeoutError):
        return AttemptFailed("it stalled")
    if says("metadata service"):
        remedy = "no credentials were found: set them, or skip_signature for public data"
        return AttemptFailed(f"{remedy} ({cause})", "twice")
    code = TEXTS["code"].search(text)
    of_code = _REMEDIES.get(code[1]) if code else None
    status = _status(text)
    if of_code or status in (401, 403) or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        remedy = of_code or "check the credentials"
        return AttemptFailed(f"access is denied ({cause}): {remedy}", "never", AccessDeniedError)
    if kind in ("InvalidPathError", "UnknownConfigurationKeyError") or isinstance(
        error, ValueError | TypeError
    ):
        return AttemptFailed(cause, "never")
    if says("http not allowed"):
        remedy = "allow it with options={'client_options': {'allow_http': True}}"
        return AttemptFailed(f"http:// without encryption is not allowed: {remedy}", "never")
    if says("redirect"):
        return AttemptFailed(f"the bucket is in another region: {_REGION}", "never")
    if says("whole object"):
        return AttemptFailed(WHOLE_OBJECT, "twice")
    if status == 416 or says("past the end"):
        return AttemptFailed(PAST_THE_END, "twice")
    permanent = 300 <= status < 500 and status not in _TRANSIENT_STATUS
    return AttemptFailed(cause, "never" if permanent else "always")


def _status(text: str) -> int:
    found = TEXTS["status"].search(text)
    return int(found[1]) if found else 0


def _cause(error: Exception) -> str:
    """What happened, in a line, without URLs: those may hold credentials."""
    text, *rest = TEXTS["debug"].split(str(error), maxsplit=1)
    debug = rest[0] if rest else ""
    found = TEXTS["status line"].search(text)
    if found:
        code = TEXTS["code"].search(text)
        return f"HTTP status {found[1].strip()}{f', {code[1]}' if code else ''}"
    text = re.sub(r"\S+://\S+", "<URL>", " ".join(text.split()))
    text = TEXTS["request"].sub("", text)
    kinds = TEXTS["kind"].findall(debug)
    details = TEXTS["detail"].findall(debug)
    more = ", ".join(dict.fromkeys([*kinds, *details[-1:]]))
    return (f"{text} ({more})" if more else text)[:300]
