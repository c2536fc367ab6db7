"""A request of the Egress API, validated: what is recorded, how, and to where. Pure.

Facts: livekit/egress v1.14, `pkg/config/{pipeline,output}.go`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from livekit.protocol import egress as proto

from recorder.errors import invalid_field
from recorder.requests.codecs import check_video, choose_audio, choose_container
from recorder.requests.encoding import Container, Encoding, of_advanced, of_preset, of_track
from recorder.requests.fields import required
from recorder.requests.kinds import EgressRequest, Kind, message_of
from recorder.requests.names import Naming, check_retry, file_key
from recorder.requests.outputs import (
    FileOutput,
    ImageOutput,
    Output,
    SegmentOutput,
    StreamOutput,
    container_of,
    container_of_type,
    image_output,
    segment_output,
    stream_output,
)
from recorder.requests.rpc import StartEgressRequest
from recorder.requests.selection import Selection, selection_of
from recorder.requests.sources import AudioSource, VideoSource
from recorder.requests.storage import target_of
from recorder.requests.wanted import OutputMessage, WantedOutput, wanted_outputs
from recorder.settings import Settings
from recorder.storage.target import S3Target

# A stream's viewers wait for a key frame.
_STREAM_KEY_FRAME_SECONDS = 4.0


@dataclass(frozen=True)
class RoomFacts:
    """What is known only in the room.

    Attributes:
        identifier: begins generated names.
        values: what stands for `{publisher_identity}`, `{track_id}` and others, by the word in braces.
        is_video: what a track egress records; None for other egresses.
        width, height: the size of a track egress' video in pixels; 0 if it is not known.
    """

    identifier: str
    values: Mapping[str, str] = field(default_factory=dict)
    is_video: bool | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class PlannedOutput:
    """An output and the bucket it goes to; a stream goes to none."""

    output: Output
    target: S3Target | None


@dataclass(frozen=True)
class Plan:
    """One egress.

    Attributes:
        video, audio: what is seen and heard; None: the recording has no such track.
        encoding: complete; `encoding.audio.codec` is None only without audio or encoded output.
        outputs: at least one.
        token, ws_url: how the room is joined if the request says so; else empty.
    """

    egress_id: str
    room_id: str
    room_name: str
    kind: Kind
    video: VideoSource | None
    audio: AudioSource | None
    encoding: Encoding
    outputs: tuple[PlannedOutput, ...]
    token: str = field(default="", repr=False)
    ws_url: str = ""

    @property
    def file(self) -> FileOutput | None:
        """The file output, if there is one."""
        return next((each.output for each in self.outputs if isinstance(each.output, FileOutput)), None)

    @property
    def stream(self) -> StreamOutput | None:
        """The stream output, if there is one."""
        return next((each.output for each in self.outputs if isinstance(each.output, StreamOutput)), None)


def plan_of(
    request: StartEgressRequest, settings: Settings, now: datetime, facts: RoomFacts | None = None
) -> Plan:
    """The plan of a request.

    Args:
        settings: the worker's configuration.
        now: when it was requested, in UTC; part of generated names.
        facts: what joining the room brought; without it, names keep the words that it fills in.

    Raises:
        EgressError: INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION, with the field that is wrong.
        google.protobuf.message.DecodeError: the request cannot be read.
    """
    required("egress_id", request.egress_id, "an egress' id")
    message = message_of(request)
    selection = selection_of(message, request.room_name)
    if not selection.room_name and not request.token:
        raise invalid_field("room_name", "", "a room's name")
    wanted = wanted_outputs(message)
    _check_images(wanted, selection)
    selection = _narrowed(selection, wanted, facts)
    encoding = _requested_encoding(message, facts)
    outputs = _outputs(wanted, selection, encoding, _naming(request, selection, facts, now))
    return Plan(
        egress_id=request.egress_id,
        room_id=request.room_id,
        room_name=selection.room_name,
        kind=selection.kind,
        video=selection.video,
        audio=selection.audio,
        encoding=_complete(encoding, outputs, selection),
        outputs=tuple(
            PlannedOutput(output, _target(each, settings))
            for output, each in zip(outputs, wanted, strict=True)
        ),
        token=request.token,
        ws_url=request.ws_url,
    )


def _target(wanted: WantedOutput, settings: Settings) -> S3Target | None:
    if isinstance(wanted.message, proto.StreamOutput):
        return None
    return target_of(wanted.storage, settings)


def _naming(
    request: StartEgressRequest, selection: Selection, facts: RoomFacts | None, now: datetime
) -> Naming:
    room = {"room_name": selection.room_name, "room_id": request.room_id} if selection.room_name else {}
    if facts is None:
        return Naming(selection.room_name, room, now, request.retry_count)
    return Naming(facts.identifier, {**room, **facts.values}, now, request.retry_count)


def _requested_encoding(message: EgressRequest, facts: RoomFacts | None) -> Encoding:
    """The encoding before the outputs have their say."""
    if isinstance(message, proto.TrackEgressRequest):
        return of_track(facts.width, facts.height) if facts is not None else Encoding()
    if message.HasField("advanced"):
        return of_advanced(message.advanced)
    # Without a preset this is the default one, H264_720P_30.
    return of_preset(message.preset)


def _check_images(wanted: Sequence[WantedOutput], selection: Selection) -> None:
    if selection.video is None and any(isinstance(each.message, proto.ImageOutput) for each in wanted):
        raise invalid_field("image_outputs", "audio only", "an egress with video")


def _narrowed(selection: Selection, wanted: Sequence[WantedOutput], facts: RoomFacts | None) -> Selection:
    """The selection without what no output, or no track, has."""
    if all(isinstance(each.message, proto.ImageOutput) for each in wanted):
        return replace(selection, audio=None)
    if facts is None or facts.is_video is None:
        return selection
    return replace(selection, audio=None) if facts.is_video else replace(selection, video=None)


def _outputs(
    wanted: Sequence[WantedOutput], selection: Selection, encoding: Encoding, naming: Naming
) -> list[Output]:
    others = [found for each in wanted if (found := _fixed_container(each.message)) is not None]
    outputs: list[Output] = []
    for each in wanted:
        match each.message:
            case proto.EncodedFileOutput() | proto.FileOutput() as file:
                container = container_of_type(file.file_type) or choose_container(
                    encoding.audio.codec,
                    others,
                    with_audio=selection.audio is not None,
                    with_video=selection.video is not None,
                )
                key = file_key(file.filepath, container, naming)
                outputs.append(FileOutput(key, container, manifest=not file.disable_manifest))
            case proto.DirectFileOutput() as file:
                outputs.append(_track_output(file, selection, naming))
            case proto.SegmentedFileOutput() as segments:
                outputs.append(segment_output(segments, naming))
            case proto.ImageOutput() as images:
                outputs.append(image_output(images, naming))
            case proto.StreamOutput() as stream:
                outputs.append(stream_output(stream, alone=len(wanted) == 1))
    _check_image_names(outputs)
    return outputs


def _fixed_container(message: OutputMessage) -> Container | None:
    """The container of an output that leaves no choice; None for files and images."""
    match message:
        case proto.SegmentedFileOutput():
            return Container.HLS
        case proto.StreamOutput():
            return Container.RTMP
        case _:
            return None


def _track_output(file: proto.DirectFileOutput, selection: Selection, naming: Naming) -> FileOutput:
    manifest = not file.disable_manifest
    if _is_unknown_track(selection):
        check_retry(file.filepath, naming)
        return FileOutput("", Container.MP4, manifest)
    container = Container.MP4 if selection.audio is None else Container.OGG
    return FileOutput(file_key(file.filepath, container, naming), container, manifest)


def _is_unknown_track(selection: Selection) -> bool:
    """Whether the room has not said yet what the track is."""
    return selection.kind is Kind.TRACK and selection.video is not None and selection.audio is not None


def _check_image_names(outputs: Sequence[Output]) -> None:
    """Refuse image outputs that would overwrite each other's objects."""
    names = [(each.names, each.suffix) for each in outputs if isinstance(each, ImageOutput)]
    if len(set(names)) != len(names):
        raise invalid_field("filename_prefix", names[0][0].prefix, "another one for each image output")


def _complete(encoding: Encoding, outputs: Sequence[Output], selection: Selection) -> Encoding:
    """The encoding with what the outputs need of it. Raises EgressError if no encoding suits all of them."""
    containers = [found for each in outputs if (found := container_of(each)) is not None]
    if _is_unknown_track(selection):
        return encoding
    if selection.video is not None:
        check_video(containers)
    if selection.audio is not None:
        encoding = replace(encoding, audio=choose_audio(encoding.audio, containers))
    interval = _key_frame_interval(encoding.video.key_frame_interval, outputs)
    return replace(encoding, video=replace(encoding.video, key_frame_interval=interval))


def _key_frame_interval(wanted: float | None, outputs: Sequence[Output]) -> float | None:
    """Seconds between key frames: at most `wanted`, and so that each segment begins with one."""
    segments = next((each for each in outputs if isinstance(each, SegmentOutput)), None)
    if segments is not None:
        return segments.seconds / math.ceil(segments.seconds / wanted) if wanted else float(segments.seconds)
    if wanted is None and any(isinstance(each, StreamOutput) for each in outputs):
        return _STREAM_KEY_FRAME_SECONDS
    return wanted
