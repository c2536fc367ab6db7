"""What the plan of a request is."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.protocol import egress as proto
from livekit.protocol import models

from recorder.errors import EgressError
from recorder.requests.encoding import AudioCodec, Container
from recorder.requests.kinds import Kind
from recorder.requests.names import ImageNames
from recorder.requests.outputs import FileOutput, ImageOutput, SegmentOutput, StreamOutput, StreamTarget
from recorder.requests.plan import Plan, RoomFacts, plan_of
from recorder.requests.rpc import StartEgressRequest
from recorder.requests.sources import (
    AudioRoute,
    AudioSource,
    Channel,
    Composite,
    OneParticipant,
    OneTrack,
)
from tests.unit.recorder.egress_requests import (
    NOW,
    ROOM,
    SETTINGS,
    STAMP,
    media,
    plan,
    request,
    room,
    unified,
)

EVERYBODY = AudioSource(capture_all=True)
STREAM_URL = "rtmp://host/app/key"
FILE = proto.EncodedFileOutput(filepath="x")
KINDS = models.ParticipantInfo.Kind


def outputs(made: Plan) -> list[object]:
    return [each.output for each in made.outputs]


@pytest.mark.parametrize(
    ("message", "kind", "video", "audio"),
    [
        (room(layout="grid"), Kind.ROOM_COMPOSITE, Composite("grid"), EVERYBODY),
        (room(audio_only=True), Kind.ROOM_COMPOSITE, None, EVERYBODY),
        (room(video_only=True), Kind.ROOM_COMPOSITE, Composite(), None),
        (
            room(audio_mixing=proto.DUAL_CHANNEL_ALTERNATE),
            Kind.ROOM_COMPOSITE,
            Composite(),
            AudioSource(capture_all=True, alternate=True),
        ),
        (
            proto.ParticipantEgressRequest(
                room_name=ROOM, identity="ada", screen_share=True, file_outputs=[FILE]
            ),
            Kind.PARTICIPANT,
            OneParticipant("ada", screen_share=True),
            AudioSource((AudioRoute(identity="ada"),)),
        ),
        (
            proto.TrackCompositeEgressRequest(room_name=ROOM, audio_track_id="TR_A", file_outputs=[FILE]),
            Kind.TRACK_COMPOSITE,
            None,
            AudioSource((AudioRoute(track_id="TR_A"),)),
        ),
        (
            proto.TrackCompositeEgressRequest(room_name=ROOM, video_track_id="TR_V", file_outputs=[FILE]),
            Kind.TRACK_COMPOSITE,
            OneTrack("TR_V"),
            None,
        ),
        (
            unified(template=proto.TemplateSource(layout="speaker")),
            Kind.TEMPLATE,
            Composite("speaker"),
            EVERYBODY,
        ),
        (media(video_track_id="TR_V"), Kind.MEDIA, OneTrack("TR_V"), None),
        (
            media(
                participant_video=proto.ParticipantVideo(identity="ada", prefer_screen_share=True),
                audio=proto.AudioConfig(
                    capture_all=True,
                    routes=[
                        proto.AudioRoute(track_id="TR_A", channel=proto.AudioChannel.AUDIO_CHANNEL_LEFT),
                        proto.AudioRoute(
                            participant_identity="bo", channel=proto.AudioChannel.AUDIO_CHANNEL_RIGHT
                        ),
                        proto.AudioRoute(participant_kind=KINDS.STANDARD),
                    ],
                ),
            ),
            Kind.MEDIA,
            OneParticipant("ada", screen_share=True),
            AudioSource(
                (
                    AudioRoute(Channel.LEFT, track_id="TR_A"),
                    AudioRoute(Channel.RIGHT, identity="bo"),
                    AudioRoute(Channel.BOTH, kind=KINDS.STANDARD),
                ),
                capture_all=True,
            ),
        ),
    ],
)
def test_each_kind_of_request_selects_what_it_records(
    message: Any, kind: Kind, video: object, audio: object
) -> None:
    made = plan(message)
    assert (made.kind, made.room_name) == (kind, ROOM)
    assert (made.video, made.audio) == (video, audio)


def test_an_agent_is_on_the_left_and_everybody_else_on_the_right() -> None:
    audio = plan(room(audio_mixing=proto.DUAL_CHANNEL_AGENT)).audio
    assert audio is not None
    channels = {route.kind: route.channel for route in audio.routes}
    assert channels.pop(KINDS.AGENT) is Channel.LEFT
    assert channels == {kind: Channel.RIGHT for kind in KINDS.values() if kind != KINDS.AGENT}


def test_the_connection_is_that_of_the_request() -> None:
    message = unified(room_name="")
    made = plan(message, room_name="", token="a.b.c", ws_url="wss://sfu")
    assert (made.token, made.ws_url, made.room_name) == ("a.b.c", "wss://sfu", "")
    assert "a.b.c" not in repr(made)
    assert plan(message, room_name="from-livekit").room_name == "from-livekit"


def test_all_outputs_of_a_request_are_planned() -> None:
    message = room(
        file_outputs=[proto.EncodedFileOutput(filepath="a/", disable_manifest=True)],
        segment_outputs=[
            proto.SegmentedFileOutput(
                filename_prefix="s", segment_duration=6, filename_suffix=proto.TIMESTAMP
            )
        ],
        stream_outputs=[
            proto.StreamOutput(
                urls=[STREAM_URL], destinations=[{"url": "rtmps://other/app/key", "id": "second"}]
            )
        ],
        image_outputs=[
            proto.ImageOutput(filename_prefix="i", capture_interval=3, width=320, height=180),
            proto.ImageOutput(filename_prefix="i", filename_suffix=proto.IMAGE_SUFFIX_NONE_OVERWRITE),
        ],
    )
    made = plan(message)
    file, stream, segments, images, last_image = outputs(made)
    assert file == FileOutput(f"a/daily-{STAMP}.mp4", Container.MP4, manifest=False)
    assert stream == StreamOutput((StreamTarget(STREAM_URL), StreamTarget("rtmps://other/app/key", "second")))
    assert isinstance(segments, SegmentOutput)
    assert (segments.seconds, segments.timestamps, segments.names.prefix) == (6, True, "s")
    assert images == ImageOutput(ImageNames("", "i"), 3, 320, 180)
    assert last_image == ImageOutput(ImageNames("", "i"), suffix=proto.IMAGE_SUFFIX_NONE_OVERWRITE)
    assert (made.file, made.stream) == (file, stream)
    targets = [each.target for each in made.outputs]
    assert targets == [SETTINGS.storage.target, None, *[SETTINGS.storage.target] * 3]


@pytest.mark.parametrize("listed", [False, True])
def test_the_deprecated_single_output_counts_where_there_is_no_list(listed: bool) -> None:
    fields = {"file_outputs": [proto.EncodedFileOutput(filepath="new")]} if listed else {}
    made = plan(room(file=proto.EncodedFileOutput(filepath="old"), **fields))
    assert [each.key for each in outputs(made) if isinstance(each, FileOutput)] == [
        "new.mp4" if listed else "old.mp4"
    ]


def test_images_alone_have_no_sound() -> None:
    made = plan(room(image_outputs=[proto.ImageOutput()]))
    assert (made.audio, made.encoding.audio.codec) == (None, None)


def test_a_file_beside_segments_takes_what_they_take() -> None:
    """Alone, sound would go into OGG with Opus, which HLS does not take."""
    made = plan(room(audio_only=True, file_outputs=[FILE], segment_outputs=[proto.SegmentedFileOutput()]))
    assert made.file == FileOutput("x.mp4", Container.MP4)
    assert made.encoding.audio.codec is AudioCodec.AAC


@pytest.mark.parametrize(
    ("wanted", "segments", "stream", "interval"),
    [
        (0.0, 0, False, None),
        (0.0, 0, True, 4.0),
        (2.0, 0, True, 2.0),
        (0.0, 6, True, 6.0),
        (2.0, 6, False, 2.0),
        # Key frames every four seconds would make segments of eight seconds.
        (4.0, 6, False, 3.0),
        (10.0, 6, False, 6.0),
    ],
)
def test_segments_and_streams_get_their_key_frames(
    wanted: float, segments: int, stream: bool, interval: float | None
) -> None:
    message = room(file_outputs=[FILE], advanced=proto.EncodingOptions(key_frame_interval=wanted))
    if segments:
        message.segment_outputs.add(segment_duration=segments)
    if stream:
        message.stream_outputs.add(urls=[STREAM_URL])
    assert plan(message).encoding.video.key_frame_interval == interval


@pytest.mark.parametrize(
    ("is_video", "output", "video", "audio", "codec"),
    [
        (None, FileOutput("", Container.MP4), True, True, None),
        (True, FileOutput("TR_A-video.mp4", Container.MP4), True, False, None),
        (False, FileOutput("TR_A-audio.ogg", Container.OGG), False, True, AudioCodec.OPUS),
    ],
)
def test_a_tracks_file_is_known_when_the_room_says_what_the_track_is(
    is_video: bool | None, output: FileOutput, video: bool, audio: bool, codec: AudioCodec | None
) -> None:
    message = proto.TrackEgressRequest(
        room_name=ROOM, track_id="TR_A", file=proto.DirectFileOutput(filepath="{track_id}-{track_type}")
    )
    facts = None
    if is_video is not None:
        values = {"track_id": "TR_A", "track_type": "video" if is_video else "audio"}
        facts = RoomFacts("TR_A", values, is_video=is_video)
    made = plan(message, facts=facts)
    assert outputs(made) == [output]
    assert (made.video is not None, made.audio is not None) == (video, audio)
    assert made.encoding.audio.codec is codec


def test_a_tracks_file_without_a_name_is_named_by_its_track() -> None:
    message = proto.TrackEgressRequest(room_name=ROOM, track_id="TR_A", file=proto.DirectFileOutput())
    made = plan(message, facts=RoomFacts("TR_A", {"track_id": "TR_A"}, is_video=True))
    assert made.file == FileOutput(f"TR_A-{STAMP}.mp4", Container.MP4)


@pytest.mark.parametrize(
    ("track", "encoded"),
    [
        ((1280, 720), (1280, 720, 3000)),
        ((720, 1280), (720, 1280, 3000)),
        ((641, 361), (640, 360, 750)),
        ((320, 180), (320, 180, 300)),
        ((1920, 1080), (1920, 1080, 4500)),
        ((3840, 2160), (1920, 1080, 4500)),
        # A publisher may not say it.
        ((0, 0), (1280, 720, 3000)),
    ],
)
def test_a_track_keeps_its_size(track: tuple[int, int], encoded: tuple[int, int, int]) -> None:
    message = proto.TrackEgressRequest(room_name=ROOM, track_id="TR_A", file=proto.DirectFileOutput())
    width, height = track
    facts = RoomFacts("TR_A", {"track_id": "TR_A"}, is_video=True, width=width, height=height)
    video = plan(message, facts=facts).encoding.video
    assert (video.width, video.height, video.bitrate) == encoded


def test_a_second_attempt_at_a_track_is_refused_at_once() -> None:
    message = proto.TrackEgressRequest(
        room_name=ROOM, track_id="TR_A", file=proto.DirectFileOutput(filepath="x")
    )
    with pytest.raises(EgressError, match="does not support retry"):
        plan(message, retry_count=1)


def test_what_the_room_says_gets_into_names() -> None:
    message = proto.ParticipantEgressRequest(
        room_name=ROOM,
        identity="ada",
        file_outputs=[proto.EncodedFileOutput(filepath="{publisher_identity}")],
    )
    early = plan(message).file
    late = plan(message, facts=RoomFacts(ROOM, {"publisher_identity": "ada"})).file
    assert early is not None
    assert late is not None
    assert (early.key, late.key) == ("{publisher_identity}.mp4", "ada.mp4")


def test_a_request_is_read_from_its_bytes() -> None:
    read = StartEgressRequest.FromString(request(room(layout="grid")).SerializeToString())
    assert plan_of(read, SETTINGS, NOW) == plan(room(layout="grid"))
