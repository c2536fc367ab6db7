"""What a client process is told (one JSON object on stdin) and what it tells (JSON lines on stdout).

After its configuration a client takes one more thing from stdin: its end. Then it reports what it
measured and leaves the room. So a client never outlives whoever started it.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from loadtest.client.path import TransportPath
from loadtest.marker.audio import AudioTally


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Publish(_Message):
    """Marked video and marked audio to publish.

    Attributes:
        width, height: of the picture, in pixels.
        fps: frames per second.
        simulcast: whether the smaller layers are sent too.
    """

    width: int = Field(default=640, ge=160, le=1920, multiple_of=2)
    height: int = Field(default=360, ge=90, le=1080, multiple_of=2)
    fps: int = Field(default=15, ge=1, le=60)
    simulcast: bool = True


class Subscribe(_Message):
    """Subscribe to everything that the room has.

    Attributes:
        fps: the publishers' frame rate; the age of the newest frame is looked at that often.
    """

    fps: int = Field(default=15, ge=1, le=60)


class ClientConfig(_Message):
    """What one client does.

    Attributes:
        url: signalling URL, ws:// or wss://.
        token: the access token; it says who the client is and which room it joins.
        transport: which ICE candidates it may use: any, or only those of a TURN server.
        join_timeout: seconds that joining may take, with the media connection established.
    """

    url: str = Field(pattern=r"^wss?://")
    token: SecretStr
    transport: Literal["all", "relay"] = "all"
    join_timeout: float = Field(default=30, gt=0)
    publish: Publish | None = None
    subscribe: Subscribe | None = None

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Joined(_Message):
    """In the room.

    Attributes:
        join_ms: from the call of connect to its return: signalling and the first answer.
    """

    event: Literal["joined"] = "joined"
    identity: str
    room: str
    join_ms: float


class FirstVideo(_Message):
    """The first picture whose marker could be read came.

    Attributes:
        since_start_ms: since the client began to join.
    """

    event: Literal["first_video"] = "first_video"
    publisher: str
    since_start_ms: float


class FirstAudio(_Message):
    """The first two tones in the marker's order were heard."""

    event: Literal["first_audio"] = "first_audio"
    publisher: str
    since_start_ms: float


class FrameSample(_Message):
    """One decoded picture whose marker was readable.

    Attributes:
        received_ms: CLOCK_MONOTONIC when it was decoded.
        latency_ms: from capture to decoded.
        frame: the publisher's frame counter, unwrapped: it only grows.
    """

    received_ms: float
    latency_ms: float
    frame: int
    width: int
    height: int


class VideoReceived(_Message):
    """One video track, as a subscriber saw it.

    Attributes:
        frames: each frame that came and could be read.
        unreadable: frames that came and could not be read.
        ages_ms: at every 1/fps tick after the first frame, how long ago the newest frame had been
            captured. A stalled track gives no frames, and so no latencies; here it shows.
    """

    publisher: str
    frames: tuple[FrameSample, ...]
    unreadable: int
    ages_ms: tuple[float, ...]


class AudioReceived(_Message):
    """One audio track, as a subscriber heard it."""

    publisher: str
    tally: AudioTally


class Finished(_Message):
    """The end of a client that did as it was told, with all it measured.

    Attributes:
        paths: one per media connection that carried something.
        frames_captured: video frames handed to the encoder.
    """

    event: Literal["finished"] = "finished"
    paths: tuple[TransportPath, ...]
    frames_captured: int
    video: tuple[VideoReceived, ...]
    audio: tuple[AudioReceived, ...]


class Failed(_Message):
    """The client gave up."""

    event: Literal["failed"] = "failed"
    reason: str


Event: TypeAlias = Joined | FirstVideo | FirstAudio | Finished | Failed

event_adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
