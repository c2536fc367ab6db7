"""What of a room is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Channel(Enum):
    """On which side of the stereo output a track is heard."""

    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class AudioRoute:
    """Tracks that are heard on `channel`: one, or all of a participant, or all of a kind of participant.

    Exactly one of `track_id`, `identity` and `kind` is set. `kind` is LiveKit's number.
    """

    channel: Channel = Channel.BOTH
    track_id: str = ""
    identity: str = ""
    kind: int | None = None

    def matches(self, *, track_id: str, identity: str, kind: int) -> bool:
        """Whether a published track is meant."""
        if self.track_id:
            return self.track_id == track_id
        if self.identity:
            return self.identity == identity
        return self.kind == kind


@dataclass(frozen=True)
class AudioSource:
    """Which tracks are heard: those of a route, and with `capture_all` all others on both channels.

    `alternate` puts each further participant on the other channel (DUAL_CHANNEL_ALTERNATE).
    """

    routes: tuple[AudioRoute, ...] = ()
    capture_all: bool = False
    alternate: bool = False


@dataclass(frozen=True)
class Composite:
    """All cameras and screens of the room, arranged by a layout."""

    layout: str = ""


@dataclass(frozen=True)
class OneParticipant:
    """One participant's camera, or its shared screen."""

    identity: str
    screen_share: bool = False


@dataclass(frozen=True)
class OneTrack:
    """One video track."""

    track_id: str


VideoSource: TypeAlias = Composite | OneParticipant | OneTrack
