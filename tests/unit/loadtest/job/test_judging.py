"""The whole run judged: by its worst pod, by what is missing, and by what only all pods together show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from loadtest.definition.scenario import RunMetric, Threshold
from loadtest.job.judging import judged, measured
from loadtest.job.merge import PodPart
from loadtest.judging.facts import Window
from loadtest.result import Check, RunResult, SfuSample, Verdict
from tests.unit.loadtest.job.parts import CORES, PICTURES, START, client, merged, part, result, scenario


def found(value: float | None, worst: str = "viewers-1", threshold: Threshold = PICTURES) -> Check:
    passed = value is not None and value >= 10
    reason = "" if passed else f"{worst} had {value}"
    return Check(threshold=str(threshold), passed=passed, value=value, limit=10, worst=worst, reason=reason)


def sample(cores: float, at_s: float) -> SfuSample:
    return SfuSample(
        at_s=at_s,
        node="a",
        cpu_cores=cores,
        memory_mib=1,
        packets_in=1,
        packets_out=1,
        bytes_in=1,
        bytes_out=1,
    )


def judge(
    parts: Sequence[PodPart], sfu: tuple[SfuSample, ...] = (), *, was_stopped: bool = False, **more: Any
) -> RunResult:
    of = scenario(**more)
    return judged(merged(parts, of), parts, sfu, was_stopped=was_stopped)


def pods(*checks: Check, **more: Any) -> list[PodPart]:
    own = (client("viewers-1"),)
    return [part(index, result(checks=(check,), clients=own, **more)) for index, check in enumerate(checks)]


def test_where_every_pod_held_the_run_has_held() -> None:
    whole = judge(pods(found(30), found(20)))
    assert whole.verdict is Verdict.PASSED
    assert (whole.checks[0].value, whole.checks[0].worst) == (20, "viewers-2")


@pytest.mark.parametrize("values", [(30, 9), (9, 30), (30, None), (None, 3)])
def test_the_worst_pod_s_worst_client_counts(values: tuple[float | None, float | None]) -> None:
    whole = judge(pods(*(found(value) for value in values)))
    [check] = [each for each in whole.checks if not each.passed]
    worst = min(values, key=lambda value: -1 if value is None else value)
    name = f"viewers-{values.index(worst) + 1}"
    assert whole.verdict is Verdict.FAILED
    assert (check.value, check.worst, check.reason) == (worst, name, f"{name} had {worst}")


def test_a_lost_pod_is_a_failed_check_with_its_reason_and_its_node() -> None:
    parts = [*pods(found(30)), part(1, None, reason="it was deleted")]
    whole = judge(parts)
    missed = {each.threshold: each.reason for each in whole.checks if not each.passed}
    assert missed["pod 1 runs to its end"] == "pod 1 on node1: it was deleted"
    assert "viewers-2 runs to its end" in missed
    assert whole.verdict is Verdict.FAILED


def test_a_pod_that_the_cluster_ended_fails_the_run_and_does_not_make_it_prove_nothing() -> None:
    broken_off = result(interrupted=True, invalid=("It was interrupted after 3 s",), checks=(found(20),))
    parts = [*pods(found(30)), part(1, broken_off, reason="the cluster ended it after 3 s")]
    whole = judge(parts)
    assert (whole.verdict, whole.interrupted, whole.invalid) == (Verdict.FAILED, False, ())
    assert "pod 1 on node1: the cluster ended it after 3 s" in [each.reason for each in whole.checks]


def test_a_pod_that_could_not_run_is_one_too() -> None:
    parts = [*pods(found(30)), part(1, result(problem="the server refuses the key"))]
    assert "pod 1 on node1: the server refuses the key" in [each.reason for each in judge(parts).checks]


def test_the_whole_run_s_own_thresholds_are_judged_on_the_measured_time() -> None:
    thresholds = (PICTURES, CORES)
    when = {"measured_from": START + timedelta(seconds=5)}
    own = (client("viewers-1"),)
    parts = [part(index, result(checks=(found(30),), clients=own), **when) for index in (0, 1)]
    quiet = judge(parts, (sample(9, 1), sample(1, 8)), thresholds=thresholds)
    assert quiet.verdict is Verdict.PASSED
    assert quiet.metrics[RunMetric.SFU_CORES_MAX] == 1
    busy = judge(parts, (sample(1, 1), sample(9, 8)), thresholds=thresholds)
    [check] = [each for each in busy.checks if not each.passed]
    assert (check.threshold, check.value) == (str(CORES), 9)


def test_the_measured_time_is_that_of_all_pods() -> None:
    parts = [
        part(0, result(), measured_from=START + timedelta(seconds=4)),
        part(1, result(), measured_from=START + timedelta(seconds=6)),
    ]
    whole = merged(parts)
    assert measured(whole, parts) == Window(6.0, 14.0)
    assert measured(whole, [part(0, result())]) == Window(0.0, 20.0)
    said = judged(whole, parts, (), was_stopped=False)
    assert (said.measured_from_s, said.measured_to_s) == (6.0, 14.0)
    assert judge(pods(found(30), found(20))).measured_from_s is None


def test_pods_that_did_not_start_together_prove_nothing() -> None:
    parts = [part(0, result(checks=(found(30),))), part(1, result(late_s=3, checks=(found(30),)))]
    whole = judge(parts)
    assert whole.verdict is Verdict.INVALID
    assert "started 3.0 s apart" in whole.invalid[0]


def test_neither_does_a_run_that_was_stopped() -> None:
    whole = judge(pods(found(30), found(30)), was_stopped=True)
    assert whole.interrupted
    assert whole.verdict is Verdict.INVALID
