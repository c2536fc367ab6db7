"""Everything that a client has told, as one value that figures are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from loadtest.client.protocol import (
    Event,
    FirstAudio,
    FirstVideo,
    Joined,
    Left,
    Measured,
    Reconnected,
    Reconnecting,
)

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Recording:
    """A client's events so far, in the order in which it told them."""

    events: tuple[Event, ...] = ()

    @property
    def measured(self) -> tuple[Measured, ...]:
        return self._of(Measured)

    @property
    def joined(self) -> tuple[Joined, ...]:
        return self._of(Joined)

    @property
    def first_video(self) -> tuple[FirstVideo, ...]:
        return self._of(FirstVideo)

    @property
    def first_audio(self) -> tuple[FirstAudio, ...]:
        return self._of(FirstAudio)

    @property
    def reconnecting(self) -> tuple[Reconnecting, ...]:
        return self._of(Reconnecting)

    @property
    def reconnected(self) -> tuple[Reconnected, ...]:
        return self._of(Reconnected)

    @property
    def left(self) -> tuple[Left, ...]:
        return self._of(Left)

    def _of(self, kind: type[E]) -> tuple[E, ...]:
        return tuple(event for event in self.events if isinstance(event, kind))
