"""How requests look, and what their answers mean. Uploads are tested in tests/recorder/storage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from recorder.errors import Code, EgressError
from recorder.storage.bucket import Bucket, FileSlice
from recorder.storage.s3_errors import Meaning, StoreError
from recorder.storage.target import S3Target
from tests.support.serving import serving_in_thread

TARGET = S3Target("mybucket", access_key="key", secret="secret")


def test_an_endpoint_that_is_no_url_is_named() -> None:
    with pytest.raises(EgressError, match="S3 endpoint 'http://bad host/'") as refused:
        Bucket(dataclasses.replace(TARGET, endpoint="http://bad host/"))
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_slice_of_a_file_is_read_like_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    with FileSlice(file, 2, 5) as body:
        assert body.read() == b"23456"
        assert body.read() == b""
        # The library measures a body, and reads it twice: for its signature and to send it.
        assert (body.seek(0, 2), body.tell(), body.seek(0)) == (5, 5, 0)
        assert body.read(3) + body.read(3) == b"23456"
    with FileSlice(file) as body:
        assert (body.size, body.read()) == (10, b"0123456789")


@contextmanager
def answering(
    status: int, page: bytes = b""
) -> Iterator[tuple[HTTPServer, list[tuple[str, dict[str, str]]]]]:
    """A server in front of a store, or in its place: it gives the same answer to each request.

    Yields:
        The server, and the request lines and headers that it got.
    """
    requests: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        # With it, the client is told to go on before it sends the body.
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(status)
            self.send_header("Connection", "close")
            self.send_header("ETag", '"etag"')
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with serving_in_thread(server):
        yield server, requests


@pytest.fixture
def body(tmp_path: Path) -> Iterator[FileSlice]:
    (tmp_path / "body").write_bytes(b"content")
    with FileSlice(tmp_path / "body") as body:
        yield body


def test_requests_have_none_of_the_checksums_that_compatible_stores_refuse(body: FileSlice) -> None:
    with answering(200) as (server, requests):
        bucket = Bucket(
            dataclasses.replace(
                TARGET,
                endpoint=f"http://127.0.0.1:{server.server_port}",
                force_path_style=True,
                prefix="calls",
            )
        )
        bucket.put("a.mp4", body, "video/mp4")
        assert bucket.put_part("a.mp4", "upload", 2, body) == "etag"
    paths = [line.split()[1].partition("?")[0] for line, _ in requests]
    assert paths == ["/mybucket/calls/a.mp4"] * 2
    for _, headers in requests:
        assert not [name for name in headers if "checksum" in name or "trailer" in name]
        assert "aws-chunked" not in headers.get("content-encoding", "")
        assert "/us-east-1/s3/" in headers["authorization"]


def test_a_bucket_is_in_the_host_name_and_a_proxy_is_for_other_hosts(
    body: FileSlice, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200) as (server, requests):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        target = dataclasses.replace(TARGET, endpoint="http://s3.example.com", region="eu-west-1")
        Bucket(target).put("a.mp4", body, "video/mp4")
    [(line, headers)] = requests
    assert line == "PUT http://mybucket.s3.example.com/a.mp4 HTTP/1.1"
    assert "/eu-west-1/s3/" in headers["authorization"]


@pytest.mark.parametrize(
    ("status", "page", "meaning"),
    [
        (503, b"<Error><Code>SlowDown</Code><Message>x</Message></Error>", Meaning.UNREACHABLE),
        (502, b"<html><body>bad gateway</br>", Meaning.UNREACHABLE),
        (404, b"<html><body>no such page</br>", Meaning.DOUBTFUL),
        (403, b"<Error><Code>AccessDenied</Code><Message>x</Message></Error>", Meaning.REFUSED),
    ],
)
def test_each_request_is_sent_once_and_its_failure_is_judged(
    body: FileSlice, status: int, page: bytes, meaning: Meaning
) -> None:
    with answering(status, page) as (server, requests):
        endpoint = f"http://127.0.0.1:{server.server_port}"
        bucket = Bucket(dataclasses.replace(TARGET, endpoint=endpoint, force_path_style=True))
        with pytest.raises(StoreError) as failed:
            bucket.put("a.mp4", body, "video/mp4")
    assert failed.value.meaning is meaning
    assert len(requests) == 1
