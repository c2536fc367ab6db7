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
from recorder.storage.destination import Destination
from recorder.storage.resume import ResumedOutput, SavedObject, resume
from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.upload_events import ContentType

# Uploads mostly wait for the store. But the length of a recording is measured with a whole core.
_AT_ONCE = 4
_ONE_TRY_SECONDS = 60.0
# token-api gives up a recording of which it hears nothing new for ten minutes. One that waits for its turn is
# reported this often.
_SILENT_SECONDS = 120.0
_REPORT_SECONDS = 5.0
_CRASHED = "recording ended early: the recorder's process ended"
_NOTHING_SAVED = "the recorder's process ended before anything was recorded"
_AWAY = EgressError(Code.UNAVAILABLE, "S3 upload failed: the store does not answer")
_MEDIA = frozenset(ContentType) - {ContentType.PLAYLIST, ContentType.JSON}

log = structlog.get_logger()


class Recovery:
    """Looks after abandoned directories of the spool."""

    def __init__(self, settings: Settings, spool: Spool, client: Client) -> None:
        self._settings = settings
        self._spool = spool
        self._client = client
        self._wanted = asyncio.Event()
        # Stores that did not answer in this round: endpoints with their regions.
        self._away: set[tuple[str, str]] = set()

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
        """Try each abandoned directory once, some at a time. One that fails does not keep others waiting."""
        directories = await asyncio.to_thread(list, self._spool.abandoned())
        self._away.clear()
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._try(directory, turns) for directory in directories))

    async def _try(self, directory: EgressDirectory, turns: asyncio.Semaphore) -> None:
        with structlog.contextvars.bound_contextvars(egress_id=directory.egress_id):
            removed = False
            try:
                await self._wait_for_turn(directory, turns)
                try:
                    removed = await self._recover(directory)
                finally:
                    turns.release()
            except Exception:
                log.exception("recovery_failed")
            if not removed:
                directory.close()

    async def _wait_for_turn(self, directory: EgressDirectory, turns: asyncio.Semaphore) -> None:
        """Take one of the turns. Before and meanwhile LiveKit hears that the egress still exists."""
        while True:
            await self._report_waiting(directory)
            try:
                async with asyncio.timeout(_SILENT_SECONDS):
                    await turns.acquire()
            except TimeoutError:
                continue
            return

    async def _report_waiting(self, directory: EgressDirectory) -> None:
        """Report an unfinished egress as it was, unless it was reported a short time ago."""
        info = proto.EgressInfo.FromString(directory.info() or b"")
        now = time.time_ns()
        if info.status in infos.FINAL or now - info.updated_at < _SILENT_SECONDS * 1e9:
            return
        info.updated_at = now
        try:
            await self._client.call("UpdateEgress", info, seconds=_REPORT_SECONDS)
        except CallFailed as error:
            log.warning("report_not_taken", error=str(error))

    async def _recover(self, directory: EgressDirectory) -> bool:
        """Upload and report what is in `directory`; whether it is done and removed."""
        request = StartEgressRequest.FromString(directory.request())
        info = proto.EgressInfo.FromString(directory.info() or b"")
        log.info("recovering", status=proto.EgressStatus.Name(info.status))
        if info.status not in infos.FINAL:
            try:
                await asyncio.to_thread(self._save, directory, request, info)
            except EgressError as error:
                # Neither the request nor its stores get better by another attempt.
                log.error("recovery_refused", error=str(error))
                conclude(info, [_not_tried("", error)])
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
        """Upload what is in `directory`, and update `info` with the result. Blocks."""
        encoded = directory.beginning()
        known = decode(encoded) if encoded is not None else None
        requested_at = known.requested_at if known is not None else datetime.now(UTC)
        plan = plan_of(request, self._settings, requested_at, known.facts if known is not None else None)
        destinations = destinations_of(plan, self._settings)
        outputs = directory.outputs()
        if outputs and all(_store(destinations[each]) in self._away for each in outputs):
            conclude(info, [_not_tried(each, _AWAY) for each in outputs])
            return
        before = _progress(directory)
        results = resume(directory, destinations, timeout=_ONE_TRY_SECONDS, finish=finishers_of(plan, info))
        self._away |= _stores_away(results, destinations, before, _progress(directory))
        if known is not None and not any(_has_more(each) for each in results) and _recorded(results):
            manifests = manifests_of(plan, known.facts, info, results)
            results = resume(directory, destinations, timeout=_ONE_TRY_SECONDS, finish=manifests)
            info.manifest_location = _manifest_location(results)
        conclude(info, results)


def conclude(info: proto.EgressInfo, results: Sequence[ResumedOutput]) -> None:
    """Change `info` to what the uploads of an abandoned egress lead to. Pure, in place.

    What still waits for a store leaves the egress ENDING, also where the store of another output has refused:
    the next attempt asks that one again. A recording that was complete ends as it would have in its handler.
    Another one ends FAILED with what was saved, or ABORTED if that is nothing.
    """
    if any(_is_unsettled(each) for each in results):
        if info.status != proto.EGRESS_STARTING:
            info.status = proto.EGRESS_ENDING
        # token-api gives up a recording of which it hears nothing new for ten minutes.
        info.updated_at = time.time_ns()
        return
    refusal = next((each.error for each in results if each.error), None)
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


def _is_unsettled(result: ResumedOutput) -> bool:
    """Whether another attempt may save more of the output. A store that refused would refuse again."""
    return _has_more(result) and (result.error is None or _is_pending(result.error))


def _not_tried(output: str, error: EgressError) -> ResumedOutput:
    """An output of which nothing was uploaded now."""
    return ResumedOutput(output, (), (), (), (), error)


def _store(destination: Destination) -> tuple[str, str]:
    """The store that a destination's uploads wait for: without a backup, its primary one."""
    target = destination.primary.target
    return target.endpoint, target.region


def _progress(directory: EgressDirectory) -> dict[str, int]:
    """The sizes of the journals by output: each request that succeeds makes one longer."""
    return {name: directory.journal(name).stat().st_size for name in directory.outputs()}


def _stores_away(
    results: Sequence[ResumedOutput],
    destinations: Mapping[str, Destination],
    before: Mapping[str, int],
    after: Mapping[str, int],
) -> set[tuple[str, str]]:
    """The stores that answered nothing in an attempt. Where there is a backup, either one may be away."""
    return {
        _store(destinations[each.output])
        for each in results
        if each.error is not None
        and _is_pending(each.error)
        and destinations[each.output].backup is None
        and before.get(each.output) == after.get(each.output)
    }


def _recorded(results: Sequence[ResumedOutput]) -> bool:
    """Whether there is media in the bucket."""
    return any(each.content_type in _MEDIA for result in results for each in result.saved)


def _manifest_location(results: Sequence[ResumedOutput]) -> str:
    locations = [
        each.location for result in results for each in result.saved if each.content_type is ContentType.JSON
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
