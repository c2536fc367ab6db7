"""Who has the stage and who is visible, over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.compose.geometry import Size
from recorder.compose.layouts import Layout, Placed, arrange
from recorder.compose.scene import Seat
from recorder.compose.seating import RECENT_SECONDS, SPEECH_SECONDS
from tests.unit.recorder.compose.scenes import camera, cameras, screen

HD = Size(1280, 720)
NOW = 1000.0


def speaks(seat: Seat, *, seconds: float) -> Seat:
    """The seat, speaking for some time."""
    return replace(seat, speaking=True, spoke_at=NOW - seconds)


def spoke(seat: Seat, *, seconds_ago: float) -> Seat:
    """The seat, silent again."""
    return replace(seat, speaking=False, spoke_at=NOW - seconds_ago)


def keys(placed: Sequence[Placed]) -> list[str]:
    return [tile.content.key for tile in placed if isinstance(tile.content, Seat)]


def after(
    before: Sequence[Seat], now: Sequence[Seat], layout: Layout = Layout.SPEAKER
) -> tuple[list[str], list[str]]:
    """Who is visible before and after a change, in order."""
    previous = arrange(layout, before, HD, (), NOW)
    return keys(previous), keys(arrange(layout, now, HD, previous, NOW))


def test_a_speaker_changes_places_with_the_stage_and_nobody_else_moves() -> None:
    seats = cameras(5)
    before, now = after(seats, [*seats[:3], speaks(seats[3], seconds=2), seats[4]])
    assert before == ["p0", "p1", "p2", "p3", "p4"]
    assert now == ["p3", "p1", "p2", "p0", "p4"]


@pytest.mark.parametrize("seconds", [0, 0.9 * SPEECH_SECONDS])
def test_a_cough_moves_nobody(seconds: float) -> None:
    seats = cameras(3)
    before, now = after(seats, [*seats[:2], speaks(seats[2], seconds=seconds)])
    assert now == before


def test_a_speech_takes_the_stage_at_its_time() -> None:
    seats = cameras(3)
    _, now = after(seats, [*seats[:2], speaks(seats[2], seconds=SPEECH_SECONDS)])
    assert now[0] == "p2"


def test_the_stage_stays_while_its_holder_speaks_and_in_silence() -> None:
    first, second = cameras(2)
    talking = [speaks(first, seconds=9), second]
    _, interrupted = after(talking, [speaks(first, seconds=0.1), speaks(second, seconds=5)])
    assert interrupted == ["p0", "p1"]
    _, silent = after([first, speaks(second, seconds=9)], [first, spoke(second, seconds_ago=90)])
    assert silent == ["p1", "p0"]


def test_of_two_speakers_the_longer_one_gets_the_stage() -> None:
    seats = cameras(3)
    _, now = after(seats, [seats[0], speaks(seats[1], seconds=2), speaks(seats[2], seconds=3)])
    assert now[0] == "p2"


def test_the_last_speaker_follows_a_stage_that_leaves() -> None:
    first, second, third = cameras(3)
    _, now = after([speaks(first, seconds=5), second, third], [second, spoke(third, seconds_ago=20)])
    assert now == ["p2", "p1"]


def test_a_camera_takes_the_stage_from_somebody_who_never_showed_or_said_anything() -> None:
    dark = camera("dark", has_picture=False)
    _, now = after([dark], [dark, camera("bright", joined_at=5.0)])
    assert now == ["bright", "dark"]
    once_heard = spoke(dark, seconds_ago=500)
    _, now = after([once_heard], [once_heard, camera("bright", joined_at=5.0)])
    assert now == ["dark", "bright"]


def test_a_second_screen_does_not_take_the_stage_from_the_first() -> None:
    seats = [*cameras(2), screen("p0", joined_at=50.0)]
    _, now = after(seats, [*seats, screen("p1", joined_at=60.0)])
    assert now[0] == "p0/screen"


def test_the_newest_screen_takes_the_stage_from_a_camera() -> None:
    seats = cameras(2)
    _, now = after(seats, [*seats, screen("p0", joined_at=50.0), screen("p1", joined_at=60.0)])
    assert now[0] == "p1/screen"


@given(st.lists(st.sets(st.integers(0, 19)), min_size=2, max_size=6))
def test_visible_seats_keep_their_order_whoever_comes_and_goes(moments: list[set[int]]) -> None:
    everybody = cameras(20)
    previous: tuple[Placed, ...] = ()
    for present in moments:
        seats = [everybody[number] for number in present]
        placed = arrange(Layout.GRID, seats, HD, previous, NOW)
        stayed = [key for key in keys(previous) if key in keys(placed)]
        # Who is new stands behind those who were there.
        assert keys(placed)[: len(stayed)] == stayed
        assert set(keys(placed)) == {seat.key for seat in seats}
        previous = placed


def test_a_hidden_speaker_takes_only_the_place_of_the_least_important() -> None:
    seats = cameras(30)
    seats[3] = replace(seats[3], has_picture=False)
    now_speaking = [*seats[:28], speaks(seats[28], seconds=2), seats[29]]
    before, now = after(seats, now_speaking, Layout.GRID)
    # p3 shows nothing. The first hidden seat with a picture has had its place from the beginning.
    assert before[3] == "p24"
    # All visible ones are alike now: the last one goes.
    assert "p28" in now
    assert sum(one != other for one, other in zip(before, now, strict=True)) == 1


def test_a_hidden_cough_changes_nothing() -> None:
    seats = cameras(30)
    before, now = after(seats, [*seats[:29], speaks(seats[29], seconds=0.5)], Layout.GRID)
    assert now == before


def test_who_spoke_lately_is_not_hidden_for_a_silent_camera() -> None:
    seats = cameras(25)
    dark = replace(seats[4], has_picture=False)
    newcomer = camera("new", joined_at=500.0)
    recent = [*seats[:4], spoke(dark, seconds_ago=RECENT_SECONDS), *seats[5:]]
    _, now = after(recent, [*recent, newcomer], Layout.GRID)
    assert "p4" in now
    long_silent = [*seats[:4], spoke(dark, seconds_ago=RECENT_SECONDS + 1), *seats[5:]]
    _, now = after(long_silent, [*long_silent, newcomer], Layout.GRID)
    assert "p4" not in now


def test_the_presenter_stays_visible_when_others_speak() -> None:
    presenter = replace(cameras(1)[0], has_picture=False)
    crowd = [speaks(seat, seconds=3) for seat in cameras(12)[1:]]
    _, now = after([presenter, *crowd, screen("p0")], [presenter, *crowd, screen("p0")])
    assert now[:2] == ["p0/screen", "p0"]
