"""Parts of runs as they might have been, made without running anything: for the tests of reports."""
# ruff: noqa: S311, PLR0917 - nothing here is secret, and rows of figures read well

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any

from loadtest.client.path import Candidate, TransportPath
from loadtest.definition.profile import load_profile
from loadtest.definition.scenario import (
    Camera,
    Group,
    Metric,
    Publish,
    Scenario,
    Threshold,
)
from loadtest.net.calibration import Calibration, CalibrationRow, Quantity, Way
from loadtest.net.emulation.backend import Backend
from loadtest.net.link import LinkStatistics
from loadtest.result import (
    AudioResult,
    Check,
    ClientResult,
    Environment,
    Freeze,
    GeneratorSample,
    JoinTimes,
    LinkResult,
    Outcome,
    Second,
    SfuSample,
    VideoResult,
    distribution,
)

STARTED = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
ENVIRONMENT = Environment(
    machine="AMD EPYC 7763 64-Core Processor",
    kernel="6.18.5",
    processors=2,
    memory_gib=7.8,
    python="3.11.2",
    sdk="livekit 1.0.12",
    server="livekit-server 1.9.1",
    commit="a1b2c3d",
    target="stack local",
)


def livestream(viewers: int = 3, profile: str = "4g", duration_s: float = 30) -> Scenario:
    return Scenario(
        name="livestream",
        title="One creator, and viewers who watch",
        duration_s=duration_s,
        groups=(
            Group(name="creator", count=1, profile="wifi", publish=Publish(camera=Camera(), microphone=True)),
            Group(name="viewers", count=viewers, profile=profile, subscribe=True),
        ),
        thresholds=(Threshold(metric=Metric.LATENCY_P95_MS, group="viewers", max=3000),),
    )


def seconds(
    rng: random.Random, count: int, latency: float, kbps: float, height: int, stall: tuple[int, int] = (0, 0)
) -> tuple[Second, ...]:
    """A viewer's seconds: joined at 6 s, climbing to `height`, without pictures during `stall`."""
    found = []
    for at in range(6, count):
        still = stall[0] <= at < stall[1]
        p50 = max(latency + rng.gauss(0, latency / 12) + 8 * math.sin(at / 7), 5)
        reached = height if at > 12 else min(360, height)
        stalled_for = (at - stall[0] + 1) * 1000.0 if still else 0
        found.append(
            Second(
                at_s=at + rng.random() / 2,
                pictures=0 if still else 15,
                latency_p50_ms=None if still else p50,
                latency_max_ms=None if still else p50 * (1.3 + rng.random()),
                age_max_ms=stalled_for + p50 + 67 + rng.random() * 60,
                height=reached,
                received_kbps=kbps * 0.02 if still else kbps * reached / height * rng.uniform(0.85, 1.1),
                lost_packets=rng.randrange(3),
                jitter_ms=4.0,
                round_trip_ms=latency / 2,
            )
        )
    return tuple(found)


def viewer(
    index: int = 0,
    *,
    length: int = 45,
    latency: float = 110,
    kbps: float = 1650,
    height: int = 720,
    stall: tuple[int, int] = (0, 0),
    profile: str = "4g",
    **more: Any,
) -> ClientResult:
    rng = random.Random(index + 1)
    own = seconds(rng, length, latency, kbps, height, stall)
    samples = [max(5.0, latency * rng.lognormvariate(0, 0.25)) for _ in range(600)]
    frozen = (stall[1] - stall[0]) * 1000.0
    video = VideoResult(
        publisher="creator-1",
        source="camera",
        latency_ms=distribution(samples),
        age_ms=distribution([one.age_max_ms or 0 for one in own] or [0]),
        delivered=590,
        sent=600,
        unreadable=0,
        freezes=(Freeze(at_s=stall[0], lasted_ms=frozen),) if frozen else (),
        layers=(),
        second_clock=None,
    )
    made: dict[str, Any] = {
        "name": f"viewers-{index + 1}",
        "group": "viewers",
        "room": "load_x_1",
        "profile": profile,
        "outcome": Outcome.FINISHED,
        "join": JoinTimes(
            token_ms=18 + rng.random() * 9,
            signalling_ms=70 + rng.random() * 40,
            ice_ms=180 + rng.random() * 90,
            first_video_ms=520 + rng.random() * 300,
            first_audio_ms=430.0,
        ),
        "paths": (path("subscriber"),),
        "video": (video,),
        "audio": (
            AudioResult(
                publisher="creator-1", marked_ratio=0.99, steps_in_order=300, steps_out_of_order=0, gaps=()
            ),
        ),
        "seconds": own,
        "cpu_s": 6.2,
        "metrics": {
            Metric.JOIN_MS: 290 + rng.random() * 90,
            Metric.FIRST_VIDEO_MS: 520 + rng.random() * 300,
            Metric.LATENCY_P50_MS: latency,
            Metric.LATENCY_P95_MS: latency * 1.5 + rng.random() * 9,
            Metric.LATENCY_P99_MS: latency * 1.8,
            Metric.AGE_P95_MS: latency * 1.7 + frozen * 0.8,
            Metric.AGE_MAX_MS: latency * 2 + frozen,
            Metric.LONGEST_FREEZE_MS: frozen,
            Metric.DELIVERED_RATIO: 0.983 - frozen / 40000,
            Metric.SETTLED_HEIGHT: height,
            Metric.RECEIVED_KBPS: kbps,
            Metric.LOST_RATIO: 0.0021,
            Metric.AUDIO_MARKED_RATIO: 0.991,
        },
    }
    return ClientResult(**{**made, **more})


def creator(length: int = 45) -> ClientResult:
    rng = random.Random(7)
    return ClientResult(
        name="creator-1",
        group="creator",
        room="load_x_1",
        profile="wifi",
        outcome=Outcome.FINISHED,
        join=JoinTimes(token_ms=20, signalling_ms=60, ice_ms=90),
        paths=(path("publisher"),),
        seconds=tuple(Second(at_s=at, sent_kbps=2300 * rng.uniform(0.9, 1.05)) for at in range(2, length)),
        pictures_captured=600,
        cpu_s=21.4,
        metrics={Metric.JOIN_MS: 170},
    )


def path(connection: Any) -> TransportPath:
    end = Candidate(type="host", protocol="udp", relay_protocol="", address="10.0.0.9", port=7, server_url="")
    return TransportPath(
        connection=connection, local=end, remote=end, bytes_sent=10, bytes_received=9, round_trip_ms=31
    )


def calibration(profile: str = "4g", *, ok: bool = True) -> Calibration:
    """As of 4g; `ok` or with twice the delay down."""
    rows = (
        row("down", "delay_ms", 30, 31 if ok else 62, 1.9, ok=ok),
        row("down", "jitter_ms", 5, 4.9, 1.1),
        row("down", "loss_percent", 0.2, 0.16, 0.7),
        row("down", "capacity_kbps", 9000, 8957, 450),
        row("up", "delay_ms", 30, 30.4, 1.9),
        row("up", "jitter_ms", 15, 14.6, 1.6),
        row("up", "loss_percent", 0.2, 0.24, 0.7),
        row("up", "capacity_kbps", 1500, 1491, 75),
    )
    statistics = LinkStatistics(
        backend=Backend.NFQUEUE, lost_down=3, lost_up=2, overflowed_down=0, overflowed_up=0, emulator=None
    )
    reasons = () if ok else (f"{profile}, down: delay_ms is 62, requested were 30 ± 1.9",)
    return Calibration(profile=profile, rows=rows, ok=ok, reasons=reasons, links=statistics)


def row(
    direction: Way,
    quantity: Quantity,
    requested: float,
    achieved: float,
    tolerance: float,
    *,
    ok: bool = True,
) -> CalibrationRow:
    return CalibrationRow(
        direction=direction,
        quantity=quantity,
        requested=requested,
        achieved=achieved,
        tolerance=tolerance,
        samples=250,
        ok=ok,
    )


def link(group: str = "viewers", profile: str = "4g", **more: Any) -> LinkResult:
    made: dict[str, Any] = {
        "group": group,
        "profile": load_profile(profile),
        "backend": "nfqueue",
        "calibration": calibration(profile),
        "lateness_p99_ms": 0.42,
        "dropped_by_loss": 31,
        "dropped_by_queue": 2,
    }
    return LinkResult(**{**made, **more})


def check(
    threshold: str = "viewers: latency_p95_ms ≤ 3000",
    value: float | None = 171.4,
    limit: float = 3000,
    worst: str = "viewers-2",
    reason: str = "",
) -> Check:
    return Check(threshold=threshold, passed=not reason, value=value, limit=limit, worst=worst, reason=reason)


CHECKS = (
    check(),
    check("viewers: age_p95_ms ≤ 3000", 187.1),
    check("viewers: delivered_ratio ≥ 0.9", 0.983, 0.9),
    check("viewers: top_layer_s ≤ 15", 6.8, 15),
)


def sfu(length: int, cores: float = 0.22, packets: float = 900) -> tuple[SfuSample, ...]:
    rng = random.Random(3)
    return tuple(
        SfuSample(
            at_s=at,
            node=node,
            cpu_cores=cores * share * rng.uniform(0.8, 1.2),
            memory_mib=92,
            packets_in=packets * share / 3,
            packets_out=packets * share,
            bytes_in=2e5,
            bytes_out=6e5,
        )
        for at in range(2, length, 2)
        for node, share in (("node-a", 1.0), ("node-b", 0.15))
    )


def generator(length: int, ratio: float = 0.62) -> tuple[GeneratorSample, ...]:
    rng = random.Random(4)
    return tuple(
        GeneratorSample(at_s=at, cpu_ratio=min(1, ratio * rng.uniform(0.85, 1.15)), own_cores=ratio * 1.5)
        for at in range(2, length, 2)
    )
