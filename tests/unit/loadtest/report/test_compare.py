"""Two runs side by side: worse is what is worse by more than noise, and never what is something else."""

from __future__ import annotations

import pytest

from loadtest.definition.scenario import Metric, RunMetric
from loadtest.report.compare import (
    Change,
    ComparedMetric,
    Comparison,
    NotComparable,
    check_comparable,
    compare,
    compared,
)
from loadtest.result import ClientResult, RunResult, Verdict
from tests.unit.loadtest.report import results, runs


def with_metrics(*metrics: dict[Metric, float]) -> RunResult:
    clients = [results.viewer(index, metrics=one) for index, one in enumerate(metrics)]
    return runs.run(clients=tuple(clients), metrics={})


def only(comparison: Comparison) -> ComparedMetric:
    [one] = comparison.metrics
    return one


@pytest.mark.parametrize(
    ("metric", "old", "new", "change"),
    [
        (Metric.LATENCY_P95_MS, 200, 239, Change.SAME),  # a fifth
        (Metric.LATENCY_P95_MS, 200, 241, Change.WORSE),
        (Metric.LATENCY_P95_MS, 200, 159, Change.BETTER),
        (Metric.LATENCY_P95_MS, 20, 39, Change.SAME),  # nobody notices 19 ms
        (Metric.LONGEST_FREEZE_MS, 0, 500, Change.WORSE),
        (Metric.DELIVERED_RATIO, 0.99, 0.975, Change.WORSE),  # what is missing grew by more than half
        (Metric.DELIVERED_RATIO, 0.99, 0.981, Change.SAME),
        (Metric.DELIVERED_RATIO, 0.9, 0.99, Change.BETTER),
        (Metric.SETTLED_HEIGHT, 720, 360, Change.WORSE),
        (Metric.LOST_RATIO, 0.002, 0.005, Change.SAME),
        (Metric.LOST_RATIO, 0.002, 0.05, Change.WORSE),
    ],
)
def test_a_change_counts_above_the_margin(metric: Metric, old: float, new: float, change: Change) -> None:
    one = only(compare(with_metrics({metric: old}), with_metrics({metric: new})))
    assert one.change is change
    assert one.is_worse is (change is Change.WORSE)


def test_the_spread_among_the_old_runs_clients_is_noise() -> None:
    def latencies(*values: float) -> RunResult:
        return with_metrics(*({Metric.LATENCY_P95_MS: value} for value in values))

    assert only(compare(latencies(100, 100), latencies(100, 190))).change is Change.WORSE
    assert only(compare(latencies(10, 100), latencies(100, 185))).change is Change.SAME


def test_one_bad_client_among_many_is_seen() -> None:
    before = with_metrics(*({Metric.AGE_MAX_MS: 200.0} for _ in range(9)))
    after = with_metrics(*({Metric.AGE_MAX_MS: 200.0 if index else 9000.0} for index in range(9)))
    assert only(compare(before, after)).change is Change.WORSE
    assert only(compare(before, after)).ratio == "45×"


def test_a_value_that_is_gone_is_worse_and_one_that_came_is_new() -> None:
    some, none = with_metrics({Metric.ADAPT_S: 4}), with_metrics({})
    assert only(compare(some, none)).is_worse
    assert only(compare(none, some)).change is Change.NEW


def test_figures_of_the_run_know_their_direction() -> None:
    fewer = compared("", RunMetric.HELD, 10, 6, 0, more_is_better=True)
    assert fewer.change is Change.WORSE
    before = runs.run(clients=(), metrics={RunMetric.SFU_PACKETS_PER_BUSY_CORE: 4000})
    after = runs.run(clients=(), metrics={RunMetric.SFU_PACKETS_PER_BUSY_CORE: 2000})
    assert only(compare(before, after)).change is Change.WORSE


@pytest.mark.parametrize(
    ("old", "said"),
    [
        (runs.run(scenario=runs.api_only().scenario), "of scenario token-storm, this run of livestream"),
        (runs.run(profile="3g"), "of profile 3g, this run of 4g"),
        (runs.run(verdict=Verdict.COULD_NOT_RUN), "could not run"),
    ],
)
def test_what_is_something_else_is_refused(old: RunResult, said: str) -> None:
    with pytest.raises(NotComparable, match=said):
        compare(old, runs.run())
    with pytest.raises(NotComparable, match=said):
        check_comparable(old, "livestream", "4g")


def test_what_differs_is_said() -> None:
    other_machine = results.ENVIRONMENT.model_copy(update={"processors": 16, "commit": "other"})
    old = runs.run(environment=other_machine, scenario=results.livestream(5), verdict=Verdict.INVALID)
    assert compare(old, runs.run()).warnings == (
        "the old run is invalid: its figures are not to be relied on",
        "the scenario was changed in between: groups",
        "processors was 16, now 2",
    )
    assert compare(runs.run(), runs.run()).warnings == ()


def test_a_run_is_the_same_as_itself() -> None:
    comparison = compare(runs.run(), runs.run())
    assert comparison.summary == f"0 worse, 0 better, {len(comparison.metrics)} within noise"
    assert len(comparison.metrics) > 10


def test_a_group_that_is_gone_is_worse() -> None:
    creator: tuple[ClientResult, ...] = (results.creator(),)
    assert all(
        one.is_worse
        for one in compare(runs.run(), runs.run(clients=creator)).metrics
        if one.where == "viewers"
    )
