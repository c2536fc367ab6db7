"""Which published tracks a recording subscribes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from livekit import rtc

from recorder.compose.scene import Source
from recorder.requests.kinds import Kind
from recorder.requests.plan import Plan
from recorder.requests.sources import AudioSource, Channel, Composite, OneParticipant, OneTrack, VideoSource

# Participants of these kinds record the room themselves.
_NOT_RECORDED = frozenset({rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS})


@dataclass(frozen=True)
class Published:
    """A published track. `source` and `kind` are LiveKit's numbers.

    `width` and `height` are those of a video's largest layer in pixels; 0 if its publisher does not say them.
    """

    track_id: str
    identity: str
    kind: int
    is_video: bool
    source: int
    width: int = 0
    height: int = 0

    @property
    def shows(self) -> Source:
        """What a video track shows; tracks without a source count as cameras, as in LiveKit's templates."""
        screen = self.source == rtc.TrackSource.SOURCE_SCREENSHARE
        return Source.SCREEN_SHARE if screen else Source.CAMERA


def is_wanted(plan: Plan, track: Published) -> bool:
    """Whether the plan records a track."""
    if track.kind in _NOT_RECORDED:
        return False
    if track.is_video:
        return plan.video is not None and _is_seen(plan.video, track)
    return plan.audio is not None and _is_heard(plan, plan.audio, track)


def channel_of(audio: AudioSource, track: Published, number: int) -> Channel:
    """Where a wanted audio track is heard. `number` counts the participants in the order they were heard."""
    for route in audio.routes:
        if route.matches(track_id=track.track_id, identity=track.identity, kind=track.kind):
            return route.channel
    if audio.alternate:
        return Channel.RIGHT if number % 2 else Channel.LEFT
    return Channel.BOTH


def _is_seen(video: VideoSource, track: Published) -> bool:
    match video:
        case Composite():
            return True
        case OneParticipant(identity, screen_share):
            wanted = Source.SCREEN_SHARE if screen_share else Source.CAMERA
            return track.identity == identity and track.shows is wanted
        case OneTrack(track_id):
            return track.track_id == track_id


def _is_heard(plan: Plan, audio: AudioSource, track: Published) -> bool:
    matched = any(
        route.matches(track_id=track.track_id, identity=track.identity, kind=track.kind)
        for route in audio.routes
    )
    if not matched:
        return audio.capture_all
    if plan.kind is Kind.PARTICIPANT and isinstance(plan.video, OneParticipant):
        # The camera is recorded with the microphone, and the screen with its own sound.
        of_screen = track.source == rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO
        return of_screen == plan.video.screen_share
    return True
