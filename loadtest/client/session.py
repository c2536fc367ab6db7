"""One client's whole life: get ready, join, send and take in media, leave, join again, until told to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from livekit import rtc

from loadtest.client.joining import join_room
from loadtest.client.pace import ticks
from loadtest.client.path import TransportPath
from loadtest.client.protocol import (
    ClientConfig,
    Command,
    Event,
    Finished,
    Join,
    Leave,
    Left,
    Measured,
    Ready,
    Reconnected,
    Reconnecting,
    Simulate,
    SimulatedAction,
)
from loadtest.client.publisher import Publisher
from loadtest.client.samples import TransportSecond, now_ms
from loadtest.client.statistics import TransportMeter
from loadtest.client.subscriber import Subscriber
from loadtest.definition.scenario import ActionKind

# Statistics are asked of the native library, which may be busy making a connection anew.
_STATISTICS_SECONDS: Final = 0.5

_SIMULATIONS: Final[dict[SimulatedAction, rtc.SimulateScenarioKind.ValueType]] = {
    ActionKind.RECONNECT_SIGNAL: rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT,
    ActionKind.RECONNECT_FULL: rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT,
    ActionKind.SERVER_LEAVE: rtc.SimulateScenarioKind.SIMULATE_SERVER_LEAVE,
    ActionKind.MIGRATE: rtc.SimulateScenarioKind.SIMULATE_MIGRATION,
}

# A command, or None for the end of stdin.
Commands: TypeAlias = "asyncio.Queue[Command | None]"


class Disconnected(Exception):
    """The server, or a network that stayed away, put an end to the session."""


class EndedTooEarly(Exception):
    """The client was told to end before there was anything to report."""


class UnexpectedCommand(Exception):
    """A command that the client cannot follow where it is."""


async def run_client(config: ClientConfig, commands: Commands, tell: Callable[[Event], None]) -> Finished:
    """Run one client until its commands end.

    Args:
        tell: called with each event as it happens; `Finished` is returned instead.

    Raises:
        NotJoined: it could not join.
        EndedTooEarly: it was told to end before it had joined.
        Disconnected: the room ended before the client was told to.
        UnexpectedCommand: it was told to leave a room that it is not in, or to join a second one.
    """
    _load_native_library()
    return await _Client(config, commands, tell).run()


def _load_native_library() -> None:
    """Takes a good part of a second, which must not count as joining."""
    rtc.LocalVideoTrack.create_video_track("unused", rtc.VideoSource(16, 16))


class _Client:
    def __init__(self, config: ClientConfig, commands: Commands, tell: Callable[[Event], None]) -> None:
        self._config = config
        self._commands = commands
        self._tell = tell
        self._publisher = Publisher(config.publish) if config.publish else None
        self._subscriber = Subscriber(tell) if config.subscribe else None
        self._room: rtc.Room | None = None
        self._meter = TransportMeter()
        self._measured_ms = now_ms()
        self._due, self._captured, self._late = 0, 0, 0
        self._will_be_sent_away = False
        self._paths: tuple[TransportPath, ...] = ()

    async def run(self) -> Finished:
        self._tell(Ready())
        measuring = asyncio.create_task(self._measure())
        try:
            join = await self._first_join()
            while join:
                join = await self._session(join) or await self._next_join()
        finally:
            measuring.cancel()
        captured = self._publisher.frames_captured if self._publisher else 0
        return Finished(paths=self._paths, frames_captured=captured)

    async def _first_join(self) -> Join | None:
        url, token = self._config.url, self._config.token
        return Join(url=url, token=token) if url and token else await self._next_join()

    async def _next_join(self) -> Join | None:
        """The next one; None where the client is to end, now or by a command that the session left."""
        command = await self._commands.get()
        if command is None or isinstance(command, Join):
            return command
        raise UnexpectedCommand(f"told to {command.command} while in no room; allowed is join")

    async def _session(self, join: Join) -> Join | None:
        """From joining a room to leaving it; gives what to join next, where that is not for others to say.

        The end of all commands is left in the queue.
        """
        room = rtc.Room()
        disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_disconnected(reason: rtc.DisconnectReason.ValueType) -> None:
            if not disconnected.done():
                disconnected.set_exception(Disconnected(rtc.DisconnectReason.Name(reason)))

        room.on("disconnected", on_disconnected)
        room.on("reconnecting", lambda: self._tell(Reconnecting(at_ms=now_ms())))
        room.on("reconnected", lambda: self._tell(Reconnected(at_ms=now_ms())))
        if self._subscriber:
            self._subscriber.attach(room)
        if not await self._join(room, join):
            return None
        self._meter = TransportMeter()
        self._room = room
        self._will_be_sent_away = False
        try:
            async with asyncio.TaskGroup() as tasks:
                work = [tasks.create_task(_until(disconnected))]
                if self._subscriber:
                    work.append(tasks.create_task(self._subscriber.run()))
                if self._publisher:
                    work.append(tasks.create_task(self._publisher.run(room)))
                await self._obey(room, tasks)
                await self._tell_measured()
                for task in work:
                    task.cancel()
        except* Disconnected:
            if not self._will_be_sent_away:
                raise
        finally:
            self._room = None
            room.off("disconnected", on_disconnected)
            await room.disconnect()
        if disconnected.done():
            # The SDK takes the server's word for it. Applications join again, and so does this one.
            self._tell(Reconnecting(at_ms=now_ms()))
            return join
        self._tell(Left(at_ms=now_ms()))
        return None

    async def _join(self, room: rtc.Room, join: Join) -> bool:
        """Join, unless told to leave meanwhile; says whether it is in the room."""
        joining = asyncio.create_task(join_room(room, join, self._config))
        told = asyncio.create_task(self._commands.get())
        try:
            await asyncio.wait({joining, told}, return_when=asyncio.FIRST_COMPLETED)
            if not joining.done():
                command = told.result()
                if command is None:
                    raise EndedTooEarly("told to end before it had joined")
                if not isinstance(command, Leave):
                    raise UnexpectedCommand(f"told to {command.command} while joining; allowed is leave")
                self._tell(Left(at_ms=now_ms()))
                return False
            self._tell(await joining)
            if told.done():  # at the same moment
                self._commands.put_nowait(told.result())
            return True
        finally:
            joining.cancel()
            told.cancel()

    async def _obey(self, room: rtc.Room, tasks: asyncio.TaskGroup) -> None:
        """Follow commands until one ends the session."""
        while True:
            command = await self._commands.get()
            match command:
                case None:
                    self._commands.put_nowait(None)
                    return
                case Leave():
                    return
                case Simulate():
                    self._will_be_sent_away = command.kind is ActionKind.SERVER_LEAVE
                    tasks.create_task(room.simulate_scenario(_SIMULATIONS[command.kind]))
                case Join():
                    raise UnexpectedCommand("told to join while in a room; allowed are leave and simulate")

    async def _measure(self) -> None:
        async for tick in ticks(1.0):
            if tick:
                await self._tell_measured()

    async def _tell_measured(self) -> None:
        """Tell what came since the last time."""
        transport = await self._transport()
        from_ms, self._measured_ms = self._measured_ms, now_ms()
        due_before, captured_before, late_before = self._due, self._captured, self._late
        if publisher := self._publisher:
            self._due = publisher.frames_due
            self._captured, self._late = publisher.frames_captured, publisher.frames_late
        video, audio = self._subscriber.take_second() if self._subscriber else ((), ())
        self._tell(
            Measured(
                from_ms=from_ms,
                to_ms=self._measured_ms,
                video=video,
                audio=audio,
                transport=transport,
                due=self._due - due_before,
                captured=self._captured - captured_before,
                late=self._late - late_before,
                cpu_s=time.process_time(),
            )
        )

    async def _transport(self) -> TransportSecond | None:
        room = self._room
        if room is None:
            return None
        try:
            async with asyncio.timeout(_STATISTICS_SECONDS):
                report = await room.get_rtc_stats()
        except (TimeoutError, RuntimeError):  # while a connection is made anew there may be none to ask
            return None
        second = self._meter.read(report, now_ms())
        self._paths = second.paths or self._paths
        return second


async def _until(future: asyncio.Future[None]) -> None:
    await asyncio.shield(future)
