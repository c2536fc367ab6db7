"""Audiences, computed from visits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.audience import Audience, Point, Visit, audience_of, thinned

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def visit(who: str, start: float, end: float) -> Visit:
    return Visit(who, at(start), at(end))


def test_nobody() -> None:
    assert audience_of([]) == Audience(0, 0, 0, [])


def test_visits_are_counted_to_the_moment() -> None:
    made = audience_of([visit("a", 0, 10), visit("b", 5, 20), visit("a", 30, 40)])
    assert (made.unique, made.peak, made.watch_seconds) == (2, 2, 35)
    points = [(0, 1), (5, 2), (10, 1), (20, 0), (30, 1), (40, 0)]
    assert made.curve == [Point(at(seconds), viewers) for seconds, viewers in points]


def test_two_devices_of_one_person_are_one_viewer() -> None:
    made = audience_of([visit("a", 0, 12), visit("a", 10, 20)])
    assert (made.unique, made.peak, made.watch_seconds) == (1, 1, 20)


def test_one_who_leaves_as_another_comes_makes_no_peak() -> None:
    assert audience_of([visit("a", 0, 10), visit("b", 10, 20)]).peak == 1


VISITS = st.lists(
    st.builds(
        lambda who, start, length: visit(who, start, start + length),
        st.sampled_from("abcdef"),
        st.integers(0, 50),
        st.integers(0, 30),
    )
)


@given(VISITS)
def test_the_figures_are_those_of_counting_each_second(visits: list[Visit]) -> None:
    made = audience_of(visits)
    counts = [len({one.who for one in visits if one.start <= at(second) < one.end}) for second in range(81)]
    assert made.peak == max(counts)
    assert made.watch_seconds == sum(counts)
    assert made.unique == len({one.who for one in visits})


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(2, 40))
def test_a_thinned_curve_keeps_its_peak_and_its_end(counts: list[int], most: int) -> None:
    curve = [Point(at(number), viewers) for number, viewers in enumerate(counts)]
    thin = thinned(curve, most)
    assert len(thin) <= most
    assert max(point.viewers for point in thin) == max(counts)
    assert (thin[0].at, thin[-1]) == (curve[0].at, curve[-1])
