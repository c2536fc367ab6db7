from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtest.definition.profile import Direction, Loss, builtin_profiles
from loadtest.definition.scenario import Camera, Metric, NamedLimit, RunMetric, Threshold
from loadtest.judging.facts import JudgedClient, OwnTimes, Picture, RunFacts
from loadtest.judging.named_limits import links_share_ms, resolve
from loadtest.judging.thresholds import check, check_ends
from loadtest.result import Check, Outcome, RampResult
from tests.unit.loadtest.judging.judged import CAMERA, WINDOW, facts, milliseconds, result, track, viewer

PROFILES = builtin_profiles()


def threshold(metric: Metric | RunMetric, group: str = "viewers", **limit: Any) -> Threshold:
    return Threshold(metric=metric, group="" if isinstance(metric, RunMetric) else group, **limit)


def run() -> RunFacts:
    return RunFacts(window=WINDOW, clients=(), ramp=RampResult(group="viewers", held=4, steps=()))


def judge(one: Threshold, *clients: JudgedClient, profile: str = "wifi") -> Check:
    (found,) = check([one], clients, run(), profile)
    return found


def with_age(name: str, ms: float) -> JudgedClient:
    return viewer(name, video=(track(age_ms=milliseconds(ms)),))


AGE = threshold(Metric.AGE_P95_MS, max=3000)


def test_the_worst_client_is_named() -> None:
    found = judge(AGE, with_age("viewers-1", 100), with_age("viewers-2", 3412), with_age("viewers-3", 3100))
    assert found == Check(
        threshold="viewers: age_p95_ms ≤ 3000",
        passed=False,
        value=3412,
        limit=3000,
        worst="viewers-2",
        reason="viewers-2 had 3412, and at most 3000 is allowed (2 of 3 clients missed it)",
    )


def test_a_value_at_the_limit_passes_and_is_shown() -> None:
    found = judge(AGE, with_age("viewers-1", 3000), with_age("viewers-2", 2999))
    assert (found.passed, found.value, found.worst, found.reason) == (True, 3000, "viewers-1", "")


def test_of_a_least_value_the_smallest_is_the_worst() -> None:
    least = threshold(Metric.DELIVERED_RATIO, min=0.8)
    found = judge(least, viewer(), viewer("viewers-2", video=(track(delivered=90, sent=450),)))
    assert (found.passed, found.value, found.worst) == (False, 0.2, "viewers-2")
    assert found.reason == "viewers-2 had 0.2, and at least 0.8 is allowed (1 of 2 clients missed it)"


def test_a_missing_value_is_worse_than_any_and_says_why() -> None:
    found = judge(AGE, with_age("viewers-1", 9999), viewer("viewers-2", video=()))
    assert (found.passed, found.value, found.worst) == (False, None, "viewers-2")
    assert found.reason.startswith("viewers-2 got no picture of creator-1's camera (2 of 2")


def test_other_groups_are_not_judged() -> None:
    assert judge(AGE, with_age("viewers-1", 100), with_age("guests-1", 9999)).passed


def test_a_group_without_clients_holds_nothing() -> None:
    found = judge(AGE, with_age("guests-1", 100))
    assert (found.passed, found.reason) == (False, "no client of group viewers was there to judge")


def test_a_threshold_of_another_profile_is_left_out() -> None:
    narrow = threshold(Metric.SETTLED_HEIGHT, max=360, profiles=("3g",))
    assert check([narrow], [viewer()], run(), "3g") == ()
    assert not judge(narrow, viewer(profile="3g")).passed


def test_of_the_run() -> None:
    assert judge(threshold(RunMetric.HELD, min=4)).passed
    found = judge(threshold(RunMetric.HELD, min=5))
    assert (found.passed, found.value, found.worst) == (False, 4, "")
    assert found.reason == "the run had 4, and at least 5 is allowed"
    assert judge(threshold(RunMetric.API_P99_MS, max=5)).reason == "no request was sent to the API"
    assert check([threshold(RunMetric.HELD, min=5, profiles=("4g",))], [], run(), "wifi") == ()


OBJECTIVE = threshold(Metric.LATENCY_P50_MS, max=NamedLimit.LATENCY_OBJECTIVE)


def seeing(name: str, latency_ms: float, *, buffer_ms: float, **of_facts: Any) -> JudgedClient:
    """A viewer with so much latency, of which its own jitter buffer has so much."""
    own = OwnTimes(jitter_buffer_ms=buffer_ms, decode_ms=4)
    return viewer(
        name, video=(track(latency_ms=milliseconds(latency_ms)),), facts_of_it=facts(own=own, **of_facts)
    )


def test_a_named_limit_is_each_clients_own() -> None:
    slow = seeing("viewers-1", 350, buffer_ms=96, down=Direction(delay_ms=200, jitter_ms=50))
    late = seeing("viewers-2", 400, buffer_ms=96)
    found = judge(OBJECTIVE, slow, late)
    assert (found.threshold, found.worst, found.limit) == (
        "viewers: latency_p50_ms ≤ latency-objective",
        "viewers-2",
        1 + 2 + 1 + 2 + 96 + 4 + 100,
    )
    assert found.limit_parts == (
        "6 ms of links, 100 of its own jitter buffer and decoder, 100 for all between"
    )
    assert found.reason == (
        f"viewers-2 had 400, and at most 206 is allowed: {found.limit_parts} (1 of 2 clients missed it)"
    )


@pytest.mark.parametrize(
    ("latency_ms", "buffer_ms", "holds"),
    [
        (130, 40, True),
        (190, 40, False),  # a quiet machine: what is between is slow
        (436, 397, True),  # a saturated one, without links: it is the viewer who waits
        (480, 350, False),  # an SFU that gets 3 % of a processor
        (1189, 254, False),
        (1060, 850, True),  # ends that are slow by far: what is between may be so too, in proportion
        (1090, 850, False),
    ],
)
def test_what_is_between_the_ends_is_held_against_what_the_viewer_itself_took(
    latency_ms: float, buffer_ms: float, *, holds: bool
) -> None:
    assert judge(OBJECTIVE, seeing("viewers-1", latency_ms, buffer_ms=buffer_ms)).passed is holds


def test_a_viewer_whose_own_times_nobody_counted_is_allowed_no_more_for_that() -> None:
    assert resolve(NamedLimit.LATENCY_OBJECTIVE, facts(own=OwnTimes())).value == 6 + 100


@pytest.mark.parametrize(
    ("profile", "height"),
    [("ideal", 720), ("wifi", 720), ("4g", 720), ("3g", 360), ("3g-slow", 360), ("rmcat-step", 360)],
)
def test_the_layer_that_fits_the_link(profile: str, height: int) -> None:
    assert resolve(NamedLimit.LINK_HEIGHT, facts(down=PROFILES[profile].down)).value == height


def test_no_layer_is_smaller_than_the_smallest() -> None:
    assert resolve(NamedLimit.LINK_HEIGHT, facts(down=Direction(rate_kbps=50))).value == 180
    whole = replace(CAMERA, camera=Camera(simulcast=False))
    narrow = facts(down=Direction(rate_kbps=50), pictures=(whole,))
    assert resolve(NamedLimit.LINK_HEIGHT, narrow).value == 720


def test_of_several_tracks_the_loosest_limit_counts() -> None:
    far = Picture(publisher="far-1", source="camera", camera=Camera(), up=Direction(delay_ms=200))
    both = facts(pictures=(CAMERA, far))
    assert links_share_ms(both) == 200 + 3
    assert resolve(NamedLimit.LATENCY_OBJECTIVE, both).value == 203 + 40 + 6 + 100
    assert resolve(NamedLimit.TOP_HEIGHT, both).value == 720


def test_a_link_that_loses_packets_may_send_them_again() -> None:
    lossy = Direction(delay_ms=30, jitter_ms=5, loss=Loss(lost_in_good=0.01))
    assert links_share_ms(facts(down=lossy)) == 3 + 3 * 35


def test_who_did_not_run_to_the_end_is_a_failed_check() -> None:
    lost = (
        result("viewers-1"),
        result("viewers-2", outcome=Outcome.DIED, reason="signal 9"),
        result("viewers-3", outcome=Outcome.FAILED, reason="could not connect within 30 s"),
    )
    found = check_ends(lost)
    assert [(each.passed, each.worst, each.reason) for each in found] == [
        (False, "viewers-2", "client viewers-2 died: signal 9"),
        (False, "viewers-3", "client viewers-3 failed: could not connect within 30 s"),
    ]


def test_where_all_did_it_is_one_passed_check() -> None:
    (found,) = check_ends([result("viewers-1"), result("viewers-2")])
    assert found.passed
