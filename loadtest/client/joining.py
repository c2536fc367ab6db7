"""Joining a room, with the time of the server's join answer, which the SDK tells nobody but its log."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from livekit import rtc

from loadtest.client.protocol import ClientConfig, Join, Joined
from loadtest.client.samples import now_ms

# Without it the SDK's Python side drops the debug records of its Rust side unseen.
_DEBUG_SWITCH = "LIVEKIT_RTC_DEBUG"
_ANSWERED = "received JoinResponse"


class NotJoined(Exception):
    """The client did not come into the room. The message is a sentence that says how far it came.

    Attributes:
        signalling_ms: from the start of connecting to the server's join answer; None where none came.
    """

    def __init__(self, reason: str, signalling_ms: float | None) -> None:
        super().__init__(reason)
        self.signalling_ms = signalling_ms


async def join_room(room: rtc.Room, join: Join, config: ClientConfig) -> Joined:
    """Connect, and say how long what took.

    The SDK connects to its media server before `connect` returns, so that is when a media connection is
    up; it looks every 50 ms, or as soon as it is told.

    Raises:
        NotJoined: the server or the network refused, or it took longer than it may.
    """
    started_ms = now_ms()
    with _watched_answer() as answer:
        try:
            async with asyncio.timeout(config.join_timeout):
                await room.connect(join.url, join.token.get_secret_value(), _options(config))
        except (TimeoutError, rtc.ConnectError) as error:
            signalling_ms = None if answer.at_ms is None else answer.at_ms - started_ms
            raise NotJoined(_in_a_sentence(config, signalling_ms, error), signalling_ms) from error
    at_ms = now_ms()
    answered_ms = answer.at_ms
    return Joined(
        identity=room.local_participant.identity,
        room=room.name,
        at_ms=at_ms,
        join_ms=at_ms - started_ms,
        signalling_ms=None if answered_ms is None else answered_ms - started_ms,
        ice_ms=None if answered_ms is None else at_ms - answered_ms,
    )


def _in_a_sentence(config: ClientConfig, signalling_ms: float | None, error: Exception) -> str:
    said = str(error) or f"not within {config.join_timeout:g} s"
    if signalling_ms is None:
        return f"the server did not let it join: {said}"
    found_none = (
        "no TURN server gave it a media connection, and it may take no other way"
        if config.transport == "relay"
        else "ICE gave it no media connection"
    )
    return f"the server answered after {signalling_ms:.0f} ms, but {found_none}: {said}"


def _options(config: ClientConfig) -> rtc.RoomOptions:
    transport = (
        rtc.IceTransportType.TRANSPORT_RELAY
        if config.transport == "relay"
        else rtc.IceTransportType.TRANSPORT_ALL
    )
    return rtc.RoomOptions(
        auto_subscribe=config.subscribe,
        rtc_config=rtc.RtcConfiguration(ice_transport_type=transport),
        connect_timeout=config.join_timeout,
    )


class _Answer(logging.Filter):
    """Takes the time of one record, and lets no debug record through: they hold passwords."""

    at_ms: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.args[-1] if isinstance(record.args, tuple) and record.args else ""
        if self.at_ms is None and isinstance(message, str) and message.startswith(_ANSWERED):
            self.at_ms = now_ms()
        return record.levelno > logging.DEBUG


@contextmanager
def _watched_answer() -> Iterator[_Answer]:
    """Records come one by one from a thread of the SDK, a fraction of a millisecond after they are made
    as long as few are: the flood of them comes after the answer, with ICE."""
    logger, answer = logging.getLogger("livekit"), _Answer()
    level = logger.level
    logger.addFilter(answer)
    logger.setLevel(logging.DEBUG)
    os.environ[_DEBUG_SWITCH] = "true"
    try:
        yield answer
    finally:
        del os.environ[_DEBUG_SWITCH]
        logger.setLevel(level)
        logger.removeFilter(answer)
