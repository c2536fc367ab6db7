"""Updates of an egress, as its handler answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from livekit.protocol import egress as proto

from recorder.errors import Code, EgressError
from recorder.handler import _Handler
from recorder.psrpc.methods import Method


class _Server:
    """Keeps the methods that are served, by name."""

    def __init__(self) -> None:
        self.served: dict[str, Callable[[bytes], Awaitable[Message]]] = {}

    async def serve(self, method: Method, handler: Callable[[bytes], Awaitable[Message]]) -> None:
        self.served[method.name] = handler


class _Recording:
    """Notes the changes of its streams."""

    def __init__(self) -> None:
        self.info = proto.EgressInfo(egress_id="EG_1")
        self.changes: list[tuple[list[str], list[str]]] = []

    def update_streams(self, add: list[str], remove: list[str]) -> None:
        self.changes.append((add, remove))


async def _served(recording: Any) -> dict[str, Callable[[bytes], Awaitable[Message]]]:
    handler: Any = object.__new__(_Handler)
    handler._server = _Server()
    await handler._serve(recording, "EG_1")
    served: dict[str, Callable[[bytes], Awaitable[Message]]] = handler._server.served
    return served


async def test_streams_are_added_and_removed_by_their_addresses() -> None:
    recording = _Recording()
    served = await _served(recording)
    message = proto.UpdateStreamRequest(add_output_urls=["a"], remove_output_urls=["b"])
    assert await served["UpdateStream"](message.SerializeToString()) == recording.info
    assert recording.changes == [(["a"], ["b"])]


async def test_destinations_with_ids_are_refused_and_nothing_is_changed() -> None:
    recording = _Recording()
    served = await _served(recording)
    message = proto.UpdateStreamRequest(
        add_destinations=[proto.StreamDestination(url="rtmp://host/app/key", id="a")],
        remove_output_urls=["b"],
    )
    with pytest.raises(EgressError) as refused:
        await served["UpdateStream"](message.SerializeToString())
    assert (refused.value.code, str(refused.value)) == (
        Code.INVALID_ARGUMENT,
        "add_destinations is not yet supported",
    )
    assert recording.changes == []
