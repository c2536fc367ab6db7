"""Who has the stage and who is visible. Seats move only for a reason, so that a recording is calm to watch.

LiveKit's templates do the same with `useVisualStableUpdate` (livekit/components-js): whoever is visible keeps
their place, and a seat that becomes important takes the place of the least important one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.compose.scene import Seat, Source

# Shorter sounds (a cough, "mm-hm") move nobody.
SPEECH_SECONDS = 1.0
# Who spoke this recently is not hidden in favour of somebody who is silent.
RECENT_SECONDS = 30.0


@dataclass(frozen=True)
class Seating:
    """The visible seats in order, and how many have no tile. In layouts with a stage, the first is on it."""

    visible: tuple[Seat, ...]
    hidden: int = 0


def holds_the_floor(seat: Seat, now: float) -> bool:
    """Whether the seat speaks, and has for `SPEECH_SECONDS`."""
    return seat.speaking and seat.spoke_at is not None and now - seat.spoke_at >= SPEECH_SECONDS


def choose_stage(seats: Sequence[Seat], holder: str | None, now: float) -> Seat:
    """The seat for the stage. `seats` is not empty; `holder` is the key of the seat that has the stage now.

    A shared screen goes first; of several, the one on the stage stays, else the newest is taken. Among
    cameras, the holder stays until it is silent and somebody else holds the floor.
    """
    screens = [seat for seat in seats if seat.source is Source.SCREEN_SHARE]
    present = {seat.key: seat for seat in screens or seats}
    held = present.get(holder) if holder is not None else None
    if screens:
        return held or max(screens, key=lambda seat: (seat.joined_at, seat.key))
    if held is None or (_shows_nothing(held) and any(seat.has_picture for seat in seats)):
        return min(seats, key=lambda seat: _rank(seat, now))
    speakers = [seat for seat in seats if holds_the_floor(seat, now)]
    if held.speaking or not speakers:
        return held
    return min(speakers, key=lambda seat: (seat.spoke_at or 0.0, seat.joined_at, seat.key))


def in_stable_order(seats: Sequence[Seat], previous: Sequence[str]) -> list[Seat]:
    """The seats in their previous order, then the others in the order in which they joined."""
    places = {key: place for place, key in enumerate(previous)}
    return sorted(seats, key=lambda seat: (places.get(seat.key, len(places)), seat.joined_at, seat.key))


def seat_within(order: Sequence[Seat], capacity: int, now: float, first: Seat | None = None) -> Seating:
    """Choose who is visible if there are `capacity` tiles; the last tile counts the hidden seats, if any.

    `order` is from `in_stable_order`. A hidden seat takes the place of a visible one only if it is more
    important than it. `first`, one of the order, is always visible, in the first place.
    """
    if first is not None:
        order = [first, *(seat for seat in order if seat is not first)]
    if len(order) <= capacity:
        return Seating(tuple(order))
    tiles = max(1, capacity - 1)
    visible, hidden = list(order[:tiles]), list(order[tiles:])
    for candidate in sorted(hidden, key=lambda seat: _rank(seat, now)):
        replaceable = [seat for seat in visible if seat is not first]
        if not replaceable:
            break
        weakest = max(replaceable, key=lambda seat: _rank(seat, now))
        if _importance(candidate, now) >= _importance(weakest, now):
            break
        visible[visible.index(weakest)] = candidate
    return Seating(tuple(visible), hidden=len(order) - len(visible))


def camera_of(participant: str, seats: Sequence[Seat]) -> Seat | None:
    """The camera of a participant, None if they have none."""
    cameras = (seat for seat in seats if seat.source is Source.CAMERA)
    return next((seat for seat in cameras if seat.participant == participant), None)


def _shows_nothing(seat: Seat) -> bool:
    """Whether the seat has neither shown a picture nor spoken: nobody misses it on the stage."""
    return not seat.has_picture and seat.spoke_at is None


def _importance(seat: Seat, now: float) -> int:
    """0 for who speaks, 1 for who has something to show or spoke lately, 2 for the others."""
    if holds_the_floor(seat, now):
        return 0
    recent = seat.spoke_at is not None and now - seat.spoke_at <= RECENT_SECONDS
    return 1 if seat.has_picture or recent else 2


def _rank(seat: Seat, now: float) -> tuple[int, float, float, str]:
    """Sorts by importance, then by the latest speech, then by who joined first."""
    silence = float("inf") if seat.spoke_at is None else now - seat.spoke_at
    return _importance(seat, now), silence, seat.joined_at, seat.key
