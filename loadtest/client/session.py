"""One client's whole life in a room: join, send or take in media until told to end, report, leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit import rtc

from loadtest.client.path import TransportPath, selected_paths
from loadtest.client.protocol import ClientConfig, Event, Finished, Joined
from loadtest.client.publisher import Publisher
from loadtest.client.subscriber import Subscriber


class Disconnected(Exception):
    """The server, or a network that stayed away, put an end to the session."""


class EndedTooEarly(Exception):
    """The client was told to end before there was anything to report."""


async def run_session(config: ClientConfig, tell: Callable[[Event], None], end: asyncio.Event) -> Finished:
    """Run one client until `end` is set.

    Args:
        tell: called with each event as it happens; `Finished` is returned instead.

    Raises:
        TimeoutError, rtc.ConnectError: it could not join.
        EndedTooEarly: it was told to end before it had joined.
        Disconnected: the room ended before the client was told to.
    """
    room = rtc.Room()
    subscriber = Subscriber(config.subscribe, room, tell) if config.subscribe else None
    publisher = Publisher(config.publish) if config.publish else None
    disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_disconnected(reason: rtc.DisconnectReason.ValueType) -> None:
        if not disconnected.done():
            disconnected.set_exception(Disconnected(rtc.DisconnectReason.Name(reason)))

    room.on("disconnected", on_disconnected)
    started = time.monotonic()
    await _join(room, config, end)
    tell(
        Joined(
            identity=room.local_participant.identity,
            room=room.name,
            join_ms=(time.monotonic() - started) * 1000,
        )
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(_until(disconnected))]
            if subscriber:
                work.append(tasks.create_task(subscriber.run()))
            if publisher:
                work.append(tasks.create_task(publisher.run(room)))
            await end.wait()
            paths = await _paths(room)
            for task in work:
                task.cancel()
    finally:
        room.off("disconnected", on_disconnected)
        await room.disconnect()
    video, audio = subscriber.received() if subscriber else ((), ())
    return Finished(
        paths=paths, frames_captured=publisher.frames_captured if publisher else 0, video=video, audio=audio
    )


async def _join(room: rtc.Room, config: ClientConfig, end: asyncio.Event) -> None:
    joining = asyncio.create_task(room.connect(config.url, config.token.get_secret_value(), _options(config)))
    told_to_end = asyncio.create_task(end.wait())
    try:
        async with asyncio.timeout(config.join_timeout):
            await asyncio.wait({joining, told_to_end}, return_when=asyncio.FIRST_COMPLETED)
        if not joining.done():
            raise EndedTooEarly("told to end before it had joined")
        await joining
    finally:
        joining.cancel()
        told_to_end.cancel()


def _options(config: ClientConfig) -> rtc.RoomOptions:
    transport = (
        rtc.IceTransportType.TRANSPORT_RELAY
        if config.transport == "relay"
        else rtc.IceTransportType.TRANSPORT_ALL
    )
    return rtc.RoomOptions(
        auto_subscribe=config.subscribe is not None,
        rtc_config=rtc.RtcConfiguration(ice_transport_type=transport),
        connect_timeout=config.join_timeout,
    )


async def _until(future: asyncio.Future[None]) -> None:
    await asyncio.shield(future)


async def _paths(room: rtc.Room) -> tuple[TransportPath, ...]:
    report = await room.get_rtc_stats()
    return (
        *selected_paths("publisher", report.publisher_stats),
        *selected_paths("subscriber", report.subscriber_stats),
    )
