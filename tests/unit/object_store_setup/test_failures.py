"""Errors of the client library as causes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    ReadTimeoutError,
)

from object_store_setup.acts import attempt
from object_store_setup.client import Key, Store, client
from object_store_setup.failures import Cause, Failure, failure
from tests.support.serving import serving_in_thread


def refused(code: str, status: int, operation: str = "PutObject") -> Failure:
    answer = {
        "Error": {"Code": code, "Message": "the store's words"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return failure(ClientError(answer, operation))


@pytest.mark.parametrize(
    ("code", "status", "cause"),
    [
        ("AccessDenied", 403, Cause.DENIED),
        ("403", 403, Cause.DENIED),
        ("InvalidAccessKeyId", 403, Cause.WRONG_KEY),
        ("SignatureDoesNotMatch", 403, Cause.WRONG_KEY),
        ("ExpiredToken", 400, Cause.WRONG_KEY),
        ("RequestTimeTooSkewed", 403, Cause.CLOCK),
        ("AuthorizationHeaderMalformed", 400, Cause.WRONG_REGION),
        ("PermanentRedirect", 301, Cause.WRONG_REGION),
        ("NoSuchBucket", 404, Cause.NO_BUCKET),
        ("ServiceUnavailable", 503, Cause.UNAVAILABLE),
        ("502", 502, Cause.UNAVAILABLE),
        ("404", 404, Cause.NOT_S3),
        ("QuotaExceeded", 400, Cause.OTHER),
    ],
)
def test_an_answer_is_told_by_its_code(code: str, status: int, cause: Cause) -> None:
    assert refused(code, status).cause is cause


def test_a_workload_identity_that_is_refused_is_no_missing_right_on_the_bucket() -> None:
    found = refused("AccessDenied", 403, operation="AssumeRoleWithWebIdentity")
    assert found.cause is Cause.NO_KEY
    assert "AssumeRoleWithWebIdentity: AccessDenied" in str(found)
    assert failure(CredentialRetrievalError(provider="x", error_msg="y")).cause is Cause.NO_KEY


def knock(endpoint: str, key: Key | None = None) -> Failure:
    store = Store(endpoint, "us-east-1", "recordings", path_style=True)
    one = client(store, key or Key("operator", "secret"))
    reason = attempt(lambda: one.list_objects_v2(Bucket="recordings"))
    assert reason is not None
    return reason


def test_a_name_that_does_not_resolve_is_told_from_a_port_that_is_closed() -> None:
    assert knock("http://nowhere.invalid").cause is Cause.NAME
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert knock(f"http://127.0.0.1:{port}").cause is Cause.UNREACHABLE


@pytest.mark.parametrize("kind", [ConnectTimeoutError, ReadTimeoutError, ConnectionClosedError])
def test_silence_and_a_closed_connection_may_pass(kind: Callable[..., Exception]) -> None:
    """They are no relatives of each other in the library."""
    found = failure(kind(endpoint_url="http://s3.example.com", request=None, error="x"))
    assert found.cause is Cause.UNREACHABLE
    assert found.cause.may_pass


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><p>Welcome to somebody's web server</br>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    with serving_in_thread(server):
        yield server


def test_a_web_server_is_no_store(web_server: HTTPServer) -> None:
    assert knock(f"http://127.0.0.1:{web_server.server_port}").cause is Cause.NOT_S3


def test_a_server_without_tls_is_told_as_such(web_server: HTTPServer) -> None:
    reason = knock(f"https://127.0.0.1:{web_server.server_port}")
    assert reason.cause is Cause.TLS
    assert "\n" not in str(reason)


def test_no_key_at_all_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    store = Store("http://127.0.0.1:1", "us-east-1", "recordings", path_style=True)
    reason = attempt(lambda: client(store, None).list_objects_v2(Bucket="recordings"))
    assert reason is not None
    assert reason.cause is Cause.NO_KEY
