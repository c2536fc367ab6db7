"""Which requests a worker takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import egress as proto

from recorder.admission import (
    END_SPOOL_BYTES,
    GIBIBYTE,
    LEAST_SPOOL_BYTES,
    Cost,
    Load,
    Share,
    cost_of,
    refusal,
)
from recorder.settings import CpuCost
from tests.unit.recorder.egress_requests import request, room, unified

COSTS = CpuCost(
    room_composite_cpu_cost=8,
    audio_room_composite_cpu_cost=7,
    sdk_audio_room_composite_cpu_cost=6,
    participant_cpu_cost=5,
    track_composite_cpu_cost=4,
    track_cpu_cost=3,
    memory_cost=2,
    sdk_audio_room_composite_memory_cost=1,
)
ROOMY = 100 * GIBIBYTE


def template(**fields: Any) -> proto.StartEgressRequest:
    return unified(template=proto.TemplateSource(**fields))


def load(*shares: Share, cpus: float = 2, **fields: Any) -> Load:
    return Load(cpus, shares, **{"used_memory": 0, "free_spool": ROOMY, **fields})


@pytest.mark.parametrize(
    ("message", "cpus", "gibibytes"),
    [
        (room(), 8, 2),
        (room(video_only=True), 8, 2),
        (room(audio_only=True, layout="grid"), 7, 2),
        (room(audio_only=True), 6, 1),
        (template(layout="grid"), 8, 2),
        (template(audio_only=True, layout="grid"), 7, 2),
        (template(audio_only=True), 6, 1),
        (unified(media=proto.MediaSource(video_track_id="TR_V")), 5, 2),
        (proto.ParticipantEgressRequest(identity="ada"), 5, 2),
        (proto.TrackCompositeEgressRequest(video_track_id="TR_V"), 4, 2),
        (proto.TrackEgressRequest(track_id="TR_V"), 3, 2),
        # It is refused, whatever the load.
        (proto.WebEgressRequest(url="https://x"), 0, 0),
    ],
)
def test_each_kind_of_request_has_its_cost(message: Any, cpus: float, gibibytes: int) -> None:
    assert cost_of(request(message), COSTS) == Cost(cpus, gibibytes * GIBIBYTE)


def test_livekits_estimate_counts() -> None:
    assert cost_of(request(room(), estimated_cpu=1.5), COSTS).cpus == 1.5


def test_a_request_that_cannot_be_read_costs_nothing() -> None:
    broken = request(room())
    broken.room_composite = b"\xff"
    assert cost_of(broken, COSTS) == Cost(0, 0)


@pytest.mark.parametrize(
    ("cpus", "shares", "why"),
    [
        # An idle worker may use all of its cores for one request, a busy one must leave some.
        (2.0, [], None),
        (2.1, [], "not enough CPU: 2.1 cores needed, 2.00 free"),
        (1.0, [Share(0.6)], None),
        (1.1, [Share(0.6)], "not enough CPU: 1.1 cores needed, 1.00 free"),
        # What is set aside for a new egress counts until it takes more.
        (1.0, [Share(0.0, Cost(0.8, 0))], "not enough CPU: 1 cores needed, 0.80 free"),
        (0.4, [Share(1.2, Cost(0.8, 0))], None),
        (0.5, [Share(1.2, Cost(0.8, 0))], "not enough CPU: 0.5 cores needed, 0.40 free"),
        (0.5, [Share(1.9)], "not enough CPU: 0.5 cores needed, 0.00 free"),
    ],
)
def test_cores(cpus: float, shares: list[Share], why: str | None) -> None:
    assert refusal(Cost(cpus, 0), load(*shares), CpuCost(max_cpu_utilization=0.8)) == why


@pytest.mark.parametrize(
    ("limit", "used", "why"),
    [
        (0.0, 99, None),
        (4.0, 1, None),
        (4.0, 2, "not enough memory: 1024 MiB needed, 512 free"),
        (4.0, 9, "not enough memory: 1024 MiB needed, 0 free"),
    ],
)
def test_memory(limit: float, used: int, why: str | None) -> None:
    new = Share(0, Cost(0, 3 * GIBIBYTE // 2))
    taken = load(new, used_memory=used * GIBIBYTE)
    assert refusal(Cost(0, GIBIBYTE), taken, CpuCost(max_memory=limit)) == why


def test_space() -> None:
    cost = Cost(0, 0)
    assert refusal(cost, load(free_spool=LEAST_SPOOL_BYTES), CpuCost()) is None
    why = "not enough space: 256 MiB needed, 256 free"
    assert refusal(cost, load(free_spool=LEAST_SPOOL_BYTES - 1), CpuCost()) == why


def test_space_stays_free_for_the_ends_of_those_that_run() -> None:
    cost, running = Cost(0, 0), [Share(0), Share(0)]
    needed = LEAST_SPOOL_BYTES + 2 * END_SPOOL_BYTES
    assert refusal(cost, load(*running, free_spool=needed), CpuCost()) is None
    why = "not enough space: 384 MiB needed, 256 free"
    assert refusal(cost, load(*running, free_spool=LEAST_SPOOL_BYTES), CpuCost()) == why


@given(
    cores=st.integers(1, 64),
    cost=st.floats(0.1, 8),
    used=st.lists(st.floats(0, 8), max_size=20),
    more=st.floats(0, 8),
)
def test_more_load_never_makes_room(cores: int, cost: float, used: list[float], more: float) -> None:
    shares = [Share(each) for each in used]
    costs, wanted = CpuCost(), Cost(cost, 0)
    if refusal(wanted, load(*shares, cpus=cores), costs) is not None:
        assert refusal(wanted, load(*shares, Share(more), cpus=cores), costs) is not None
