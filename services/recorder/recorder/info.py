"""EgressInfo: what LiveKit is told about an egress, with livekit/egress' states, texts and codes.

Facts: livekit/protocol, `livekit/livekit_egress.go`, `egress/redact.go`; livekit/egress v1.14,
`pkg/pipeline/controller.go`, `pkg/config/{pipeline,output}.go`.
"""

from __future__ import annotations

import time
from enum import StrEnum

from google.protobuf.message import Message
from livekit.protocol import egress as proto

from recorder.errors import EgressError
from recorder.requests.kinds import EgressRequest, message_of
from recorder.requests.outputs import FileOutput, ImageOutput, SegmentOutput, StreamOutput, StreamTarget
from recorder.requests.plan import Plan
from recorder.requests.rpc import StartEgressRequest
from recorder.requests.storage import redact_s3

FINAL = frozenset(
    {
        proto.EGRESS_COMPLETE,
        proto.EGRESS_FAILED,
        proto.EGRESS_ABORTED,
        proto.EGRESS_LIMIT_REACHED,
    }
)
START_NOT_RECEIVED = "Start signal not received"
STOPPED_BEFORE_STARTED = "Stop called before pipeline could start"
_LIMIT_REACHED = "Session limit reached"
_LIMIT_REACHED_WITHOUT_START = "Session limit reached before start signal"
_HTTP_TOO_LARGE = 413
_HTTP_PRECONDITION_FAILED = 412


class EndReason(StrEnum):
    """Why an egress ended: `details` of its info."""

    API = "StopEgress API"
    KILLED = "Process killed"
    SOURCE_CLOSED = "Source closed"
    LIMIT_REACHED = "Session limit reached"
    STREAMS_STOPPED = "All streams stopped"
    FAILURE = "Failure"


def of_request(request: StartEgressRequest) -> proto.EgressInfo:
    """The info of an egress that is starting, with the request without its secrets.

    Raises:
        EgressError: this worker does not support the kind of request.
    """
    now = time.time_ns()
    message = message_of(request)
    _redact(message)
    info = proto.EgressInfo(
        egress_id=request.egress_id,
        room_id=request.room_id,
        room_name=message.room_name or request.room_name,
        status=proto.EGRESS_STARTING,
        source_type=_source_type(message),
        started_at=now,
        updated_at=now,
        retry_count=request.retry_count,
    )
    match message:
        case proto.RoomCompositeEgressRequest():
            info.room_composite.CopyFrom(message)
        case proto.ParticipantEgressRequest():
            info.participant.CopyFrom(message)
        case proto.TrackCompositeEgressRequest():
            info.track_composite.CopyFrom(message)
        case proto.TrackEgressRequest():
            info.track.CopyFrom(message)
        case proto.StartEgressRequest():
            info.egress.CopyFrom(message)
    return info


def set_outputs(info: proto.EgressInfo, plan: Plan) -> None:
    """Fill in the results of a plan's outputs by their names, without what they will become."""
    for field in ("file_results", "segment_results", "image_results", "stream_results"):
        info.ClearField(field)
    for each in plan.outputs:
        match each.output:
            case FileOutput() as file:
                info.file_results.add(filename=file.key)
            case SegmentOutput() as segments:
                names = segments.names
                live = f"{names.directory}{names.live_playlist}" if names.live_playlist else ""
                info.segment_results.add(
                    playlist_name=f"{names.directory}{names.playlist}", live_playlist_name=live
                )
            case ImageOutput() as images:
                info.image_results.add(filename_prefix=f"{images.names.directory}{images.names.prefix}")
            case StreamOutput() as stream:
                for target in stream.targets:
                    add_stream(info, target)
    mirror_single_result(info)


def add_stream(info: proto.EgressInfo, target: StreamTarget) -> proto.StreamInfo:
    """A result for one more RTMP server."""
    return info.stream_results.add(url=target.redacted, status=proto.StreamInfo.ACTIVE, id=target.id)


def end_stream(stream: proto.StreamInfo, ended_at: int, error: str = "") -> None:
    """A server gets no more of the stream; `error` says why if that was not wanted."""
    stream.status = proto.StreamInfo.FAILED if error else proto.StreamInfo.FINISHED
    stream.error = error
    _set_stream_end(stream, ended_at)


def details_of(reason: EndReason) -> str:
    """`details` of an egress that ended for `reason`."""
    return f"End reason: {reason}"


def set_active(info: proto.EgressInfo, started_at: int) -> None:
    """The recording has begun at `started_at` (nanoseconds since 1970)."""
    info.status = proto.EGRESS_ACTIVE
    info.updated_at = time.time_ns()
    for file in info.file_results:
        file.started_at = started_at
    for segments in info.segment_results:
        segments.started_at = started_at
    for images in info.image_results:
        images.started_at = started_at
    mirror_single_result(info)


def set_ending(info: proto.EgressInfo, reason: EndReason) -> None:
    """The recording is being ended."""
    info.details = details_of(reason)
    if info.status == proto.EGRESS_ACTIVE:
        info.status = proto.EGRESS_ENDING
    info.updated_at = time.time_ns()
    mirror_single_result(info)


def set_error(info: proto.EgressInfo, error: EgressError) -> None:
    """The egress will fail with this error when its outputs are saved."""
    info.error, info.error_code = str(error), error.code.http_status


def set_ended_by_service(info: proto.EgressInfo, error: EgressError) -> None:
    """The service ended the egress with this error. Its recording knows only that it had to end."""
    if info.status in {proto.EGRESS_COMPLETE, proto.EGRESS_ABORTED}:
        set_failed(info, error)
    elif info.status not in FINAL and not info.error:
        set_error(info, error)


def set_ended_at(info: proto.EgressInfo, ended_at: int, duration: int) -> None:
    """The last frame was written at `ended_at`; the recording lasts `duration`. Both in nanoseconds."""
    for file in info.file_results:
        file.started_at = file.started_at or ended_at
        file.ended_at, file.duration = ended_at, duration
    for segments in info.segment_results:
        segments.started_at = segments.started_at or ended_at
        segments.ended_at, segments.duration = ended_at, duration
    for images in info.image_results:
        images.started_at = images.started_at or ended_at
        images.ended_at = ended_at
    for stream in info.stream_results:
        if stream.status == proto.StreamInfo.ACTIVE:
            _set_stream_end(stream, ended_at)
    mirror_single_result(info)


def set_complete(info: proto.EgressInfo) -> None:
    """All outputs are where they belong."""
    _finish(info, proto.EGRESS_COMPLETE)


def set_limit_reached(info: proto.EgressInfo) -> None:
    """A limit of the configuration ended the recording; its outputs are saved."""
    _finish(info, proto.EGRESS_LIMIT_REACHED, _LIMIT_REACHED, _HTTP_TOO_LARGE)


def set_limit_before_start(info: proto.EgressInfo) -> None:
    """A limit ended the egress before anything was recorded."""
    set_aborted(info, _LIMIT_REACHED_WITHOUT_START)


def set_aborted(info: proto.EgressInfo, text: str) -> None:
    """Nothing was recorded, or nothing of it could be saved."""
    _finish(info, proto.EGRESS_ABORTED, text, _HTTP_PRECONDITION_FAILED)


def set_failed(info: proto.EgressInfo, error: EgressError) -> None:
    """The egress failed; outputs that have a location were saved."""
    if not info.details:
        info.details = details_of(EndReason.FAILURE)
    _finish(info, proto.EGRESS_FAILED, str(error), error.code.http_status)


def mirror_single_result(info: proto.EgressInfo) -> None:
    """Copy the results into the deprecated single result, which older clients read.

    It is set where an egress has exactly one kind of output, other than images. Call it after each change of
    the results.
    """
    info.ClearField("stream")
    info.ClearField("file")
    info.ClearField("segments")
    match len(info.file_results), len(info.segment_results), len(info.image_results):
        case 0, 0, 0 if info.stream_results:
            info.stream.info.extend(info.stream_results)
        case 1, 0, 0 if not info.stream_results:
            info.file.CopyFrom(info.file_results[0])
        case 0, 1, 0 if not info.stream_results:
            info.segments.CopyFrom(info.segment_results[0])


def _finish(info: proto.EgressInfo, status: proto.EgressStatus, error: str = "", code: int = 0) -> None:
    now = time.time_ns()
    info.status = status
    info.updated_at = info.ended_at = now
    info.error, info.error_code = error, code
    for stream in info.stream_results:
        if stream.status == proto.StreamInfo.ACTIVE:
            failed = status == proto.EGRESS_FAILED
            stream.status = proto.StreamInfo.FAILED if failed else proto.StreamInfo.FINISHED
            if not stream.ended_at:
                _set_stream_end(stream, now)
    mirror_single_result(info)


def _set_stream_end(stream: proto.StreamInfo, ended_at: int) -> None:
    stream.started_at = stream.started_at or ended_at
    stream.ended_at = ended_at
    stream.duration = ended_at - stream.started_at


def _source_type(message: EgressRequest) -> proto.EgressSourceType:
    """What livekit/egress says, so that clients see no difference between the workers.

    It calls what it records with its browser WEB: composites with pictures, or with a layout. This worker has
    no browser and takes the tracks of these, too.
    """
    match message:
        case proto.RoomCompositeEgressRequest():
            without_browser = message.audio_only and not message.layout
        case proto.StartEgressRequest() if message.WhichOneof("source") == "template":
            without_browser = message.template.audio_only and not message.template.layout
        case _:
            without_browser = True
    return proto.EGRESS_SOURCE_TYPE_SDK if without_browser else proto.EGRESS_SOURCE_TYPE_WEB


def _redact(message: Message) -> None:
    """Replace credentials and stream keys in a message and all that it holds, in place."""
    if isinstance(message, proto.S3Upload):
        redact_s3(message)
    if isinstance(message, proto.StreamOutput):
        message.urls[:] = [StreamTarget(url).redacted for url in message.urls]
        for destination in message.destinations:
            destination.url = StreamTarget(destination.url).redacted
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            _redact(each)
