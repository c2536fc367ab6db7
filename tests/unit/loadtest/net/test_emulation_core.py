"""The link model: golden vectors, and statistics over 200000 packets within five standard errors."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.definition.profile import Direction, Loss, load_profile
from loadtest.net.emulation.core import Lane, Lateness, Waiting, believable_age_ns

MS = 1_000_000
PACKETS = 200_000

BURSTS = Direction(delay_ms=20, jitter_ms=15, loss=Loss(good_to_bad=0.2, bad_to_good=0.5))


def _answers(
    direction: Direction, *, seed: str, count: int, every_ms: float, reorder: bool = False
) -> list[int | None]:
    lane = Lane(direction, reorder=reorder, seed=seed)
    return [lane.arrive(round(number * every_ms * MS)) for number in range(count)]


@pytest.mark.parametrize(
    ("reorder", "expected"),
    [
        (
            False,
            [
                16_051_376,
                16_051_376,
                None,
                None,
                36_589_756,
                40_146_350,
                57_524_010,
                57_524_010,
                None,
                None,
                None,
                64_605_586,
                86_892_651,
                86_892_651,
                97_214_502,
                105_471_320,
            ],
        ),
        (
            True,
            [
                16_051_376,
                15_650_937,
                None,
                None,
                36_589_756,
                40_146_350,
                57_524_010,
                52_623_195,
                None,
                None,
                None,
                64_605_586,
                86_892_651,
                82_044_384,
                97_214_502,
                105_471_320,
            ],
        ),
    ],
)
def test_golden_vectors(reorder: bool, expected: list[int | None]) -> None:
    assert _answers(BURSTS, seed="7/0/down", count=16, every_ms=5, reorder=reorder) == expected


def test_the_same_seed_gives_the_same_link_and_another_seed_another() -> None:
    one, again, other = (_answers(BURSTS, seed=seed, count=200, every_ms=5) for seed in ("a", "a", "b"))
    assert one == again
    assert one != other


def test_without_jitter_and_loss_each_packet_leaves_after_the_delay() -> None:
    direction = Direction(delay_ms=12.5)
    assert _answers(direction, seed="1", count=3, every_ms=4) == [12_500_000, 16_500_000, 20_500_000]


@pytest.mark.parametrize("name", ["3g", "wifi", "wifi-congested"])
def test_the_share_that_is_lost_is_the_profiles(name: str) -> None:
    direction = load_profile(name).down
    answers = _answers(direction, seed="loss", count=PACKETS, every_ms=1)
    lost = answers.count(None) / PACKETS
    assert lost == pytest.approx(direction.loss.ratio, abs=5 * direction.loss.standard_error(PACKETS))


def test_losses_come_in_bursts_of_the_mean_length_that_the_model_says() -> None:
    direction = load_profile("wifi-congested").down
    answers = _answers(direction, seed="bursts", count=PACKETS, every_ms=1)
    lengths = [
        sum(1 for _ in run) for lost, run in itertools.groupby(answers, lambda answer: answer is None) if lost
    ]
    mean = 1 / direction.loss.bad_to_good
    # Geometric: its deviation is √(1 - r)/r.
    error = ((1 - direction.loss.bad_to_good) ** 0.5 * mean) / len(lengths) ** 0.5
    assert statistics.mean(lengths) == pytest.approx(mean, abs=5 * error)


def test_independent_losses_do_not_come_in_bursts() -> None:
    answers = _answers(Direction(loss=Loss(lost_in_good=0.1)), seed="x", count=PACKETS, every_ms=1)
    after_a_loss = [later for earlier, later in itertools.pairwise(answers) if earlier is None]
    assert after_a_loss.count(None) / len(after_a_loss) == pytest.approx(
        0.1, abs=5 * 0.3 / len(after_a_loss) ** 0.5
    )


def test_a_state_loses_by_its_own_ratio() -> None:
    # It is in the bad state half of the time, where it loses 80 %, and 10 % in the good one.
    loss = Loss(good_to_bad=0.5, bad_to_good=0.5, lost_in_bad=0.8, lost_in_good=0.1)
    answers = _answers(Direction(loss=loss), seed="x", count=PACKETS, every_ms=1)
    assert loss.ratio == pytest.approx(0.45)
    assert answers.count(None) / PACKETS == pytest.approx(0.45, abs=5 * loss.standard_error(PACKETS))


def test_delays_are_uniform_within_the_jitter_where_packets_are_far_apart() -> None:
    answers = _answers(Direction(delay_ms=75, jitter_ms=50), seed="x", count=PACKETS, every_ms=101)
    delays = [answer / MS - number * 101 for number, answer in enumerate(answers) if answer is not None]
    lower, middle, upper = statistics.quantiles(delays, n=4)
    assert min(delays) >= 25
    assert max(delays) <= 125
    for quartile, expected in ((lower, 50), (middle, 75), (upper, 100)):
        assert quartile == pytest.approx(expected, abs=5 * 50 / PACKETS**0.5)


def test_a_delay_below_zero_is_no_delay() -> None:
    answers = _answers(Direction(delay_ms=1, jitter_ms=2), seed="x", count=PACKETS, every_ms=10)
    delays = [answer - number * 10 * MS for number, answer in enumerate(answers) if answer is not None]
    assert min(delays) == 0
    assert delays.count(0) / PACKETS == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / PACKETS) ** 0.5)
    assert max(delays) <= 3 * MS


@given(gaps=st.lists(st.integers(0, 30 * MS), min_size=2, max_size=60), seed=st.text())
def test_packets_stay_in_order_and_none_leaves_before_it_came(gaps: list[int], seed: str) -> None:
    lane = Lane(Direction(delay_ms=10, jitter_ms=30), reorder=False, seed=seed)
    arrivals = list(itertools.accumulate(gaps))
    releases = [lane.arrive(at) or 0 for at in arrivals]
    assert releases == sorted(releases)
    assert all(release >= at for at, release in zip(arrivals, releases, strict=True))


def test_packets_pass_each_other_where_the_profile_lets_them() -> None:
    answers = _answers(Direction(delay_ms=50, jitter_ms=40), seed="x", count=100, every_ms=5, reorder=True)
    assert answers != sorted(answer or 0 for answer in answers)


def test_waiting_packets_leave_by_time_and_those_of_one_time_as_they_came() -> None:
    waiting = Waiting()
    for packet, release in ((1, 30), (2, 10), (3, 20), (4, 10)):
        waiting.add(packet, release)
    assert waiting.next_release_ns() == 10
    assert waiting.due(9) == []
    assert waiting.due(20) == [(2, 10), (4, 10), (3, 20)]
    assert (len(waiting), waiting.next_release_ns()) == (1, 30)
    assert waiting.due(1000) == [(1, 30)]
    assert waiting.next_release_ns() is None


def test_a_packet_that_waited_for_a_starved_emulator_is_late_and_a_clock_that_was_set_is_noticed() -> None:
    assert [believable_age_ns(age) for age in (0, 100 * MS + 1, 4000 * MS)] == [0, 100 * MS + 1, 4000 * MS]
    assert [believable_age_ns(age) for age in (-1, 6000 * MS)] == [None, None]


def test_lateness_is_counted_in_percentiles() -> None:
    lateness = Lateness()
    assert (lateness.percentile_ms(99), lateness.max_ms) == (0, 0)
    for late_ms in range(1, 101):
        lateness.add(late_ms * MS - 1)
    assert lateness.percentile_ms(50) == pytest.approx(50, abs=0.02)
    assert lateness.percentile_ms(99) == pytest.approx(99, abs=0.02)
    assert lateness.max_ms == pytest.approx(100)
    lateness.add(5000 * MS)
    assert lateness.max_ms == 5000


def test_what_left_early_was_not_late() -> None:
    lateness = Lateness()
    lateness.add(-5)
    assert (lateness.percentile_ms(99), lateness.max_ms) == (0, 0)
