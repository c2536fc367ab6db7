from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtest.definition.profile import Direction, builtin_profiles
from loadtest.definition.scenario import Camera, Metric, NamedLimit, RunMetric, Threshold
from loadtest.judging.facts import JudgedClient, Picture, RunFacts
from loadtest.judging.named_limits import resolve
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


def test_a_named_limit_is_each_clients_own() -> None:
    objective = threshold(Metric.LATENCY_P50_MS, max=NamedLimit.LATENCY_OBJECTIVE)
    slow = viewer("viewers-1", facts_of_it=facts(down=Direction(delay_ms=200, jitter_ms=50)))
    late = [viewer("viewers-2", video=(track(latency_ms=milliseconds(400)),))]
    found = judge(objective, slow, *late)
    assert (found.threshold, found.worst, found.limit) == (
        "viewers: latency_p50_ms ≤ latency-objective",
        "viewers-2",
        1 + 2 + 1 + 2 + 250,
    )


@pytest.mark.parametrize(
    ("profile", "height"),
    [("ideal", 720), ("wifi", 720), ("4g", 720), ("3g", 360), ("3g-slow", 360), ("rmcat-step", 360)],
)
def test_the_layer_that_fits_the_link(profile: str, height: int) -> None:
    assert resolve(NamedLimit.LINK_HEIGHT, facts(down=PROFILES[profile].down)) == height


def test_no_layer_is_smaller_than_the_smallest() -> None:
    assert resolve(NamedLimit.LINK_HEIGHT, facts(down=Direction(rate_kbps=50))) == 180
    whole = replace(CAMERA, camera=Camera(simulcast=False))
    assert resolve(NamedLimit.LINK_HEIGHT, facts(down=Direction(rate_kbps=50), pictures=(whole,))) == 720


def test_of_several_tracks_the_loosest_limit_counts() -> None:
    far = Picture(publisher="far-1", source="camera", camera=Camera(), up=Direction(delay_ms=200))
    both = facts(pictures=(CAMERA, far))
    assert resolve(NamedLimit.LATENCY_OBJECTIVE, both) == 200 + 3 + 250
    assert resolve(NamedLimit.TOP_HEIGHT, both) == 720


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
