"""What must be known beside a client's own figures, to say what they mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.client.bitrates import layer_heights
from loadtest.client.recording import Recording
from loadtest.definition.profile import Direction, NetworkProfile
from loadtest.definition.scenario import Camera, Group
from loadtest.result import (
    ApiResult,
    CapacityChange,
    ClientResult,
    RampResult,
    RecordingResult,
    SfuSample,
    VideoSource,
)


@dataclass(frozen=True)
class Window:
    """A part of the run's time, in seconds since its start."""

    from_s: float
    to_s: float

    @property
    def seconds(self) -> float:
        return self.to_s - self.from_s

    def __contains__(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def quarter(self, number: int) -> Window:
        """The first to the fourth."""
        length = self.seconds / 4
        return Window(self.from_s + (number - 1) * length, self.from_s + number * length)


@dataclass(frozen=True)
class Picture:
    """A video track that a client has to get.

    Attributes:
        up: the publisher's link, towards the SFU.
    """

    publisher: str
    source: VideoSource
    camera: Camera
    up: Direction

    def __str__(self) -> str:
        return f"{self.publisher}'s {self.source}"

    @property
    def layer_heights(self) -> tuple[int, ...]:
        """Of what is sent."""
        camera = self.camera
        if self.source == "screen":
            return (camera.height,)
        return layer_heights(camera.width, camera.height, simulcast=camera.simulcast)


@dataclass(frozen=True)
class Captured:
    """Frames that a client handed to its encoder, over all its tracks.

    Attributes:
        pictures: frames that it captured.
        due: frames that it had to capture, by its own clock, while the server took its tracks.
        late: captured frames that were handed over 30 ms after they were due, or later.
    """

    pictures: int
    due: int
    late: int = 0


def captured_in(recording: Recording, from_ms: float, to_ms: float) -> Captured:
    """The frames that a publisher captured in a time window (CLOCK_MONOTONIC), and the frames that were due.

    A report that overlaps the window partly counts by the overlapping share of its time. A process without
    processor time reports late, so one report may begin before the window and end after it.
    """
    pictures = due = late = 0.0
    for report in recording.measured:
        inside_ms = min(report.to_ms, to_ms) - max(report.from_ms, from_ms)
        if inside_ms > 0:
            share = inside_ms / (report.to_ms - report.from_ms)
            pictures += share * report.captured
            due += share * report.due
            late += share * report.late
    return Captured(pictures=round(pictures), due=round(due), late=round(late))


@dataclass(frozen=True)
class OwnTimes:
    """What a client itself took for a picture in the window's median second, by WebRTC's counts, in ms.

    Attributes:
        encode_ms: in the encoder, of the largest layer that it sends; None for who sends none.
        jitter_buffer_ms, decode_ms: waiting to be decoded, and being decoded; None where no picture came.
    """

    encode_ms: float | None = None
    jitter_buffer_ms: float | None = None
    decode_ms: float | None = None


@dataclass(frozen=True)
class ClientFacts:
    """Of one client.

    Attributes:
        window: what its figures are over.
        pictures: what it has to get of those who stay in its room.
        voices: the clients whose sound it has to get.
        publishes: whether it sends media: video, audio or both.
        sent_fps: pictures per second that it has to capture, over all its tracks.
        down: its link, towards it.
        capacity: the changes of its link.
        comes_and_goes: it is not there all the time.
        connected_s: when it began to connect; None where it never did.
        captured: within the window; None for who sends no pictures.
        lost_ratio: of the RTP packets sent to it within the window; None where nobody counted.
        own: what it took itself.
    """

    window: Window
    pictures: tuple[Picture, ...]
    voices: tuple[str, ...]
    sent_fps: int
    down: Direction
    publishes: bool = False
    capacity: tuple[CapacityChange, ...] = ()
    comes_and_goes: bool = False
    connected_s: float | None = None
    captured: Captured | None = None
    lost_ratio: float | None = None
    own: OwnTimes = OwnTimes()


@dataclass(frozen=True)
class JudgedClient:
    """A client's figures, and what it takes to judge them."""

    result: ClientResult
    facts: ClientFacts


@dataclass(frozen=True)
class RunFacts:
    """What the metrics of the whole run are made from."""

    window: Window
    clients: tuple[ClientResult, ...]
    sfu: tuple[SfuSample, ...] = ()
    api: ApiResult | None = None
    ramp: RampResult | None = None
    recording: RecordingResult | None = None


class Member(Protocol):
    """One client of the plan."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> Group: ...
    @property
    def room(self) -> str: ...
    @property
    def profile(self) -> NetworkProfile: ...


def facts_of(
    member: Member,
    everybody: Iterable[Member],
    *,
    window: Window,
    capacity: Sequence[CapacityChange] = (),
    connected_s: float | None = None,
    captured: Captured | None = None,
    lost_ratio: float | None = None,
    own: OwnTimes = OwnTimes(),
) -> ClientFacts:
    """The facts of one client of a plan. Who comes and goes owes the others nothing.

    Args:
        everybody: all clients of the run, this one too.
        capacity: the changes of all groups' links.
    """
    others = [
        other
        for other in everybody
        if member.group.subscribe
        and other.name != member.name
        and other.room == member.room
        and other.group.stay_s is None
    ]
    return ClientFacts(
        window=window,
        pictures=tuple(picture for other in others for picture in _pictures_of(other)),
        voices=tuple(o.name for o in others if o.group.publish is not None and o.group.publish.microphone),
        sent_fps=sum(picture.camera.fps for picture in _pictures_of(member)),
        down=member.profile.down,
        publishes=member.group.publish is not None,
        capacity=tuple(change for change in capacity if change.group == member.group.name),
        comes_and_goes=member.group.stay_s is not None,
        connected_s=connected_s,
        captured=captured,
        lost_ratio=lost_ratio,
        own=own,
    )


def _pictures_of(member: Member) -> tuple[Picture, ...]:
    publish = member.group.publish
    if publish is None:
        return ()
    sources: tuple[tuple[VideoSource, Camera | None], ...] = (
        ("camera", publish.camera),
        ("screen", publish.screen),
    )
    return tuple(
        Picture(publisher=member.name, source=source, camera=camera, up=member.profile.up)
        for source, camera in sources
        if camera is not None
    )
