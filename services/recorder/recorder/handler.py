"""A handler process: waits for an egress, records it, and ends."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import structlog
from livekit.protocol import egress as proto

# The recording's libraries are loaded while this process waits for an egress.
from recorder import info as infos
from recorder import logs
from recorder.errors import Code, EgressError, not_supported
from recorder.handlers import EXIT_DONE, EXIT_FAILED, EXIT_LEFT, Assignment, next_error, receive_assignment
from recorder.info import EndReason
from recorder.psrpc.bus import Bus
from recorder.psrpc.client import Client
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Server
from recorder.recording import Outcome, Recording
from recorder.redis_connection import connect
from recorder.report import Reporter
from recorder.requests.rpc import StartEgressRequest, UpdateEgressRequest
from recorder.settings import Settings
from recorder.storage.destination import UploadObserver
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_state import StoredObject

# How long the process stays for LiveKit to take the last report.
_REPORT_SECONDS = 10.0

log = structlog.get_logger()


def run_handler(settings: Settings) -> int:
    """Wait for an assignment and carry it out; the exit code."""
    assignment = receive_assignment()
    if assignment is None:
        return EXIT_DONE
    logs.configure(settings.logging.level, service="recorder", egress_id=assignment.egress_id)
    return asyncio.run(_Handler(settings, assignment).run())


class _Uploads(UploadObserver):
    """Tells the service of each upload, by lines on standard output."""

    def stored(self, stored: StoredObject, seconds: float) -> None:
        _tell(stored.content_type, "success", seconds, backup=stored.backup)

    def switched(self, reason: str) -> None:
        log.warning("backup_storage_used", reason=reason)

    def failed(self, error: EgressError) -> None:
        log.error("upload_failed", error=str(error))
        _tell("", "4xx" if error.code is Code.INVALID_ARGUMENT else "internal", 0.0, backup=False)


def _tell(content_type: str, status: str, seconds: float, *, backup: bool) -> None:
    told = {
        "content_type": content_type,
        "status": status,
        "milliseconds": round(seconds * 1000),
        "backup": backup,
    }
    print(json.dumps(told), flush=True)


class _Handler:
    def __init__(self, settings: Settings, assignment: Assignment) -> None:
        self._settings = settings
        path = settings.recorder.spool / assignment.egress_id
        self._directory = EgressDirectory(path, assignment.lock)
        self._channel = assignment.channel
        # The error with which the service ended the egress.
        self._ended_by: EgressError | None = None
        redis = connect(settings.redis)
        self._redis = redis
        self._bus = Bus(redis)
        self._server = Server(self._bus)
        self._client = Client(self._bus, "IOInfo")

    async def run(self) -> int:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._bus.run())]
            try:
                return await self._carry_out(tasks, background)
            finally:
                for task in background:
                    task.cancel()
                await self._redis.aclose()

    async def _carry_out(self, tasks: asyncio.TaskGroup, background: list[asyncio.Task[None]]) -> int:
        request = StartEgressRequest.FromString(self._directory.request())
        reporter = Reporter(self._client, self._save)
        # Redis may be away: the recording begins nevertheless, and is reported later.
        background.append(tasks.create_task(self._client.open()))
        background.append(tasks.create_task(reporter.run()))

        def report(info: proto.EgressInfo) -> None:
            if self._ended_by is not None:
                infos.set_ended_by_service(info, self._ended_by)
            reporter.update(info)

        try:
            recording = Recording(request, self._settings, self._directory, report, _Uploads())
            background.append(tasks.create_task(self._serve(recording, request.egress_id)))
            background.append(tasks.create_task(self._follow_service(recording)))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, recording.end, EndReason.KILLED)
            outcome = await recording.run()
        except Exception as error:
            log.exception("recording_failed")
            await self._fail(reporter, error)
            return EXIT_FAILED
        finally:
            # What the next process goes on with.
            await reporter.saved()
        if outcome is Outcome.UPLOADS_LEFT:
            return EXIT_LEFT
        if not await reporter.final_taken(_REPORT_SECONDS):
            log.warning("report_left")
            return EXIT_LEFT
        self._directory.remove()
        return EXIT_DONE

    async def _fail(self, reporter: Reporter, error: Exception) -> None:
        """A bug, or a full disk, ended the recording. The service saves what there is, and reports it."""
        await reporter.saved()
        info = proto.EgressInfo.FromString(self._directory.info() or b"")
        if info.status not in infos.FINAL:
            text = f"recording ended early: {type(error).__name__}: {error}"
            info.error, info.error_code = text, Code.INTERNAL.http_status
            reporter.update(info)

    async def _follow_service(self, recording: Recording) -> None:
        """End the recording when the service says so."""
        while (error := await next_error(self._channel)) is not None:
            if recording.info.status in {proto.EGRESS_STARTING, proto.EGRESS_ACTIVE}:
                log.warning("ended_by_service", error=str(error))
                self._ended_by = error
                recording.end(EndReason.FAILURE)

    def _save(self, info: proto.EgressInfo) -> None:
        try:
            self._directory.write_info(info.SerializeToString())
        except OSError as error:
            log.error("state_not_saved", error=str(error))

    async def _serve(self, recording: Recording, egress_id: str) -> None:
        """Answer StopEgress and the updates of this egress."""

        async def stop(_payload: bytes) -> proto.EgressInfo:
            recording.end(EndReason.API)
            answer = proto.EgressInfo()
            answer.CopyFrom(recording.info)
            if answer.status in {proto.EGRESS_STARTING, proto.EGRESS_ACTIVE}:
                # It is ending from now on, whatever the recording is doing at this moment.
                infos.set_ending(answer, EndReason.API)
            return answer

        async def update_stream(payload: bytes) -> proto.EgressInfo:
            message = proto.UpdateStreamRequest.FromString(payload)
            if message.add_destinations:
                raise not_supported("add_destinations")
            recording.update_streams(list(message.add_output_urls), list(message.remove_output_urls))
            return recording.info

        async def update_egress(payload: bytes) -> proto.EgressInfo:
            message: Any = UpdateEgressRequest.FromString(payload)
            if message.url:
                raise EgressError(Code.INVALID_ARGUMENT, "url is not yet supported")
            if message.layout:
                recording.set_layout(message.layout)
            if message.add_stream_urls or message.remove_stream_urls:
                recording.update_streams(list(message.add_stream_urls), list(message.remove_stream_urls))
            return recording.info

        for name, handle in (
            ("StopEgress", stop),
            ("UpdateStream", update_stream),
            ("UpdateEgress", update_egress),
        ):
            await self._server.serve(Method("EgressHandler", name, topic=egress_id, queue=True), handle)
