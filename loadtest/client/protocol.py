"""What a client process is told (JSON lines on stdin) and what it tells (JSON lines on stdout).

First comes its configuration, then commands. The end of stdin is a command too: leave the room, report,
end. So a client never outlives whoever started it. What it measures it tells once a second: one that
dies has told all but its last second.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer, model_validator

from loadtest.client.path import TransportPath
from loadtest.client.samples import AudioSecond, TransportSecond, VideoSecond, VideoSource
from loadtest.definition.scenario import ActionKind, Publish

SimulatedAction: TypeAlias = Literal[
    ActionKind.RECONNECT_SIGNAL, ActionKind.RECONNECT_FULL, ActionKind.SERVER_LEAVE, ActionKind.MIGRATE
]
SignalUrl: TypeAlias = Annotated[str, Field(pattern=r"^wss?://")]


class _Message(BaseModel):
    # What was given may be a token, and errors go to logs.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClientConfig(_Message):
    """What one client does.

    Attributes:
        url: signalling URL; left out with `wait_for_join`.
        token: the access token; it says who the client is and which room it joins.
        wait_for_join: get ready, say `Ready`, and join when `Join` comes, with its URL and token.
        transport: which ICE candidates it may use: any, or only those of a TURN server.
        join_timeout: seconds that joining may take, with the media connection established.
        publish: what it sends.
        subscribe: whether it takes in everything that the room has.
    """

    url: SignalUrl | None = None
    token: SecretStr | None = None
    wait_for_join: bool = False
    transport: Literal["all", "relay"] = "all"
    join_timeout: float = Field(default=30, gt=0)
    publish: Publish | None = None
    subscribe: bool = False

    @model_validator(mode="after")
    def _can_join(self) -> Self:
        given = [name for name in ("url", "token") if getattr(self, name) is not None]
        wanted = [] if self.wait_for_join else ["url", "token"]
        if given != wanted:
            raise ValueError(
                f"wait_for_join is {self.wait_for_join} and given are {given or 'neither url nor token'}; "
                "allowed are both without wait_for_join, or neither with it"
            )
        return self

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr | None) -> str | None:
        return None if token is None else token.get_secret_value()


class Join(_Message):
    """Join a room: the first time for a client that waits for it, or again after `Leave`."""

    command: Literal["join"] = "join"
    url: SignalUrl
    token: SecretStr

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Leave(_Message):
    """Leave the room and wait for the next `Join`."""

    command: Literal["leave"] = "leave"


class Simulate(_Message):
    """Let the SDK, or the server at its request, break the connection in one of the ways they know."""

    command: Literal["simulate"] = "simulate"
    kind: SimulatedAction


Command: TypeAlias = Join | Leave | Simulate

command_adapter: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


class Ready(_Message):
    """The native library is loaded and pictures are made: from here on only the network takes time."""

    event: Literal["ready"] = "ready"


class Joined(_Message):
    """In the room, with a media connection.

    Attributes:
        at_ms: when, as CLOCK_MONOTONIC in ms, like every time here.
        join_ms: from the start of connecting until now.
        signalling_ms: the part of it until the server's join answer: making the peer connection with
            its first offer, name resolution, TCP, TLS, WebSocket, and what the server does for it.
            None where the SDK did not say when the answer came.
        ice_ms: the rest: ICE and DTLS, to within 50 ms, until a media connection is up. The SDK has
            one connection for both directions, or takes that of the subscriber from an older server.
    """

    event: Literal["joined"] = "joined"
    identity: str
    room: str
    at_ms: float
    join_ms: float
    signalling_ms: float | None
    ice_ms: float | None


class FirstVideo(_Message):
    """The first picture of this session whose marker could be read came.

    Attributes:
        since_start_ms: since the client began to connect.
    """

    event: Literal["first_video"] = "first_video"
    publisher: str
    source: VideoSource
    at_ms: float
    since_start_ms: float


class FirstAudio(_Message):
    """The first two tones in the marker's order were heard."""

    event: Literal["first_audio"] = "first_audio"
    publisher: str
    at_ms: float
    since_start_ms: float


class Reconnecting(_Message):
    """The SDK noticed that the connection is lost, and makes a new one."""

    event: Literal["reconnecting"] = "reconnecting"
    at_ms: float


class Reconnected(_Message):
    """The SDK has a connection again."""

    event: Literal["reconnected"] = "reconnected"
    at_ms: float


class Left(_Message):
    """Out of the room, as told."""

    event: Literal["left"] = "left"
    at_ms: float


class Measured(_Message):
    """The raw of one second; the last one of a session may be shorter.

    Attributes:
        from_ms, to_ms: which time it is. A longer one means that this process had no processor.
        video, audio: one per track that this client is subscribed to, silent ones too.
        transport: None outside of a room, and while there are no statistics to be had.
        due: frames that were due in this time by the client's own clock, while the server took its tracks.
        captured: frames handed to the encoder in this time.
        late: those of them that were handed over 30 ms after they were due, or later.
        cpu_s: processor time that the process has used since its start.
    """

    event: Literal["measured"] = "measured"
    from_ms: float
    to_ms: float
    video: tuple[VideoSecond, ...] = ()
    audio: tuple[AudioSecond, ...] = ()
    transport: TransportSecond | None = None
    due: int = 0
    captured: int = 0
    late: int = 0
    cpu_s: float = 0


class Finished(_Message):
    """The end of a client that did as it was told.

    Attributes:
        paths: one per media connection that carried something, at the end of the last session.
        frames_captured: pictures handed to the encoder, in all.
    """

    event: Literal["finished"] = "finished"
    paths: tuple[TransportPath, ...]
    frames_captured: int


class Failed(_Message):
    """The client gave up.

    Attributes:
        signalling_ms: of a join that failed, from the start of connecting to the server's join answer;
            None where that did not come, and for any other failure.
    """

    event: Literal["failed"] = "failed"
    reason: str
    signalling_ms: float | None = None


Event: TypeAlias = (
    Ready
    | Joined
    | FirstVideo
    | FirstAudio
    | Reconnecting
    | Reconnected
    | Left
    | Measured
    | Finished
    | Failed
)

event_adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
