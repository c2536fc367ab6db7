"""Whole runs, of every kind that a report has to show."""
# ruff: noqa: S311 - nothing here is secret, and rows of figures read well

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from loadtest.definition.scenario import (
    ApiLoad,
    Metric,
    Ramp,
    RunMetric,
    Scenario,
)
from loadtest.result import (
    ApiResult,
    ApiSecond,
    CapacityChange,
    Interruption,
    Outcome,
    RampResult,
    RampStep,
    RunResult,
    Second,
    Verdict,
    distribution,
)
from tests.unit.loadtest.report.results import (
    CHECKS,
    ENVIRONMENT,
    STARTED,
    calibration,
    check,
    creator,
    generator,
    link,
    livestream,
    seconds,
    sfu,
    viewer,
)


def run(**more: Any) -> RunResult:
    """A livestream on 4g that passed; `more` replaces fields."""
    made: dict[str, Any] = {
        "scenario": livestream(),
        "profile": "4g",
        "started": STARTED,
        "lasted_s": 46.2,
        "verdict": Verdict.PASSED,
        "interrupted": False,
        "invalid": (),
        "notes": ("the SFU and the clients share this machine",),
        "problem": "",
        "command": "make loadtest SCENARIO=livestream PROFILE=4g SEED=7",
        "environment": ENVIRONMENT,
        "checks": CHECKS,
        "metrics": {RunMetric.SFU_PACKETS_PER_BUSY_CORE: 4100, RunMetric.SFU_CORES_MAX: 0.27},
        "clients": (creator(), *(viewer(index) for index in range(3))),
        "links": (link(), link("creator", "wifi")),
        "sfu": sfu(46),
        "generator": generator(46),
        "api": None,
        "ramp": None,
    }
    return RunResult(**{**made, **more})


def failed() -> RunResult:
    """A viewer froze for 8 s, another one died for a reason that is not harmless on a page."""
    clients = (
        creator(),
        viewer(0),
        viewer(1, stall=(24, 32)),
        viewer(
            2,
            outcome=Outcome.DIED,
            reason='its process ended with 134: <script>alert("x")</script> & more',
            video=(),
            metrics={Metric.PICTURES: 0},
            seconds=seconds(random.Random(9), 15, 110, 1600, 720),
        ),
    )
    checks = (
        check("viewers: age_p95_ms ≤ 3000", 6587, reason="viewers-2 was above the limit"),
        check("viewers: longest_freeze_ms ≤ 3000", 8000, reason="viewers-2 was above the limit"),
        check("client viewers-3 ran to its end", None, 0, "viewers-3", reason=clients[3].reason),
        *CHECKS,
    )
    return run(verdict=Verdict.FAILED, clients=clients, checks=checks)


def invalid() -> RunResult:
    """The link was twice as slow as it claims, and the generator could not keep up."""
    return run(
        verdict=Verdict.INVALID,
        invalid=(
            "4g, down: delay_ms is 62, requested were 30 ± 1.9",
            "the generator is saturated (99 % busy): run fewer clients, or use more processors",
        ),
        links=(link(calibration=calibration(ok=False)),),
        checks=(check("viewers: age_p95_ms ≤ 3000", 6587, reason="viewers-2 was above the limit"), *CHECKS),
        generator=generator(46, 0.99),
    )


def could_not_run() -> RunResult:
    return run(
        verdict=Verdict.COULD_NOT_RUN,
        problem="no SFU answers at ws://sfu.example: connection refused",
        checks=(),
        metrics={},
        clients=(),
        links=(),
        sfu=(),
        generator=(),
        lasted_s=0.4,
    )


def interrupted() -> RunResult:
    return run(
        verdict=Verdict.INVALID,
        interrupted=True,
        invalid=("interrupted after 12 s: let it run to its end",),
        lasted_s=12,
        clients=(creator(12), viewer(0, length=12)),
        sfu=sfu(12),
        generator=generator(12),
        checks=(),
    )


def crowd(viewers: int = 60) -> RunResult:
    clients = (creator(), *(viewer(index, latency=90 + index) for index in range(viewers)))
    return run(scenario=livestream(viewers), clients=clients, sfu=sfu(46, 1.4, 12_000))


def soak(length: int = 3600, viewers: int = 8) -> RunResult:
    clients = (creator(length), *(viewer(index, length=length) for index in range(viewers)))
    return run(
        scenario=livestream(viewers, duration_s=length),
        clients=clients,
        lasted_s=length,
        sfu=sfu(length),
        generator=generator(length),
        metrics={RunMetric.SFU_MEMORY_GROWTH_RATIO: 1.02, RunMetric.LATENCY_GROWTH_RATIO: 0.99},
    )


def capacity_steps() -> RunResult:
    """RFC 8867: the capacity goes 1000, 2500, 600, 1000 kbit/s."""
    capacity = ((0, 1000), (40, 2500), (60, 600), (80, 1000))
    rng = random.Random(2)

    def at(second: float) -> int:
        return [kbps for start, kbps in capacity if start <= second][-1]

    own = tuple(
        Second(
            at_s=s,
            pictures=15,
            latency_p50_ms=95 + (900 * math.exp(-(s - 60) / 3) if s >= 60 else 0),
            latency_max_ms=160 + (1900 * math.exp(-(s - 60) / 3) if s >= 60 else 0),
            age_max_ms=190 + (1900 * math.exp(-(s - 60) / 3) if s >= 60 else 0),
            height=720 if at(s) == 2500 and s > 48 else 360 if at(s) >= 1000 else 180,
            received_kbps=min(at(s) * 0.94, 1700) * rng.uniform(0.8, 1),
        )
        for s in range(5, 105)
    )
    changes = tuple(
        CapacityChange(at_s=start, group="viewers", down_kbps=kbps, up_kbps=None) for start, kbps in capacity
    )
    return run(
        scenario=livestream(1, "rmcat-step", 100),
        profile="rmcat-step",
        lasted_s=106,
        sfu=sfu(106),
        clients=(creator(105), viewer(0, seconds=own, profile="rmcat-step")),
        generator=generator(106),
        links=(link("viewers", "rmcat-step", capacity=changes),),
    )


def reconnect() -> RunResult:
    """Every viewer lost its media twice, and one for good the second time."""

    def lost(index: int) -> tuple[Interruption, ...]:
        return (
            Interruption(
                action="reconnect-full", at_s=18 + index / 4, recovery_ms=900 + 120 * index, detail="host udp"
            ),
            Interruption(
                action="block-udp",
                at_s=30.2,
                recovery_ms=None if index == 2 else 5200 + 90 * index,
                detail="relay tls",
            ),
        )

    clients = (creator(), *(viewer(i, stall=(30, 35), interruptions=lost(i)) for i in range(3)))
    bad = check("viewers: recovery_ms ≤ 10000", None, 10000, "viewers-3", reason="viewers-3 never recovered")
    return run(clients=clients, verdict=Verdict.FAILED, checks=(bad, *CHECKS))


def api_only() -> RunResult:
    rng = random.Random(5)
    times = [rng.lognormvariate(2.6, 0.5) for _ in range(1000)]
    api = ApiResult(
        offered_per_s=100,
        achieved_per_s=99.4,
        requests=1000,
        latency_ms=distribution([one * rng.uniform(1, 1.6) for one in times]),
        service_ms=distribution(times),
        late_ms=distribution([rng.uniform(0, 2) for _ in times]),
        seconds=tuple(
            ApiSecond(
                at_s=at,
                answers=100,
                errors=int(at == 4),
                latency_p50_ms=14 + at % 3,
                latency_max_ms=60 + 9 * (at % 4),
            )
            for at in range(1, 11)
        ),
        errors={"503 Service Unavailable": 4, "no answer within 10 s": 2},
    )
    scenario = Scenario(
        name="token-storm",
        title="A hundred tokens in a second",
        duration_s=10,
        api=ApiLoad(per_s=100, duration_s=10),
        thresholds=(),
    )
    return run(
        scenario=scenario,
        profile="ideal",
        api=api,
        clients=(),
        links=(),
        lasted_s=10.5,
        sfu=(),
        generator=generator(10),
        checks=(check("api_p99_ms ≤ 500", 71.2, 500, ""),),
        metrics={RunMetric.API_P99_MS: 71.2},
    )


def ramp() -> RunResult:
    steps = tuple(
        RampStep(
            size=size,
            at_s=10 + 15 * i,
            lasted_s=15,
            broke=("viewers: age_p95_ms ≤ 3000", "viewers: delivered_ratio ≥ 0.9") if size == 8 else (),
        )
        for i, size in enumerate((2, 4, 6, 8))
    )
    scenario = livestream(8).model_copy(
        update={
            "name": "find-the-limit",
            "title": "How many viewers there may be",
            "ramp": Ramp(group="viewers", start=2, step=2, most=20, hold_s=15),
        }
    )
    return run(
        scenario=scenario,
        ramp=RampResult(group="viewers", held=6, steps=steps),
        lasted_s=75,
        sfu=sfu(74),
        generator=generator(74, 0.8),
        clients=(creator(74), *(viewer(i, length=74) for i in range(8))),
        metrics={RunMetric.HELD: 6},
    )


ALL: dict[str, Callable[[], RunResult]] = {
    "passed": run,
    "failed": failed,
    "invalid": invalid,
    "could-not-run": could_not_run,
    "interrupted": interrupted,
    "crowd": crowd,
    "soak": soak,
    "steps": capacity_steps,
    "reconnect": reconnect,
    "api": api_only,
    "ramp": ramp,
    "nobody": lambda: run(clients=(), checks=(), links=(), sfu=(), generator=()),
}
