"""What `explained` looks for in the texts of obstore's errors is what this obstore writes there.

If a test fails with a newer obstore, the row of `TEXTS` that it names has to follow. The errors are
real ones, of a process of their own, as obstore is not to run in one that forks.
"""

import json
import re

import pytest
from other_python import printed_by

pytest.importorskip("obstore", reason="needs headrace[remote]")

from headrace.errors import AccessDeniedError, FileMissingError
from headrace.storage.remote.obstore_errors import TEXTS, WHOLE_OBJECT, explained
from headrace.storage.remote.retries import PAST_THE_END

PROVOKE = r"""
import http.server, json, os, threading
import obstore
from obstore.store import AzureStore, HTTPStore, S3Store

CODES = {"nosuchbucket": (404, "NoSuchBucket"), "containernotfound": (404, "ContainerNotFound"),
         "expired": (400, "ExpiredToken"), "unknownkey": (403, "InvalidAccessKeyId"),
         "moved": (301, "PermanentRedirect"), "slow": (503, "SlowDown")}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments):
        pass
    def do_GET(self):
        code = self.path.split("?")[0].rpartition("/")[2]
        status, body, headers = 404, b"", {"ETag": '"x"'}
        headers["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
        if code.isdigit():
            status = int(code)
        elif code == "whole":
            status, body = 200, b"12345678"
        elif code == "short":
            status, body, headers["Content-Range"] = 206, b"1234", "bytes 0-3/4"
        elif code in CODES:
            status, name = CODES[code]
            body = f"<Error><Code>{name}</Code></Error>".encode()
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
    do_PUT = do_GET

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
plain = {"allow_http": True}
once = {"max_retries": 0}

def s3(bucket="bucket", endpoint=url, client_options=plain):
    return S3Store(bucket, endpoint=endpoint, skip_signature=True, client_options=client_options,
                   retry_config=once)

azure = AzureStore("containernotfound", account_name="me", endpoint=url, skip_signature=True,
                   client_options=plain, retry_config=once)
# Credentials are asked for at the address that a virtual machine has for it, here through a proxy.
unsigned = S3Store("bucket", client_options={"proxy_url": url, **plain}, retry_config=once)
web = HTTPStore.from_url(url, client_options=plain, retry_config=once)
attempts = {
    "no bucket": lambda: list(obstore.list(s3("nosuchbucket"))),
    "no container": lambda: list(obstore.list(azure)),
    "metadata service": lambda: obstore.get(unsigned, "x"),
    "http not allowed": lambda: obstore.get(s3(client_options={}), "x"),
    "whole object": lambda: obstore.get(web, "whole", options={"range": (2, 4)}),
    "whole object of S3": lambda: obstore.get(s3(), "whole", options={"range": (2, 4)}),
    "expired": lambda: obstore.get(s3(), "expired"),
    "unknown key": lambda: obstore.get(s3(), "unknownkey"),
    "another region": lambda: obstore.get(s3(), "moved"),
    "busy": lambda: obstore.get(s3(), "slow"),
    "past the end": lambda: obstore.get(s3(), "short", options={"range": (10, 20)}),
    "status": lambda: obstore.get(s3(), "503"),
    "refused connection": lambda: obstore.get(s3(endpoint="http://127.0.0.1:1"), "x"),
    "forbidden": lambda: obstore.get(s3(), "403"),
    "no such object": lambda: obstore.get(s3(), "x"),
}
found = {}
for name, attempt in attempts.items():
    try:
        attempt()
    except Exception as error:
        found[name] = type(error).__name__, str(error)
print(json.dumps(found), flush=True)
os._exit(0)
"""
# Which of them has the text of each row, and what is made of it.
PROVOKED = {
    "no bucket": (
        "no bucket",
        r"there is no such bucket \(HTTP status 404 Not Found, NoSuchBucket\)",
        "never",
    ),
    "no container": ("no container", r"there is no such container \(HTTP status 404", "never"),
    "metadata service": ("metadata service", r"no credentials were found", "twice"),
    "http not allowed": ("http not allowed", "'allow_http': True", "never"),
    "whole object": ("whole object", "the whole object in place of a range", "twice"),
    "redirect": ("another region", r"in another region: pass .*'region'", "never"),
    "code": ("busy", "^HTTP status 503 Service Unavailable, SlowDown$", "always"),
    "past the end": ("past the end", f"^{PAST_THE_END}$", "twice"),
    "status": ("status", "^HTTP status 503 Service Unavailable$", "always"),
    "status line": ("status", "^HTTP status 503 Service Unavailable$", "always"),
    "debug": ("refused connection", r"^[^{}]*$", "always"),
    "request": ("refused connection", r"^((?!performing|URL).)*$", "always"),
    "kind": ("refused connection", r"\(.*\bConnect\b", "always"),
    "detail": ("refused connection", "Connection refused", "always"),
}


@pytest.fixture(scope="module")
def errors():
    """Class and text of each error, by what was attempted."""
    return json.loads(printed_by(PROVOKE))


def made_again(error):
    """An error of the same class name and text."""
    name, text = error
    builtin = {"FileNotFoundError": FileNotFoundError, "PermissionError": PermissionError}
    return builtin.get(name, type(name, (Exception,), {}))(text)


def test_each_text_is_provoked():
    assert PROVOKED.keys() == TEXTS.keys()


@pytest.mark.parametrize("row", PROVOKED)
def test_the_text_of_each_row_is_there(errors, row):
    attempt, cause, again = PROVOKED[row]
    error = errors[attempt]
    assert TEXTS[row].search(error[1]), f"{row!r} of TEXTS is not in: {error[1]}"
    failed = explained(made_again(error))
    assert re.search(cause, failed.cause), failed.cause
    assert failed.again == again


def test_texts_are_of_one_kind_of_error_only(errors):
    """Where one row stands for a kind of failure, it is not found in others."""
    for row in ("no bucket", "no container", "metadata service", "http not allowed"):
        said = [name for name, (_, text) in errors.items() if TEXTS[row].search(text)]
        assert said == [row]


def test_classes_that_are_known_by_name(errors):
    assert errors["no such object"][0] == "FileNotFoundError"
    assert explained(made_again(errors["no such object"])).error is FileMissingError
    assert errors["forbidden"][0] == "PermissionDeniedError"
    denied = explained(made_again(errors["forbidden"]))
    assert (denied.again, denied.error) == ("never", AccessDeniedError)
    assert "HTTP status 403" in denied.cause


@pytest.mark.parametrize(
    ("attempt", "code", "remedy"),
    [
        ("expired", "ExpiredToken", "get new ones"),
        ("unknown key", "InvalidAccessKeyId", "check it, and the endpoint"),
    ],
)
def test_what_concerns_credentials_says_its_code_and_what_helps(errors, attempt, code, remedy):
    failed = explained(made_again(errors[attempt]))
    assert (failed.again, failed.error) == ("never", AccessDeniedError)
    assert code in failed.cause
    assert remedy in failed.cause


def test_stores_say_in_their_own_words_that_they_know_no_ranges(errors):
    failed = explained(made_again(errors["whole object of S3"]))
    assert (failed.cause, failed.again) == (WHOLE_OBJECT, "twice")
