"""Parts of runs, as pods give them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from loadtest.definition.scenario import Group, Metric, Publish, RunMetric, Scenario, Threshold
from loadtest.job.merge import PodPart, merge
from loadtest.result import (
    ClientResult,
    Environment,
    Outcome,
    RunResult,
    Second,
    Verdict,
    VideoResult,
    distribution,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PICTURES = Threshold(metric=Metric.PICTURES, group="viewers", min=10)
CORES = Threshold(metric=RunMetric.SFU_CORES_MAX, max=2)


def scenario(**more: Any) -> Scenario:
    """Two rooms, each with a creator and two viewers."""
    given = {
        "groups": (
            Group(name="creator", count=2, publish=Publish(microphone=True)),
            Group(name="viewers", count=4, subscribe=True),
        ),
        "thresholds": (PICTURES,),
        "duration_s": 10,
        **more,
    }
    return Scenario(name="sample", title="a sample", rooms=2, **given)


def result(*, late_s: float = 0, **more: Any) -> RunResult:
    """One pod's, which started so much later than the first."""
    given = {
        "started": START + timedelta(seconds=late_s),
        "lasted_s": 20.0,
        "checks": (),
        "invalid": (),
        "clients": (),
        "links": (),
        "generator": (),
        "api": None,
        "interrupted": False,
        "problem": "",
        **more,
    }
    return RunResult(
        scenario=scenario(),
        profile="ideal",
        verdict=Verdict.PASSED,
        command="",
        environment=Environment(
            machine="a processor",
            kernel="6",
            processors=2,
            memory_gib=4,
            python="3.11",
            sdk="livekit 1",
            server="livekit-server 1",
            commit="unknown",
            target="a stack",
        ),
        metrics={},
        sfu=(),
        ramp=None,
        **given,
    )


def client(name: str, *, publisher: str = "", at_s: float = 5.0) -> ClientResult:
    """A client of a pod, which may have seen a publisher."""
    video = VideoResult(
        publisher=publisher,
        source="camera",
        latency_ms=distribution([20.0]),
        age_ms=None,
        delivered=1,
        sent=1,
        unreadable=0,
        freezes=(),
        layers=(),
        second_clock=None,
    )
    return ClientResult(
        name=name,
        group=name.rpartition("-")[0],
        room="load_x_1",
        profile="ideal",
        outcome=Outcome.FINISHED,
        video=(video,) if publisher else (),
        seconds=(Second(at_s=at_s),),
    )


def merged(parts: Sequence[PodPart], of: Scenario | None = None) -> RunResult:
    return merge(of or scenario(), "ideal", parts, image="registry.example.com/ours/loadtest:1")


def part(index: int, of: RunResult | None, **more: Any) -> PodPart:
    return PodPart(index=index, result=of, node=f"node{index}", **more)
