"""What becomes of an egress whose handler died, by what of it reached the bucket."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.info import EndReason
from recorder.recovery import conclude
from recorder.storage.resume import ResumedOutput, SavedObject, UnsavedObject
from recorder.storage.upload_events import ContentType
from tests.unit.recorder.egress_requests import plan, request, room

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
AWAY = EgressError(Code.UNAVAILABLE, "S3 upload failed: the store did not answer in time")
REFUSED = EgressError(Code.INVALID_ARGUMENT, "S3 upload failed: AccessDenied: no")
FILE: dict[str, Any] = {"file_outputs": [proto.EncodedFileOutput(filepath="x.mp4")]}
SEGMENTS: dict[str, Any] = {
    "segment_outputs": [proto.SegmentedFileOutput(playlist_name="p/index", live_playlist_name="p/live")]
}
IMAGES: dict[str, Any] = {
    "image_outputs": [proto.ImageOutput(filename_prefix="x"), proto.ImageOutput(filename_prefix="xy")]
}
STREAM: dict[str, Any] = {"stream_outputs": [proto.StreamOutput(urls=["rtmp://host/app/key"])]}


def left(*, ended: bool = False, reason: EndReason | None = None, **outputs: Any) -> proto.EgressInfo:
    """The info of a dead handler; `ended`: its recording was complete, but not in the bucket."""
    message = room(**(outputs or FILE))
    info = infos.of_request(request(message))
    infos.set_outputs(info, plan(message))
    infos.set_active(info, BEGIN)
    if reason is not None:
        infos.set_ending(info, reason)
    if ended:
        infos.set_ended_at(info, BEGIN + 9 * SECOND, 9 * SECOND)
    return info


def saved(
    path: str, kind: ContentType = ContentType.MP4, duration: float | None = None, **fields: Any
) -> SavedObject:
    return SavedObject(
        **{
            "path": path,
            "content_type": kind,
            "location": f"https://s3/{path}",
            "size": 100,
            "duration": duration,
            "backup": False,
            **fields,
        }
    )


def result(*objects: SavedObject, **fields: Any) -> ResumedOutput:
    empty = {"output": "0-fileoutput", "lost": (), "unsaved": (), "left_over": (), "error": None}
    return ResumedOutput(saved=objects, **{**empty, **fields})


def test_a_recording_that_only_waited_for_the_store_is_complete() -> None:
    info = left(ended=True, reason=EndReason.API)
    conclude(info, [result(saved("x.mp4"))])
    assert (info.status, info.error, info.details) == (
        proto.EGRESS_COMPLETE,
        "",
        "End reason: StopEgress API",
    )
    file = info.file_results[0]
    assert (file.size, file.location, file.duration) == (100, "https://s3/x.mp4", 9 * SECOND)
    assert info.file == file


def test_a_recording_that_reached_a_limit_ends_so() -> None:
    info = left(ended=True, reason=EndReason.LIMIT_REACHED)
    conclude(info, [result(saved("x.mp4"))])
    assert (info.status, info.error_code) == (proto.EGRESS_LIMIT_REACHED, 413)


def test_a_crash_leaves_what_was_recorded_until_then() -> None:
    info = left()
    conclude(info, [result(saved("x.mp4", duration=4.5))])
    assert (info.status, info.error_code) == (proto.EGRESS_FAILED, 500)
    assert info.error == "recording ended early: the recorder's process ended"
    file = info.file_results[0]
    assert (file.duration, file.ended_at) == (4_500_000_000, BEGIN + 4_500_000_000)


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ([result()], "the recorder's process ended before anything was recorded"),
        (
            [result(lost=(UnsavedObject("x.mp4", "the recording has no complete fragment"),))],
            "the recording has no complete fragment",
        ),
        ([result(error=REFUSED, unsaved=(UnsavedObject("x.mp4", str(REFUSED)),))], str(REFUSED)),
        # A playlist and a manifest without a recording are nothing.
        (
            [result(saved("p", ContentType.PLAYLIST), saved("m", ContentType.JSON))],
            "the recorder's process ended before anything was recorded",
        ),
    ],
)
def test_without_a_recording_the_egress_is_aborted(results: list[ResumedOutput], error: str) -> None:
    info = left()
    conclude(info, results)
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_ABORTED, error, 412)


def test_a_refused_output_fails_the_egress_that_saved_another_one() -> None:
    info = left(ended=True, **FILE, **SEGMENTS)
    conclude(info, [result(saved("x.mp4")), result(error=REFUSED)])
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_FAILED, str(REFUSED), 400)


def test_a_refused_output_does_not_end_the_egress_while_another_one_waits() -> None:
    """Its spool would be deleted, with the file that only waits for its store."""
    info = left(ended=True, **FILE, **SEGMENTS)
    waiting = result(unsaved=(UnsavedObject("x.mp4", str(AWAY)),), error=AWAY)
    refused = result(unsaved=(UnsavedObject("p/index.m3u8", str(REFUSED)),), error=REFUSED)
    for results in ([waiting, refused], [refused, waiting]):
        conclude(info, results)
        assert (info.status, info.error, info.ended_at) == (proto.EGRESS_ENDING, "", 0)
    conclude(info, [result(saved("x.mp4")), refused])
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_FAILED, str(REFUSED), 400)
    assert info.file_results[0].location == "https://s3/x.mp4"


def test_a_part_that_is_lost_makes_a_complete_recording_a_failed_one() -> None:
    info = left(ended=True, **FILE, **SEGMENTS)
    conclude(info, [result(saved("x.mp4")), result(lost=(UnsavedObject("p/0.ts", "its file is missing"),))])
    assert info.status == proto.EGRESS_FAILED


@pytest.mark.parametrize(
    "waiting",
    [
        result(unsaved=(UnsavedObject("x.mp4", "away"),), error=AWAY),
        result(error=AWAY),
        # A multipart upload that is still to be aborted.
        result(saved("x.mp4"), left_over=("x.mp4",)),
    ],
)
def test_what_waits_for_the_store_is_ending(waiting: ResumedOutput) -> None:
    info = left(ended=True)
    conclude(info, [waiting])
    assert (info.status, info.error, info.ended_at) == (proto.EGRESS_ENDING, "", 0)
    starting = infos.of_request(request(room()))
    conclude(starting, [waiting])
    assert starting.status == proto.EGRESS_STARTING


def test_a_crash_is_still_one_when_the_store_answers_later() -> None:
    info = left(**FILE, **SEGMENTS)
    file = result(saved("x.mp4", duration=4.5))
    conclude(info, [file, result(error=AWAY)])
    assert info.status == proto.EGRESS_ENDING
    conclude(info, [file, result(saved("p/index_00000.ts", ContentType.MPEG_TS))])
    assert info.status == proto.EGRESS_FAILED


def test_the_handlers_own_error_stays() -> None:
    info = left(ended=True)
    infos.set_error(info, EgressError(Code.UNAVAILABLE, "recording ended early: connection to room failed"))
    conclude(info, [result(saved("x.mp4"))])
    assert (info.status, info.error_code) == (proto.EGRESS_FAILED, 503)
    assert info.error == "recording ended early: connection to room failed"


def test_a_recording_that_ended_by_a_failure_is_not_complete() -> None:
    info = left(ended=True, reason=EndReason.FAILURE)
    conclude(info, [result(saved("x.mp4"))])
    assert info.status == proto.EGRESS_FAILED


def test_a_stream_was_not_for_nothing() -> None:
    info = left(**STREAM)
    info.stream_results[0].started_at = BEGIN
    conclude(info, [])
    assert (info.status, info.stream_results[0].status) == (proto.EGRESS_FAILED, proto.StreamInfo.FAILED)


def test_segments_and_images_are_counted() -> None:
    info = left(ended=True, **FILE, **SEGMENTS, **IMAGES)
    jpegs = ["x_00000.jpeg", "x_00001.jpeg", "x.jpeg", "xy_00000.jpeg"]
    conclude(
        info,
        [
            result(saved("x.mp4")),
            result(
                saved("p/index_00000.ts", ContentType.MPEG_TS),
                saved("p/index_00001.ts", ContentType.MPEG_TS, size=50),
                saved("p/index.m3u8", ContentType.PLAYLIST),
                saved("p/live.m3u8", ContentType.PLAYLIST),
            ),
            result(*(saved(path, ContentType.JPEG, backup=True) for path in jpegs)),
        ],
    )
    segments = info.segment_results[0]
    assert (segments.segment_count, segments.size) == (2, 150)
    assert segments.playlist_location == "https://s3/p/index.m3u8"
    assert segments.live_playlist_location == "https://s3/p/live.m3u8"
    assert [each.image_count for each in info.image_results] == [3, 1]
    assert info.backup_storage_used
