"""Requests as bytes, to the running service: what of them counts, and how much of them is held."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import pytest

from tests.ports import free_port
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import AUTHORIZED
from tests.unit.token_api.test_server import Running, serving, wait_until_up
from token_api.http_protocol import MAX_HEAD_BYTES

BODY = b'{"room_name": "lobby", "participant_identity": "joe"}'
TOKEN = b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
KEY = f"Authorization: {AUTHORIZED['Authorization']}\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
# Both ends' buffers on loopback take some 10 MB before anybody reads.
MORE_THAN_SOCKETS_HOLD = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with livekit_double() as double, serving(double.url, free_port()) as made:
        wait_until_up(made)
        yield made


@contextmanager
def connected(running: Running) -> Iterator[socket.socket]:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def status(connection: socket.socket) -> int:
    """Of the next answer, which is read to its end."""
    with HTTPResponse(connection) as response:
        response.begin()
        response.read()
        return response.status


def status_of(running: Running, request: bytes) -> int:
    with connected(running) as connection:
        connection.sendall(request)
        return status(connection)


def test_a_request_in_pieces_is_read(running: Running) -> None:
    request = TOKEN + KEY + CHUNKED + CHUNK + b"0\r\n\r\n"
    with connected(running) as connection:
        for start in range(0, len(request), 7):
            connection.sendall(request[start : start + 7])
        assert status(connection) == 201


def test_a_trailer_is_no_header(running: Running) -> None:
    """A proxy judges and rewrites headers, and hands trailers on as they are."""
    assert status_of(running, TOKEN + KEY + CHUNKED + CHUNK + b"0\r\n\r\n") == 201
    assert status_of(running, TOKEN + CHUNKED + CHUNK + b"0\r\n" + KEY + b"\r\n") == 401


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"GET /", id="path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", id="header"),
        pytest.param(TOKEN + CHUNKED + CHUNK + b"0\r\nX-Long: ", id="trailer"),
        pytest.param(TOKEN + CHUNKED + b"5;x=", id="chunk"),
    ],
)
def test_what_has_no_end_is_cut_off(running: Running, begin: bytes) -> None:
    with connected(running) as connection:
        connection.sendall(begin)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * MORE_THAN_SOCKETS_HOLD)


def test_a_head_that_is_too_long_is_answered_with_400(running: Running) -> None:
    with connected(running) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * MAX_HEAD_BYTES)
        assert status(connection) == 400
        assert connection.recv(1) == b""


def test_what_is_no_http_is_answered_with_400(running: Running) -> None:
    assert status_of(running, b"\x16\x03\x01 hello\r\n\r\n") == 400
    assert (
        status_of(running, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n")
        == 400
    )


def test_the_next_request_of_a_connection_has_a_head_of_its_own(running: Running) -> None:
    """Bytes are counted from where the last one ended: a connection may carry any number of them."""
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Some: " + b"x" * (MAX_HEAD_BYTES // 8) + b"\r\n\r\n"
    with connected(running) as connection:
        for _ in range(20):
            connection.sendall(get)
            assert status(connection) == 200
