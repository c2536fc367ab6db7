"""Whether a server answers: the request, what is an answer to it, and a real socket that gives one or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aioice import stun as other

from turn_exporter import stun

TRANSACTION = b"twelve bytes"
HOST = "127.0.0.1"


def answer(transaction: bytes, kind: other.Class = other.Class.RESPONSE) -> bytes:
    """By another implementation."""
    return bytes(other.Message(other.Method.BINDING, kind, transaction_id=transaction))


@contextmanager
def a_server(reply: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """One that answers one datagram; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.settimeout(10)

        def serve() -> None:
            asked, client = server.recvfrom(2000)
            for datagram in reply(asked):
                server.sendto(datagram, client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_another_implementation_reads_the_request() -> None:
    read = other.parse_message(stun.binding_request(TRANSACTION))
    assert read.message_method is other.Method.BINDING
    assert read.message_class is other.Class.REQUEST
    assert read.transaction_id == TRANSACTION


@pytest.mark.parametrize(
    ("datagram", "good"),
    [
        (answer(TRANSACTION), True),
        (answer(b"other twelve"), False),
        (answer(TRANSACTION, other.Class.ERROR), False),
        (answer(TRANSACTION)[:19], False),
        (b"", False),
    ],
)
def test_only_a_success_response_to_the_request_is_an_answer(datagram: bytes, good: bool) -> None:
    assert stun.is_answer_to(TRANSACTION, datagram) is good


def test_a_server_that_answers_is_up_also_after_something_else() -> None:
    with a_server(lambda asked: [b"noise", answer(asked[8:20])]) as port:
        assert stun.answers(HOST, port, seconds=5)


def test_one_that_says_something_else_or_is_not_there_is_not() -> None:
    with a_server(lambda _: [answer(b"other twelve")]) as port:
        assert not stun.answers(HOST, port, seconds=0.2)
    # Nobody has the port any more: told at once, not after five seconds.
    assert not stun.answers(HOST, port, seconds=5)
