"""EgressInfo, as livekit/egress fills it."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.info import EndReason
from recorder.requests.outputs import StreamTarget
from tests.unit.recorder.egress_requests import ROOM, file_output, plan, request, room, unified

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
END = BEGIN + 5 * SECOND
URL = "rtmp://host/app/streamkey"
SHOWN_URL = "rtmp://host/app/{str...key}"
S3 = proto.S3Upload(
    bucket="other",
    access_key="KEYID",
    secret="hidden",
    session_token="hidden",
    assume_role_external_id="hidden",
    metadata={"k": "v"},
)
SHOWN_S3 = proto.S3Upload(
    bucket="other",
    access_key="{access_key}",
    secret="{secret}",
    session_token="{session_token}",
    assume_role_external_id="{external_id}",
    metadata={"k": "v"},
)
STREAMS = proto.StreamOutput(urls=[URL], destinations=[{"url": URL, "id": "a"}])
SHOWN_STREAMS = proto.StreamOutput(urls=[SHOWN_URL], destinations=[{"url": SHOWN_URL, "id": "a"}])
FILE = {"file_outputs": [proto.EncodedFileOutput(filepath="x.mp4")]}
SEGMENTS = {
    "segment_outputs": [proto.SegmentedFileOutput(playlist_name="p/index", live_playlist_name="p/live")]
}
IMAGES = {"image_outputs": [proto.ImageOutput(filename_prefix="p/i")]}
STREAM = {"stream_outputs": [proto.StreamOutput(urls=[URL])]}


def started(**outputs: Any) -> proto.EgressInfo:
    """The info of a room's egress with these outputs that records since BEGIN."""
    message = room(**outputs)
    info = infos.of_request(request(message))
    infos.set_outputs(info, plan(message))
    infos.set_active(info, BEGIN)
    return info


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            room(file_outputs=[proto.EncodedFileOutput(s3=S3)], stream_outputs=[STREAMS]),
            room(file_outputs=[proto.EncodedFileOutput(s3=SHOWN_S3)], stream_outputs=[SHOWN_STREAMS]),
        ),
        (
            room(
                segment_outputs=[proto.SegmentedFileOutput(s3=S3)], image_outputs=[proto.ImageOutput(s3=S3)]
            ),
            room(
                segment_outputs=[proto.SegmentedFileOutput(s3=SHOWN_S3)],
                image_outputs=[proto.ImageOutput(s3=SHOWN_S3)],
            ),
        ),
        (room(file=proto.EncodedFileOutput(s3=S3)), room(file=proto.EncodedFileOutput(s3=SHOWN_S3))),
        (
            proto.TrackEgressRequest(room_name=ROOM, file=proto.DirectFileOutput(s3=S3)),
            proto.TrackEgressRequest(room_name=ROOM, file=proto.DirectFileOutput(s3=SHOWN_S3)),
        ),
        (
            unified(
                file_output(storage=proto.StorageConfig(s3=S3)),
                proto.Output(stream=STREAMS),
                storage=proto.StorageConfig(s3=S3),
            ),
            unified(
                file_output(storage=proto.StorageConfig(s3=SHOWN_S3)),
                proto.Output(stream=SHOWN_STREAMS),
                storage=proto.StorageConfig(s3=SHOWN_S3),
            ),
        ),
    ],
)
def test_the_request_is_shown_without_its_secrets(given: Any, shown: Any) -> None:
    info = infos.of_request(request(given))
    assert getattr(info, info.WhichOneof("request") or "") == shown


def test_a_new_egress_is_starting() -> None:
    info = infos.of_request(request(room(), retry_count=2))
    assert (info.egress_id, info.room_id, info.room_name) == ("EG_1", "RM_1", ROOM)
    assert (info.status, info.retry_count, info.ended_at) == (proto.EGRESS_STARTING, 2, 0)
    assert info.started_at == info.updated_at > BEGIN


def test_the_room_of_a_request_without_a_name_is_livekits() -> None:
    info = infos.of_request(request(unified(room_name=""), room_name="from-livekit"))
    assert info.room_name == "from-livekit"


@pytest.mark.parametrize(
    ("message", "source"),
    [
        (room(), proto.EGRESS_SOURCE_TYPE_WEB),
        (room(audio_only=True), proto.EgressSourceType.EGRESS_SOURCE_TYPE_SDK),
        (room(audio_only=True, layout="grid"), proto.EGRESS_SOURCE_TYPE_WEB),
        (unified(), proto.EGRESS_SOURCE_TYPE_WEB),
        (unified(template=proto.TemplateSource(audio_only=True)), proto.EGRESS_SOURCE_TYPE_SDK),
        (unified(media=proto.MediaSource(video_track_id="TR_V")), proto.EGRESS_SOURCE_TYPE_SDK),
        (proto.ParticipantEgressRequest(identity="ada"), proto.EGRESS_SOURCE_TYPE_SDK),
        (proto.TrackCompositeEgressRequest(), proto.EGRESS_SOURCE_TYPE_SDK),
        (proto.TrackEgressRequest(), proto.EGRESS_SOURCE_TYPE_SDK),
    ],
)
def test_the_source_type_is_what_livekit_egress_says(message: Any, source: int) -> None:
    assert infos.of_request(request(message)).source_type == source


def test_results_are_named_before_they_exist() -> None:
    info = started(**FILE, **SEGMENTS, **IMAGES, **STREAM)
    assert info.file_results == [proto.FileInfo(filename="x.mp4", started_at=BEGIN)]
    assert info.segment_results == [
        proto.SegmentsInfo(playlist_name="p/index.m3u8", live_playlist_name="p/live.m3u8", started_at=BEGIN)
    ]
    assert info.image_results == [proto.ImagesInfo(filename_prefix="p/i", started_at=BEGIN)]
    # A stream starts when its server takes it.
    assert info.stream_results == [proto.StreamInfo(url=SHOWN_URL, status=proto.StreamInfo.ACTIVE)]


def test_the_recording_has_a_duration_when_it_has_ended() -> None:
    info = started(**FILE, **SEGMENTS, **IMAGES, **STREAM)
    info.stream_results[0].started_at = BEGIN + SECOND
    infos.set_ended_at(info, END, END - BEGIN)
    for result in (info.file_results[0], info.segment_results[0]):
        assert (result.started_at, result.ended_at, result.duration) == (BEGIN, END, 5 * SECOND)
    assert info.image_results[0].ended_at == END
    stream = info.stream_results[0]
    assert (stream.ended_at, stream.duration) == (END, 4 * SECOND)


def test_a_stream_that_ended_earlier_keeps_its_end() -> None:
    info = started(**STREAM)
    infos.end_stream(info.stream_results[0], BEGIN + SECOND)
    infos.set_ended_at(info, END, END - BEGIN)
    infos.set_failed(info, EgressError(Code.INTERNAL, "x"))
    stream = info.stream_results[0]
    assert (stream.ended_at, stream.status) == (BEGIN + SECOND, proto.StreamInfo.FINISHED)


def _failed(info: proto.EgressInfo) -> None:
    infos.set_failed(info, EgressError(Code.UNAVAILABLE, "gone"))


# Texts and codes of livekit/protocol (`livekit/livekit_egress.go`).
@pytest.mark.parametrize(
    ("finish", "status", "error", "code", "details"),
    [
        (infos.set_complete, proto.EGRESS_COMPLETE, "", 0, ""),
        (infos.set_limit_reached, proto.EGRESS_LIMIT_REACHED, "Session limit reached", 413, ""),
        (
            infos.set_limit_before_start,
            proto.EGRESS_ABORTED,
            "Session limit reached before start signal",
            412,
            "",
        ),
        (lambda info: infos.set_aborted(info, "no"), proto.EGRESS_ABORTED, "no", 412, ""),
        (_failed, proto.EGRESS_FAILED, "gone", 503, "End reason: Failure"),
    ],
)
def test_final_states(finish: Any, status: int, error: str, code: int, details: str) -> None:
    info = started(**FILE)
    finish(info)
    assert info.status in infos.FINAL
    assert (info.status, info.error, info.error_code, info.details) == (status, error, code, details)
    assert info.ended_at == info.updated_at > BEGIN


def test_an_active_egress_is_ending_for_a_reason() -> None:
    info = started(**FILE)
    infos.set_ending(info, EndReason.SOURCE_CLOSED)
    assert (info.status, info.details) == (proto.EGRESS_ENDING, "End reason: Source closed")
    _failed(info)
    assert info.details == "End reason: Source closed"


def test_an_egress_that_the_service_ended_fails_with_its_error() -> None:
    error = EgressError(Code.PERMISSION_DENIED, "OOM: 2.00 GB used")
    info = started(**FILE)
    infos.set_ending(info, EndReason.FAILURE)
    infos.set_ended_by_service(info, error)
    # Another process may have to finish it, so its error is there before its end.
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_ENDING, str(error), 403)
    infos.set_complete(info)
    infos.set_ended_by_service(info, error)
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_FAILED, str(error), 403)
    assert info.details == "End reason: Failure"


def test_an_egress_that_the_service_ended_before_it_began_fails_with_its_error() -> None:
    info = infos.of_request(request(room(**FILE)))
    infos.set_aborted(info, infos.STOPPED_BEFORE_STARTED)
    infos.set_ended_by_service(info, EgressError(Code.INTERNAL, "full"))
    assert (info.status, info.error, info.error_code) == (proto.EGRESS_FAILED, "full", 500)


def test_an_own_error_of_the_recording_stays() -> None:
    info = started(**FILE)
    infos.set_error(info, EgressError(Code.UNAVAILABLE, "own"))
    infos.set_ended_by_service(info, EgressError(Code.INTERNAL, "full"))
    assert info.error == "own"
    infos.set_failed(info, EgressError(Code.UNAVAILABLE, "own"))
    infos.set_ended_by_service(info, EgressError(Code.INTERNAL, "full"))
    assert (info.error, info.error_code) == ("own", 503)


def test_an_egress_that_has_not_started_is_not_ending() -> None:
    info = infos.of_request(request(room()))
    infos.set_ending(info, EndReason.API)
    assert (info.status, info.details) == (proto.EGRESS_STARTING, "End reason: StopEgress API")


@pytest.mark.parametrize("code", Code)
def test_error_codes_are_http_statuses(code: Code) -> None:
    # livekit/psrpc, `errors.go`.
    statuses = {
        "invalid_argument": 400,
        "not_found": 404,
        "already_exists": 409,
        "permission_denied": 403,
        "resource_exhausted": 429,
        "failed_precondition": 412,
        "unavailable": 503,
        "internal": 500,
    }
    info = started(**FILE)
    infos.set_failed(info, EgressError(code, "x"))
    assert info.error_code == statuses[code.value]


@pytest.mark.parametrize(
    ("failed", "status"), [(False, proto.StreamInfo.FINISHED), (True, proto.StreamInfo.FAILED)]
)
def test_streams_end_as_their_egress_does(failed: bool, status: Any) -> None:
    info = started(**STREAM)
    infos.set_ended_at(info, END, END - BEGIN)
    _failed(info) if failed else infos.set_complete(info)
    # The egress' own error stands in the egress, as with livekit/egress.
    expected = proto.StreamInfo(url=SHOWN_URL, started_at=END, ended_at=END, status=status)
    assert info.stream_results == [expected]


def test_a_stream_that_fails_says_why() -> None:
    info = started(**STREAM)
    infos.end_stream(info.stream_results[0], END, "refused")
    stream = info.stream_results[0]
    assert (stream.status, stream.error, stream.ended_at) == (proto.StreamInfo.FAILED, "refused", END)


@pytest.mark.parametrize(
    ("outputs", "field"),
    [
        (FILE, "file"),
        (SEGMENTS, "segments"),
        (STREAM, "stream"),
        (IMAGES, None),
        (FILE | SEGMENTS, None),
        (FILE | IMAGES, None),
        (FILE | STREAM, None),
        (SEGMENTS | STREAM, None),
    ],
)
def test_older_clients_find_a_single_result(outputs: dict[str, Any], field: str | None) -> None:
    info = started(**outputs)
    assert info.WhichOneof("result") == field
    for file in info.file_results:
        file.size, file.location = 5, "https://s3/x.mp4"
    infos.set_ended_at(info, END, END - BEGIN)
    infos.set_complete(info)
    assert info.WhichOneof("result") == field
    match field:
        case "file":
            assert (info.file.size, info.file.duration) == (5, 5 * SECOND)
            assert info.file == info.file_results[0]
        case "segments":
            assert info.segments == info.segment_results[0]
        case "stream":
            assert list(info.stream.info) == list(info.stream_results)


def test_a_stream_that_is_added_is_in_the_single_result_too() -> None:
    info = started(**STREAM)
    infos.add_stream(info, StreamTarget("rtmp://other/app/streamkey", "second"))
    infos.mirror_single_result(info)
    assert [(each.url, each.id) for each in info.stream.info] == [
        (SHOWN_URL, ""),
        ("rtmp://other/app/{str...key}", "second"),
    ]
