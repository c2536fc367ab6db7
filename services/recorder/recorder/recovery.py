"""Saves what dead handlers left in the spool, and reports it to LiveKit.

A directory is left by a handler that crashed, by a pod that was deleted, or while the store was away at the
recording's end.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.info import EndReason
from recorder.outputs.saving import destinations_of, finishers_of, manifests_of
from recorder.psrpc.client import CallFailed, Client
from recorder.requests.beginning import decode
from recorder.requests.plan import plan_of
from recorder.requests.rpc import StartEgressRequest
from recorder.settings import Settings
from recorder.storage.resume import ResumedOutput, SavedObject, resume
from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.upload_events import ContentType

_ONE_TRY_SECONDS = 60.0
_REPORT_SECONDS = 5.0
_CRASHED = "recording ended early: the recorder's process ended"
_NOTHING_SAVED = "the recorder's process ended before anything was recorded"
_MEDIA = frozenset(ContentType) - {ContentType.PLAYLIST, ContentType.JSON}

log = structlog.get_logger()


class Recovery:
    """Looks after abandoned directories of the spool."""

    def __init__(self, settings: Settings, spool: Spool, client: Client) -> None:
        self._settings = settings
        self._spool = spool
        self._client = client
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """There is something to recover: do not wait for the next time."""
        self._wanted.set()

    async def wanted(self, seconds: float) -> None:
        """Wait until `want` was called, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return
        finally:
            self._wanted.clear()

    async def run_once(self) -> None:
        """Try each abandoned directory once. One that fails does not keep the others waiting."""
        abandoned = self._spool.abandoned()
        while (directory := await asyncio.to_thread(next, abandoned, None)) is not None:
            with structlog.contextvars.bound_contextvars(egress_id=directory.egress_id):
                try:
                    removed = await self._recover(directory)
                except Exception:
                    log.exception("recovery_failed")
                    removed = False
                if not removed:
                    directory.close()

    async def _recover(self, directory: EgressDirectory) -> bool:
        """Upload and report what is in `directory`; whether it is done and removed."""
        request = StartEgressRequest.FromString(directory.request())
        info = proto.EgressInfo.FromString(directory.info() or b"")
        log.info("recovering", status=proto.EgressStatus.Name(info.status))
        if info.status not in infos.FINAL:
            await asyncio.to_thread(self._save, directory, request, info)
            directory.write_info(info.SerializeToString())
            log.info("recovered", status=proto.EgressStatus.Name(info.status), error=info.error)
        try:
            await self._client.call("UpdateEgress", info, seconds=_REPORT_SECONDS)
        except CallFailed as error:
            log.warning("report_not_taken", error=str(error))
            return False
        if info.status not in infos.FINAL:
            return False
        directory.remove()
        return True

    def _save(self, directory: EgressDirectory, request: Any, info: proto.EgressInfo) -> None:
        """Upload what is in `directory`, and change `info` to what that leads to. Blocks."""
        encoded = directory.beginning()
        known = decode(encoded) if encoded is not None else None
        requested_at = known.requested_at if known is not None else datetime.now(UTC)
        plan = plan_of(request, self._settings, requested_at, known.facts if known is not None else None)
        destinations = destinations_of(plan, self._settings)
        results = resume(
            directory, destinations, timeout=_ONE_TRY_SECONDS, finish=finishers_of(plan, info)
        )
        if known is not None and not any(_has_more(each) for each in results) and _recorded(results):
            manifests = manifests_of(plan, known.facts, info, results)
            results = resume(directory, destinations, timeout=_ONE_TRY_SECONDS, finish=manifests)
            info.manifest_location = _manifest_location(results)
        conclude(info, results)


def conclude(info: proto.EgressInfo, results: Sequence[ResumedOutput]) -> None:
    """Change `info` to what the uploads of an abandoned egress lead to. Pure, in place.

    What still waits for a store leaves the egress ENDING. A recording that was complete ends as it would have
    in its handler. Another one ends FAILED with what was saved, or ABORTED if that is nothing.
    """
    refusal = next((each.error for each in results if each.error and not _is_pending(each.error)), None)
    if refusal is None and any(_has_more(each) for each in results):
        if info.status != proto.EGRESS_STARTING:
            info.status = proto.EGRESS_ENDING
        # token-api gives up a recording of which it hears nothing new for ten minutes.
        info.updated_at = time.time_ns()
        return
    was_complete = _is_complete(info)
    saved = {each.path: each for result in results for each in result.saved}
    _fill(info, saved)
    recorded = _recorded(results)
    streamed = any(each.started_at for each in info.stream_results)
    lost = next((each.reason for result in results for each in result.lost), None)
    problem = refusal or _own_error(info)
    if problem is None and (lost is not None or not was_complete):
        text = _CRASHED if recorded or streamed else lost or _NOTHING_SAVED
        problem = EgressError(Code.INTERNAL, text)
    if problem is None:
        if info.details == infos.details_of(EndReason.LIMIT_REACHED):
            infos.set_limit_reached(info)
        else:
            infos.set_complete(info)
    elif recorded or streamed:
        infos.set_failed(info, problem)
    else:
        infos.set_aborted(info, str(problem))


def _has_more(result: ResumedOutput) -> bool:
    """Whether something of the output is not settled yet."""
    return bool(result.unsaved or result.left_over or result.error)


def _recorded(results: Sequence[ResumedOutput]) -> bool:
    """Whether there is media in the bucket."""
    return any(each.content_type in _MEDIA for result in results for each in result.saved)


def _manifest_location(results: Sequence[ResumedOutput]) -> str:
    locations = [
        each.location
        for result in results
        for each in result.saved
        if each.content_type is ContentType.JSON
    ]
    return locations[0] if locations else ""


def _is_pending(error: EgressError) -> bool:
    """Whether the store did not answer, so that another attempt may succeed."""
    return error.code is Code.UNAVAILABLE


def _own_error(info: proto.EgressInfo) -> EgressError | None:
    """The error that ended the recording in its handler."""
    if info.error:
        code = next((code for code in Code if code.http_status == info.error_code), Code.INTERNAL)
        return EgressError(code, info.error)
    if info.details == infos.details_of(EndReason.FAILURE):
        return EgressError(Code.INTERNAL, _CRASHED)
    return None


def _is_complete(info: proto.EgressInfo) -> bool:
    """Whether the recording has its end."""
    return (
        any(each.ended_at for each in info.file_results)
        or any(each.ended_at for each in info.segment_results)
        or any(each.ended_at for each in info.image_results)
    )


def _fill(info: proto.EgressInfo, saved: Mapping[str, SavedObject]) -> None:
    """Sizes, counts and locations of what is in the bucket."""
    for file in info.file_results:
        found = saved.get(file.filename)
        if found is None:
            continue
        file.size, file.location = found.size, found.location
        if not file.ended_at and found.duration is not None:
            file.duration = round(found.duration * 1e9)
            file.ended_at = file.started_at + file.duration
    for segments in info.segment_results:
        if (playlist := saved.get(segments.playlist_name)) is not None:
            segments.playlist_location = playlist.location
        if (playlist := saved.get(segments.live_playlist_name)) is not None:
            segments.live_playlist_location = playlist.location
        of_segments = [each for each in saved.values() if each.content_type is ContentType.MPEG_TS]
        segments.segment_count, segments.size = len(of_segments), sum(each.size for each in of_segments)
    for images in info.image_results:
        # An index or a time follows the prefix; both are digits.
        name = re.compile(re.escape(images.filename_prefix) + r"(_\d+)?\.jpeg")
        images.image_count = sum(name.fullmatch(path) is not None for path in saved)
    info.backup_storage_used = info.backup_storage_used or any(each.backup for each in saved.values())
