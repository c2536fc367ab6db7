"""The room's participants as the recording needs them, shared by the room's and the pipeline's thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from recorder.compose.scene import Picture, Seat, Source
from recorder.media.pictures import VideoTrack
from recorder.media.sounds import AudioTrack, Heard
from recorder.requests.sources import Channel

_GAINS = {Channel.BOTH: (1.0, 1.0), Channel.LEFT: (1.0, 0.0), Channel.RIGHT: (0.0, 1.0)}


@dataclass
class _Showing:
    """A camera or screen that is published."""

    track: VideoTrack
    muted: bool
    began_at: float


@dataclass
class _Person:
    name: str
    joined_at: float
    showing: dict[Source, _Showing] = field(default_factory=dict)
    speaking: bool = False
    spoke_at: float | None = None


class People:
    """Who publishes what. All methods may be called from any thread; times are of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._people: dict[str, _Person] = {}
        self._sounds: dict[str, Heard] = {}

    def join(self, identity: str, name: str, at: float) -> None:
        """Somebody publishes, and has a seat from now on."""
        with self._lock:
            if identity in self._people:
                self._people[identity].name = name
            else:
                self._people[identity] = _Person(name, at)

    def rename(self, identity: str, name: str) -> None:
        """Somebody has another name."""
        with self._lock:
            if identity in self._people:
                self._people[identity].name = name

    def leave(self, identity: str) -> None:
        """Somebody publishes nothing any more."""
        with self._lock:
            self._people.pop(identity, None)

    def keep_only(self, identities: set[str]) -> None:
        """Forget everybody else, for example after the room was joined anew."""
        with self._lock:
            self._people = {key: value for key, value in self._people.items() if key in identities}

    def show(self, identity: str, source: Source, *, muted: bool, at: float) -> VideoTrack:
        """Somebody's camera or screen is there; its frames go to the returned track.

        If it was there before, for example before a reconnection, the last picture stays until a frame comes.
        """
        with self._lock:
            showing = self._people[identity].showing
            found = showing.get(source)
            if found is None:
                found = showing[source] = _Showing(VideoTrack(), muted, at)
            found.muted = muted
            return found.track

    def mute(self, identity: str, source: Source, *, muted: bool) -> None:
        """A camera is turned off or on. A camera that is on again shows no old picture."""
        with self._lock:
            person = self._people.get(identity)
            found = person.showing.get(source) if person is not None else None
            if found is not None:
                if muted:
                    found.track.clear()
                found.muted = muted

    def hide(self, identity: str, source: Source) -> None:
        """A camera or screen is not published any more."""
        with self._lock:
            if identity in self._people:
                self._people[identity].showing.pop(source, None)

    def speak(self, identities: set[str], at: float) -> None:
        """These, and nobody else, speak now."""
        with self._lock:
            for identity, person in self._people.items():
                speaks = identity in identities
                if speaks and not person.speaking:
                    person.spoke_at = at
                person.speaking = speaks

    def hear(self, key: str, channel: Channel) -> AudioTrack:
        """A sound is in the mix from now on; its samples go to the returned track."""
        left, right = _GAINS[channel]
        with self._lock:
            known = self._sounds.get(key)
            track = known.track if known is not None else AudioTrack()
            self._sounds[key] = Heard(track, left, right)
            return track

    def silence(self, key: str) -> None:
        """A sound is over."""
        with self._lock:
            self._sounds.pop(key, None)

    def sounds(self) -> Sequence[Heard]:
        """What is in the mix."""
        with self._lock:
            return tuple(self._sounds.values())

    def has_picture(self) -> bool:
        """Whether any frame has arrived."""
        with self._lock:
            showing = [each for person in self._people.values() for each in person.showing.values()]
        return any(each.track.has_picture for each in showing)

    def picture_size(self) -> tuple[int, int] | None:
        """Width and height of a participant's newest frame, upright; None before there is one."""
        with self._lock:
            showing = [each for person in self._people.values() for each in person.showing.values()]
        return next((size for each in showing if (size := each.track.size) is not None), None)

    def seats(self) -> tuple[Seat, ...]:
        """Everybody's seats: a camera each, also if it is off, and the shared screens."""
        with self._lock:
            return tuple(
                seat for identity, person in self._people.items() for seat in _seats(identity, person)
            )

    def pictures(self, at: float, interval: float) -> dict[str, Picture]:
        """The picture of each seat that has one, for the moment `at`; see `VideoTrack.take`."""
        with self._lock:
            tracks = {
                f"{identity}/{source}": showing.track
                for identity, person in self._people.items()
                for source, showing in person.showing.items()
                if not showing.muted
            }
        taken = {key: track.take(at, interval) for key, track in tracks.items()}
        return {key: picture for key, picture in taken.items() if picture is not None}


def _seats(identity: str, person: _Person) -> list[Seat]:
    showing = dict(person.showing)
    camera = showing.pop(Source.CAMERA, None)
    seats = [
        Seat(
            key=f"{identity}/{Source.CAMERA}",
            participant=identity,
            name=person.name,
            source=Source.CAMERA,
            has_picture=camera is not None and not camera.muted and camera.track.has_picture,
            joined_at=person.joined_at,
            spoke_at=person.spoke_at,
            speaking=person.speaking,
        )
    ]
    screen = showing.get(Source.SCREEN_SHARE)
    if screen is not None and screen.track.has_picture:
        seats.append(
            Seat(
                key=f"{identity}/{Source.SCREEN_SHARE}",
                participant=identity,
                name=person.name,
                source=Source.SCREEN_SHARE,
                has_picture=True,
                joined_at=screen.began_at,
            )
        )
    return seats
