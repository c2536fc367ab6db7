"""What a client says of a join that failed: how far it came, in a sentence, and nothing secret."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal, cast

import pytest
from livekit import rtc
from pydantic import SecretStr

from loadtest.client.__main__ import failed
from loadtest.client.joining import NotJoined, join_room
from loadtest.client.protocol import ClientConfig, Join

_JOIN = Join(url="ws://192.0.2.1:7880", token=SecretStr("hidden"))


class _Room:
    """A server that answers or does not, and no media connection."""

    def __init__(self, *, answers: bool, refusal: str = "") -> None:
        self._answers = answers
        self._refusal = refusal

    async def connect(self, _url: str, _token: str, _options: rtc.RoomOptions) -> None:
        if self._answers:
            logging.getLogger("livekit").debug("%s", "received JoinResponse: hidden")
        if self._refusal:
            raise rtc.ConnectError(self._refusal)
        await asyncio.Event().wait()


async def _why(room: _Room, transport: Literal["all", "relay"] = "all") -> NotJoined:
    config = ClientConfig(join_timeout=0.05, transport=transport, subscribe=True, wait_for_join=True)
    with pytest.raises(NotJoined) as caught:
        await join_room(cast("rtc.Room", room), _JOIN, config)
    return caught.value


async def test_a_server_that_answered_is_told_apart_from_one_that_did_not() -> None:
    silent = await _why(_Room(answers=False))
    assert str(silent) == "the server did not let it join: not within 0.05 s"
    assert silent.signalling_ms is None
    answered = await _why(_Room(answers=True))
    assert "ms, but ICE gave it no media connection: not within 0.05 s" in str(answered)
    assert answered.signalling_ms is not None
    assert "hidden" not in str(answered)


async def test_who_may_only_take_turn_is_told_that_there_is_none() -> None:
    told = await _why(_Room(answers=True), "relay")
    assert "no TURN server gave it a media connection, and it may take no other way" in str(told)


async def test_the_sdks_own_words_are_kept() -> None:
    told = await _why(_Room(answers=False, refusal="HTTP 401"))
    assert str(told) == "the server did not let it join: HTTP 401"


def test_what_ended_the_client_is_told_out_of_all_groups() -> None:
    not_joined = NotJoined("the server answered, but no media", 64)
    event = failed(ExceptionGroup("tasks", [ExceptionGroup("inner", [not_joined]), ValueError("odd")]))
    assert event.reason == "the server answered, but no media; ValueError: odd"
    assert event.signalling_ms == 64
    assert failed(ValueError("odd")).signalling_ms is None
