"""One egress, from joining the room to the last report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import structlog
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.access import room_token
from recorder.compose.geometry import Size
from recorder.compose.layouts import parse_style
from recorder.errors import Code, EgressError
from recorder.info import EndReason
from recorder.limits import Limits, limits_of
from recorder.media.encoders import AudioEncoder, Encoders, VideoEncoder
from recorder.media.pipeline import Pipeline
from recorder.outputs.manifest import Manifest
from recorder.outputs.saving import Saving
from recorder.outputs.streaming import Streaming
from recorder.requests.beginning import Beginning
from recorder.requests.plan import Plan, RoomFacts, plan_of
from recorder.requests.sources import Composite, OneParticipant
from recorder.room import layers
from recorder.room.drawing import Drawing
from recorder.room.people import People
from recorder.room.session import Ending, RoomSession
from recorder.settings import Settings
from recorder.storage.destination import UploadObserver
from recorder.storage.spool import EgressDirectory

_POLL_SECONDS = 0.05
# Sound alone begins a recording after this, for a camera often follows the microphone.
_SOUND_ALONE_SECONDS = 0.5
# Tracks that were subscribed to begin a recording after this, whether or not a frame came.
_NO_FRAME_SECONDS = 5.0
# How long the process stays for uploads after the recording's end. The service goes on with them then.
_DRAIN_SECONDS = 30.0

log = structlog.get_logger()


class Outcome(Enum):
    """What is left to do for the service."""

    DONE = "done"
    UPLOADS_LEFT = "uploads left"


class Recording:
    """Records what `request` asks for. `report` gets each new state of the egress.

    `end` may be called at any time from the event loop.
    """

    def __init__(
        self,
        request: Any,
        settings: Settings,
        directory: EgressDirectory,
        report: Callable[[proto.EgressInfo], None],
        observer: UploadObserver,
    ) -> None:
        self._request = request
        self._settings = settings
        self._directory = directory
        self._report = report
        self._observer = observer
        self._requested_at = datetime.now(UTC)
        self._plan = plan_of(request, settings, self._requested_at)
        self._people = People()
        self._session = RoomSession(
            self._plan, self._people, settings.recorder.rejoin_timeout, self._change_layout
        )
        self._drawing: Drawing | None = None
        self._streaming: Streaming | None = None
        self._saving: Saving | None = None
        self._style = parse_style(self._layout_name)
        self._limit_reached = False
        self._loop = asyncio.get_running_loop()
        # An error that ends the egress, from outside of the pipeline.
        self._error: EgressError | None = None
        self.info = proto.EgressInfo.FromString(directory.info() or b"")

    async def run(self) -> Outcome:
        """Record until the end, save everything, and report the final state."""
        limits = limits_of(self._plan, self._settings.session_limits)
        url = self._plan.ws_url or self._settings.ws_url
        session = asyncio.create_task(self._session.run(url, self._new_token))
        limiter = asyncio.create_task(self._limit(limits))
        try:
            if (refusal := await self._wait_for_start(session)) is not None:
                refusal()
                self._report(self.info)
                return Outcome.DONE
            return await self._record(session)
        finally:
            limiter.cancel()
            self._session.end(EndReason.KILLED)
            await session

    def end(self, reason: EndReason) -> None:
        """End the recording, as StopEgress does."""
        self._session.end(reason)

    def update_streams(self, add: list[str], remove: list[str]) -> None:
        """Add and remove RTMP servers. Raises EgressError."""
        if self._streaming is None:
            text = "UpdateStream called on non-streaming egress"
            raise EgressError(Code.INVALID_ARGUMENT, text)
        self._streaming.update(add, remove)

    def set_layout(self, name: str) -> None:
        """Use another layout. Raises EgressError for an unknown one."""
        style = parse_style(name)
        self._style = style
        if self._drawing is not None:
            self._drawing.change(style)
        log.info("layout_changed", layout=name)

    def _change_layout(self, name: str) -> None:
        try:
            self.set_layout(name)
        except EgressError as error:
            log.warning("layout_refused", error=str(error))

    @property
    def _layout_name(self) -> str:
        return self._plan.video.layout if isinstance(self._plan.video, Composite) else ""

    def _new_token(self) -> str:
        plan, settings = self._plan, self._settings
        secret = settings.api_secret.get_secret_value()
        return plan.token or room_token(plan.egress_id, plan.room_name, settings.api_key, secret)

    async def _wait_for_start(self, session: asyncio.Task[Ending]) -> Callable[[], None] | None:
        """Wait for something to record; what to do to the info if there will be nothing."""
        deadline = time.monotonic() + self._settings.recorder.start_timeout
        while not self._has_something():
            if session.done():
                return self._refused(session.result())
            if time.monotonic() > deadline:
                return self._nothing_found()
            await asyncio.sleep(_POLL_SECONDS)
        return None

    def _has_something(self) -> bool:
        since = self._session.subscribed_at
        if since is None or self._session.missing_tracks:
            return False
        passed = time.monotonic() - since
        if self._people.has_picture() or passed > _NO_FRAME_SECONDS:
            return True
        return not self._session.wants_video and passed > _SOUND_ALONE_SECONDS

    def _refused(self, ending: Ending) -> Callable[[], None]:
        error = ending.error or self._error
        if error is not None:
            return lambda: infos.set_failed(self.info, error)
        infos.set_ending(self.info, ending.reason)
        if self._limit_reached:
            return lambda: infos.set_limit_before_start(self.info)
        return lambda: infos.set_aborted(self.info, infos.STOPPED_BEFORE_STARTED)

    def _nothing_found(self) -> Callable[[], None]:
        """The error of livekit/egress for a room, a participant or a track in which nothing is published."""
        match self._plan.video:
            case OneParticipant(identity):
                missing = EgressError(Code.NOT_FOUND, f"participant {identity} not found")
            case _ if self._session.missing_tracks:
                missing = EgressError(Code.NOT_FOUND, f"track {self._session.missing_tracks[0]} not found")
            case _:
                return lambda: infos.set_aborted(self.info, infos.START_NOT_RECEIVED)
        return lambda: infos.set_failed(self.info, missing)

    async def _record(self, session: asyncio.Task[Ending]) -> Outcome:
        facts = self._session.facts
        plan = plan_of(self._request, self._settings, self._requested_at, facts)
        infos.set_outputs(self.info, plan)
        beginning = Beginning(self._requested_at, facts)
        await asyncio.to_thread(self._directory.write_beginning, beginning.encode())
        unsaved: asyncio.Future[Exception] = self._loop.create_future()
        failed: asyncio.Future[EgressError | None] = self._loop.create_future()

        def cannot_save(error: Exception) -> None:
            self._loop.call_soon_threadsafe(unsaved.set_result, error)

        def ended(error: EgressError | None) -> None:
            self._loop.call_soon_threadsafe(failed.set_result, error)

        saving = self._saving = await asyncio.to_thread(
            Saving, plan, self._settings, self._directory, self._observer, cannot_save
        )

        begin = time.monotonic()
        began_at = datetime.now(UTC)
        pipeline = await asyncio.to_thread(self._open, plan, saving, began_at, ended)
        pipeline.start(begin)
        infos.set_active(self.info, round(began_at.timestamp() * 1e9))
        self._report(self.info)
        log.info("recording", kind=plan.kind, seconds_to_start=round(self._seconds_since_request(), 2))
        fitting = asyncio.create_task(self._fit())
        error = await self._until_end(session, failed, unsaved)
        fitting.cancel()
        pipeline.end(time.monotonic())
        media_error = await failed
        log.info(
            "recorded",
            seconds=round(pipeline.progress.seconds, 3),
            frames=pipeline.progress.frames,
            frames_left_out=pipeline.progress.frames_left_out,
        )
        duration = round(pipeline.progress.seconds * 1e9)
        infos.set_ended_at(self.info, round(began_at.timestamp() * 1e9) + duration, duration)
        error = error or media_error
        if error is not None:
            infos.set_error(self.info, error)
        return await self._save(plan, facts, saving, error)

    def _open(
        self,
        plan: Plan,
        saving: Saving,
        began_at: datetime,
        ended: Callable[[EgressError | None], None],
    ) -> Pipeline:
        video = plan.encoding.video if plan.video is not None else None
        encoders = _encoders(plan)
        sinks, takers = saving.open(encoders, began_at)
        size = Size(plan.encoding.video.width, plan.encoding.video.height)
        composite = isinstance(plan.video, Composite)
        self._drawing = Drawing(self._people, size, self._style, composite=composite)
        pipeline = Pipeline(
            scene=self._drawing,
            encoders=encoders,
            video=video,
            sinks=sinks,
            pictures=takers,
            ended=ended,
        )
        if plan.stream is not None:
            self._streaming = Streaming(
                output=plan.stream,
                encoders=encoders,
                pipeline=pipeline,
                info=self.info,
                changed=self._report_now,
                ended=self._streams_ended,
                loop=self._loop,
            )
        return pipeline

    async def _fit(self) -> None:
        """Keep the simulcast layers as large as the tiles of a composite."""
        while isinstance(self._plan.video, Composite) and self._drawing is not None:
            self._session.fit(self._drawing.placed)
            await asyncio.sleep(layers.INTERVAL)

    async def _until_end(
        self,
        session: asyncio.Task[Ending],
        failed: asyncio.Future[EgressError | None],
        unsaved: asyncio.Future[Exception],
    ) -> EgressError | None:
        """Wait for the recording's end, and report that it is ending; the error, if that is the reason."""
        waiting: list[asyncio.Future[Any]] = [session, failed, unsaved]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        error: EgressError | None = None
        reason = EndReason.FAILURE
        if session.done():
            reason, error = session.result().reason, session.result().error or self._error
        elif unsaved.done():
            error = _ended_early(unsaved.result())
        if self._limit_reached:
            reason = EndReason.LIMIT_REACHED
        infos.set_ending(self.info, reason)
        self._report(self.info)
        return error

    async def _save(self, plan: Plan, facts: RoomFacts, saving: Saving, error: EgressError | None) -> Outcome:
        """Bring everything into the bucket and report the final state."""
        manifest = Manifest(plan, facts, self.info.started_at)
        deadline = time.monotonic() + _DRAIN_SECONDS
        try:
            if self._streaming is not None:
                await asyncio.to_thread(self._streaming.close)
            problem = await asyncio.to_thread(saving.close)
            if problem is not None and error is None:
                error = _ended_early(problem)
                infos.set_error(self.info, error)
            self._report(self.info)
            location: str | None = None
            if await asyncio.to_thread(saving.drain, deadline):
                ended_at = time.time_ns()
                location = await asyncio.to_thread(saving.save_manifest, manifest, ended_at, deadline)
            if location is None:
                log.warning("uploads_left", after_seconds=_DRAIN_SECONDS)
                return Outcome.UPLOADS_LEFT
            self.info.manifest_location = location
        except EgressError as refusal:
            error = error or refusal
        finally:
            await asyncio.to_thread(saving.stop)
        saving.fill(self.info)
        self._finish(error)
        return Outcome.DONE

    def _finish(self, error: EgressError | None) -> None:
        if error is not None:
            infos.set_failed(self.info, error)
        elif self._limit_reached:
            infos.set_limit_reached(self.info)
        else:
            infos.set_complete(self.info)
        self._report(self.info)

    def _report_now(self) -> None:
        self._report(self.info)

    def _streams_ended(self, error: str) -> None:
        """No RTMP server is left. Without another output there is nothing more to do."""
        if any(each.target is not None for each in self._plan.outputs):
            return
        if error:
            self._error = EgressError(Code.UNAVAILABLE, error)
        self._session.end(EndReason.FAILURE if error else EndReason.STREAMS_STOPPED)

    async def _limit(self, limits: Limits) -> None:
        """End the egress when it reaches a limit of the configuration."""
        began = time.monotonic()
        try:
            while True:
                if limits.reached(time.monotonic() - began, self._file_bytes):
                    break
                await asyncio.sleep(limits.interval)
        except Exception as error:
            # No code awaits this task, and without it nothing would limit the recording.
            log.exception("limit_failed")
            text = f"recording ended early: {type(error).__name__}: {error}"
            self._error = EgressError(Code.INTERNAL, text)
            self._session.end(EndReason.FAILURE)
            return
        log.info("limit_reached")
        self._limit_reached = True
        self._session.end(EndReason.LIMIT_REACHED)

    def _file_bytes(self) -> int:
        """What counts against the limit of size: other outputs' files are deleted while it is measured."""
        return self._saving.file_bytes() if self._saving is not None else 0

    def _seconds_since_request(self) -> float:
        return time.time() - self.info.started_at / 1e9


def _encoders(plan: Plan) -> Encoders:
    codec = plan.encoding.audio.codec
    return Encoders(
        video=VideoEncoder(plan.encoding.video) if plan.video is not None else None,
        audio=AudioEncoder(plan.encoding.audio, codec) if plan.audio is not None and codec else None,
    )


def _ended_early(problem: Exception) -> EgressError:
    if isinstance(problem, EgressError):
        return problem
    return EgressError(Code.INTERNAL, f"recording ended early: {problem}")
