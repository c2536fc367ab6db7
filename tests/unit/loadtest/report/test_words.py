"""Amounts, verdicts and advice in words."""

from __future__ import annotations

import re

import pytest

from loadtest.definition.scenario import METRICS, RUN_METRICS, Metric, RunMetric
from loadtest.report import words
from loadtest.report.advice import advice
from loadtest.report.moments import moments
from loadtest.report.tables import calibration_lines, interruption_rows, metric_row
from loadtest.result import JoinTimes, Outcome
from tests.unit.loadtest.report import results, runs


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("latency_p95_ms", 3412.4, "3412 ms"),
        ("latency_p95_ms", 12.34, "12.3 ms"),
        ("delivered_ratio", 0.9742, "0.974"),
        ("received_kbps", 1650, "1650 kbit/s"),
        ("adapt_s", 6.789, "6.79 s"),
        ("api_requests_per_s", 99.4, "99.4"),
        ("settled_height", 360, "360 px"),
        ("held", 8, "8"),
        ("held", None, "–"),
    ],
)
def test_amounts_have_their_unit(name: str, value: float | None, said: str) -> None:
    assert words.amount(name, value) == said


def test_the_metric_of_a_threshold_is_found_whole() -> None:
    assert words.metric_in("viewers: api_p99_ms ≤ 3") == "api_p99_ms"
    assert words.metric_in("viewers: age_max_ms ≤ 3000") == "age_max_ms"
    assert words.metric_in("client viewers-3 ran to its end") == ""


@pytest.mark.parametrize("metric", [*METRICS, *RUN_METRICS])
def test_every_metric_is_explained_by_itself(metric: Metric | RunMetric) -> None:
    assert "the same" not in words.meaning(metric)


def test_durations() -> None:
    assert [words.duration(s) for s in (42.4, 60, 200, 3600, 3720)] == [
        "42 s", "1 min", "3 min 20 s", "1 h", "1 h 2 min",
    ]  # fmt: skip


def test_a_passed_run_needs_no_advice() -> None:
    assert advice(runs.run()) == ()


@pytest.mark.parametrize(
    ("join", "said"),
    [
        (JoinTimes(), "never got the server's answer"),
        (JoinTimes(signalling_ms=80), r"no media connection: .*node IP"),
    ],
)
def test_advice_tells_how_far_joining_came(join: JoinTimes, said: str) -> None:
    client = results.viewer(0, join=join, outcome=Outcome.FAILED, reason="gave up", video=())
    [ended, found] = advice(runs.failed().model_copy(update={"clients": (client,), "checks": ()}))
    assert "1 of 1 client ended early: viewers-1" in ended
    assert re.search(said, found)


def test_advice_names_a_publisher_that_sends_nothing() -> None:
    dark = results.viewer(0, video=(), metrics={Metric.PICTURES: 0})
    [found] = advice(runs.failed().model_copy(update={"clients": (dark,), "checks": ()}))
    assert "viewers-1 connected but got no picture" in found


def test_advice_for_slow_pictures_names_sfu_machine_and_links() -> None:
    slow = results.check("viewers: age_p95_ms ≤ 3000", 6587, reason="above")
    [found] = advice(runs.failed().model_copy(update={"clients": (), "checks": (slow,)}))
    assert "node-a" in found
    assert "this machine was" in found
    assert "dropped 4 packets" in found


def test_what_the_host_took_is_told_where_it_is_something() -> None:
    quiet = results.generator(10)
    assert words.stolen(quiet) == ""
    taken = tuple(sample.model_copy(update={"stolen_ratio": 0.123}) for sample in quiet)
    assert words.stolen(taken) == " (of this, 12% at most by others on its host: steal)"


def test_advice_for_latency_names_who_had_to_wait_for_packets() -> None:
    slow = results.check("viewers: latency_p50_ms ≤ latency-objective", 433, reason="above")
    waiting = tuple(results.viewer(n, metrics={Metric.JITTER_BUFFER_MS: 300 + n}) for n in range(2))
    [found] = advice(runs.failed().model_copy(update={"clients": waiting, "checks": (slow,)}))
    assert "pictures waited 301 ms in the jitter buffer of viewers-2" in found


def test_actions_of_many_clients_are_one_moment_each() -> None:
    assert [moment.what for moment in moments(runs.reconnect())] == [
        "reconnect-full, at 18 s",
        "block-udp, at 30 s",
    ]
    assert moments(runs.capacity_steps())[0].what == "viewers: capacity 2500 kbit/s down, at 40 s"


def test_interruptions_are_summed_up_by_action() -> None:
    first, second = interruption_rows(runs.reconnect())
    assert (first.action, first.clients, first.never, first.recovery) == (
        "reconnect-full", 3, 0, "1020 ms (worst 1140 ms)",
    )  # fmt: skip
    assert (second.never, second.worst_client, second.details) == (1, "viewers-3", "relay tls")


def test_the_worst_client_is_the_one_with_least_where_more_is_better() -> None:
    clients = [
        results.viewer(index, metrics={Metric.DELIVERED_RATIO: 0.9 - index / 10}) for index in range(3)
    ]
    row = metric_row("viewers", Metric.DELIVERED_RATIO, clients)
    assert row is not None
    assert (row.worst_client, round(row.median, 3)) == ("viewers-3", 0.8)


def test_a_quantity_that_a_profile_leaves_free_is_a_blank() -> None:
    whole = results.calibration()
    [line] = calibration_lines([whole.model_copy(update={"rows": whole.rows[:1]})])
    assert [cell.text if cell else None for cell in line.cells] == ["30→31.0 ±1.9", None, None, None]
