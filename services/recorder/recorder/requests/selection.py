"""What a request selects from its room. Pure. Facts: livekit/egress v1.14, `pkg/config/pipeline.go`."""

from __future__ import annotations

from dataclasses import dataclass

from livekit.protocol import egress as proto
from livekit.protocol import models

from recorder.compose.layouts import parse_style
from recorder.errors import invalid_field, not_supported
from recorder.requests.fields import listed, required
from recorder.requests.kinds import EgressRequest, Kind
from recorder.requests.sources import (
    AudioRoute,
    AudioSource,
    Channel,
    Composite,
    OneParticipant,
    OneTrack,
    VideoSource,
)

_IDENTITY = "a participant's identity"
_TRACK_ID = "a track's id"
_CHANNELS = {
    proto.AUDIO_CHANNEL_BOTH: Channel.BOTH,
    proto.AudioChannel.AUDIO_CHANNEL_LEFT: Channel.LEFT,
    proto.AudioChannel.AUDIO_CHANNEL_RIGHT: Channel.RIGHT,
}


@dataclass(frozen=True)
class Selection:
    """What is recorded: `video` and `audio` are None where the recording has no such track.

    A track egress has both until the room says which of them its track is.
    """

    kind: Kind
    room_name: str
    video: VideoSource | None
    audio: AudioSource | None


def selection_of(message: EgressRequest, room_name: str) -> Selection:
    """The selection of a request; `room_name` is LiveKit's, for requests without one. Raises EgressError."""
    match message:
        case proto.RoomCompositeEgressRequest():
            audio = _room_audio(message.audio_mixing)
            return _composite(Kind.ROOM_COMPOSITE, message.room_name, message, audio)
        case proto.ParticipantEgressRequest():
            identity = required("identity", message.identity, _IDENTITY)
            video = OneParticipant(identity, message.screen_share)
            audio = AudioSource((AudioRoute(identity=identity),))
            return Selection(Kind.PARTICIPANT, message.room_name, video, audio)
        case proto.TrackCompositeEgressRequest():
            return _track_composite(message)
        case proto.TrackEgressRequest():
            track_id = required("track_id", message.track_id, _TRACK_ID)
            return Selection(Kind.TRACK, message.room_name, OneTrack(track_id), _single_track(track_id))
        case proto.StartEgressRequest():
            return _unified(message, message.room_name or room_name)


def _composite(
    kind: Kind,
    room_name: str,
    message: proto.RoomCompositeEgressRequest | proto.TemplateSource,
    audio: AudioSource,
) -> Selection:
    if message.custom_base_url:
        raise not_supported("custom_base_url")
    if message.audio_only and message.video_only:
        raise invalid_field("audio_only and video_only", "both true", "one of them")
    parse_style(message.layout)
    return Selection(
        kind,
        room_name,
        None if message.audio_only else Composite(message.layout),
        None if message.video_only else audio,
    )


def _track_composite(message: proto.TrackCompositeEgressRequest) -> Selection:
    audio_id, video_id = message.audio_track_id, message.video_track_id
    if not audio_id and not video_id:
        raise invalid_field("audio_track_id or video_track_id", "", _TRACK_ID)
    return Selection(
        Kind.TRACK_COMPOSITE,
        message.room_name,
        OneTrack(video_id) if video_id else None,
        _single_track(audio_id) if audio_id else None,
    )


def _unified(message: proto.StartEgressRequest, room_name: str) -> Selection:
    match message.WhichOneof("source"):
        case "template":
            return _composite(Kind.TEMPLATE, room_name, message.template, AudioSource(capture_all=True))
        case "media":
            return _media(room_name, message.media)
        case "web":
            raise not_supported("web egress")
        case _:
            raise invalid_field("source", "", "template, media")


def _media(room_name: str, media: proto.MediaSource) -> Selection:
    video: VideoSource | None = None
    match media.WhichOneof("video"):
        case "video_track_id":
            video = OneTrack(required("video_track_id", media.video_track_id, _TRACK_ID))
        case "participant_video":
            wanted = media.participant_video
            identity = required("participant_video.identity", wanted.identity, _IDENTITY)
            video = OneParticipant(identity, wanted.prefer_screen_share)
    audio = AudioSource(tuple(map(_route, media.audio.routes)), media.audio.capture_all)
    if audio == AudioSource():
        if video is None:
            raise invalid_field("audio or video", "", "at least one of them")
        return Selection(Kind.MEDIA, room_name, video, None)
    return Selection(Kind.MEDIA, room_name, video, audio)


def _room_audio(mixing: proto.AudioMixing) -> AudioSource:
    match mixing:
        case proto.DEFAULT_MIXING:
            return AudioSource(capture_all=True)
        case proto.DUAL_CHANNEL_ALTERNATE:
            return AudioSource(capture_all=True, alternate=True)
        case proto.DUAL_CHANNEL_AGENT:
            agent = models.ParticipantInfo.Kind.AGENT
            others = (kind for kind in models.ParticipantInfo.Kind.values() if kind != agent)
            routes = (AudioRoute(Channel.RIGHT, kind=kind) for kind in others)
            return AudioSource((AudioRoute(Channel.LEFT, kind=agent), *routes))
        case _:
            raise invalid_field("audio_mixing", mixing, listed(proto.AudioMixing.keys()))


def _route(route: proto.AudioRoute) -> AudioRoute:
    channel = _CHANNELS.get(route.channel)
    if channel is None:
        raise invalid_field("audio.routes.channel", route.channel, listed(proto.AudioChannel.keys()))
    match route.WhichOneof("match"):
        case "track_id":
            return AudioRoute(channel, track_id=required("audio.routes.track_id", route.track_id, _TRACK_ID))
        case "participant_identity":
            given = route.participant_identity
            identity = required("audio.routes.participant_identity", given, _IDENTITY)
            return AudioRoute(channel, identity=identity)
        case "participant_kind":
            return AudioRoute(channel, kind=route.participant_kind)
        case _:
            allowed = "track_id, participant_identity, participant_kind"
            raise invalid_field("audio.routes.match", "", allowed)


def _single_track(track_id: str) -> AudioSource:
    return AudioSource((AudioRoute(track_id=track_id),))
