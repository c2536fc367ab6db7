"""Audiences, counted step by step, against counting each second."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.audience import Stay, change, curve_of, peak_of, place_of, steps_of, thinned

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stay(start: float, end: float | None, *, counts: bool = True) -> Stay:
    return Stay(at(start), None if end is None else at(end), counts)


def test_a_stay_makes_a_step_at_each_end() -> None:
    assert steps_of([stay(0, 10), stay(30, None)]) == {at(0): 1, at(10): -1, at(30): 1}


def test_a_second_device_replaces_the_first() -> None:
    steps = steps_of([stay(0, 12), stay(10, 20)])
    assert {moment: by for moment, by in steps.items() if by} == {at(0): 1, at(20): -1}
    # A viewer who comes again as somebody who does not count is no viewer from then on.
    assert steps_of([stay(0, 12), stay(10, 20, counts=False)]) == {at(0): 1, at(10): -1}


def test_a_change_is_what_to_add() -> None:
    before = [stay(0, 10), stay(40, 50)]
    assert change(before, [stay(0, 10), stay(20, None), stay(40, 50)]) == {at(20): 1, at(40): -1}
    assert change(before, before) == {}


@dataclass(frozen=True)
class Told:
    """An event: that `who` came in for the time `number`, or left."""

    who: str
    number: int
    end: bool


VISITS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 12)), max_size=12)


@given(VISITS, st.randoms())
def test_events_in_any_order_give_the_counts_of_each_second(
    drawn: list[tuple[str, int, int]], random: object
) -> None:
    # A person's next visit begins after the one before, and ends after it: as LiveKit has it.
    stays: dict[str, list[Stay]] = defaultdict(list)
    for who, pause, length in drawn:
        start = max(stays[who][-1].start if stays[who] else START, at(0)) + timedelta(seconds=pause + 1)
        end = max(stays[who][-1].end or start if stays[who] else start, start + timedelta(seconds=length))
        stays[who].append(Stay(start, end, counts=True))
    events = [
        Told(who, number, end)
        for who, own in stays.items()
        for number in range(len(own))
        for end in (False, True)
    ]
    random.shuffle(events)  # type: ignore[attr-defined]
    known: dict[str, dict[int, Stay]] = defaultdict(dict)
    steps: Counter[datetime] = Counter()
    for event in events:
        own, whole = known[event.who], stays[event.who][event.number]
        before = own.get(event.number)
        if event.end or before is None:
            after = whole if event.end else replace(whole, end=None)
            neighbours = (
                [own[max(earlier)]] if (earlier := [n for n in own if n < event.number]) else [],
                [own[min(later)]] if (later := [n for n in own if n > event.number]) else [],
            )
            around = [
                [*neighbours[0], *middle, *neighbours[1]] for middle in ([before] if before else [], [after])
            ]
            steps.update(change(*around))
            own[event.number] = after
    counts = [
        sum(any(one.start <= at(second) < (one.end or START) for one in own) for own in stays.values())
        for second in range(200)
    ]
    by_second = {int((moment - START).total_seconds()): by for moment, by in steps.items() if by}
    curve = curve_of(by_second, None)
    assert peak_of(curve) == max(counts)
    assert sum(-by * second for second, by in by_second.items()) == sum(counts)


def test_places_become_coarse_as_slowly_as_the_session_grows() -> None:
    assert [place_of(timedelta(seconds=second)) for second in (-1, 0, 1.9, 511, 512, 513, 515)] == [
        *(0, 0, 1, 511, 512, 512, 514)
    ]
    day = {place_of(timedelta(seconds=second)) for second in range(24 * 3600)}
    assert len(day) < 2500
    for second in range(1, 24 * 3600, 7):
        place = place_of(timedelta(seconds=second))
        assert place <= second < place * (1 + 1 / 256) + 1


def test_a_curve_ends_with_its_session() -> None:
    steps = {10: 2, 20: -1, 25: 0}
    assert curve_of(steps, None) == [(10, 2), (20, 1)]
    assert curve_of(steps, 30) == [(10, 2), (20, 1), (30, 0)]
    assert curve_of({10: 1, 20: -1}, 30) == [(10, 1), (20, 0)]
    assert curve_of({}, 30) == []


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(2, 40))
def test_a_thinned_curve_keeps_its_peak_and_its_end(counts: list[int], most: int) -> None:
    curve = list(enumerate(counts))
    thin = thinned(curve, most)
    assert len(thin) <= most
    assert peak_of(thin) == max(counts)
    assert (thin[0][0], thin[-1]) == (0, curve[-1])
