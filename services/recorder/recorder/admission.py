"""Whether the worker takes one more egress: measured processor and memory, and space in the spool. Pure.

Facts: livekit/egress v1.14, `pkg/stats/monitor.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from livekit.protocol import egress as proto

from recorder.errors import EgressError
from recorder.requests.kinds import message_of
from recorder.requests.rpc import StartEgressRequest
from recorder.settings import CpuCost

# A new egress takes its processor time only some seconds after it began. Until then its cost is set aside.
HOLD_SECONDS = 15.0
GIBIBYTE = 1024**3
MEBIBYTE = 1024**2
# Less space than this is not worth beginning: about eleven minutes of 720p.
LEAST_SPOOL_BYTES = 256 * MEBIBYTE
# What is kept free in the spool for each recording that runs: the index of six hours takes up to 20 MiB, and
# a recording grows while another one ends.
END_SPOOL_BYTES = 64 * MEBIBYTE


@dataclass(frozen=True)
class Cost:
    """What an egress needs: cores, and bytes of memory."""

    cpus: float
    memory: int


@dataclass(frozen=True)
class Share:
    """What one egress takes: the cores that were measured, and what is set aside for it while it is new."""

    used_cpus: float
    held: Cost = Cost(0.0, 0)


@dataclass(frozen=True)
class Load:
    """What the worker has, and what is taken of it.

    Attributes:
        cpus: the cores that the worker may use.
        shares: one per running egress.
        used_memory: of all processes of the worker, in bytes.
        free_spool: bytes that recordings may still take on the volume.
    """

    cpus: float
    shares: Sequence[Share]
    used_memory: int
    free_spool: int


def cost_of(request: StartEgressRequest, costs: CpuCost) -> Cost:
    """The cost of a request. Where LiveKit estimates the cores, these count.

    A request that cannot be read or is not supported costs nothing: it is refused at once.
    """
    try:
        message = message_of(request)
    except (EgressError, DecodeError):
        return Cost(0.0, 0)
    match message:
        case proto.RoomCompositeEgressRequest():
            cost = composite_cost(message, costs)
        case proto.StartEgressRequest() if message.WhichOneof("source") == "template":
            cost = composite_cost(message.template, costs)
        case proto.TrackCompositeEgressRequest():
            cost = _cost(costs.track_composite_cpu_cost, costs.memory_cost)
        case proto.TrackEgressRequest():
            cost = _cost(costs.track_cpu_cost, costs.memory_cost)
        case _:
            cost = _cost(costs.participant_cpu_cost, costs.memory_cost)
    return Cost(request.estimated_cpu or cost.cpus, cost.memory)


def composite_cost(
    composite: proto.RoomCompositeEgressRequest | proto.TemplateSource, costs: CpuCost
) -> Cost:
    """The cost of a whole room."""
    if not composite.audio_only:
        return _cost(costs.room_composite_cpu_cost, costs.memory_cost)
    if composite.layout:
        # livekit/egress needs its browser for a layout.
        return _cost(costs.audio_room_composite_cpu_cost, costs.memory_cost)
    return _cost(costs.sdk_audio_cpus, costs.sdk_audio_room_composite_memory_cost)


def refusal(cost: Cost, load: Load, costs: CpuCost) -> str | None:
    """Why an egress of this cost is not taken; None if it is."""
    free = _free_cpus(load, costs)
    if cost.cpus > free:
        return f"not enough CPU: {cost.cpus:g} cores needed, {max(free, 0):.2f} free"
    if costs.max_memory:
        held = sum(share.held.memory for share in load.shares)
        left = costs.max_memory * GIBIBYTE - load.used_memory - held
        if cost.memory > left:
            return f"not enough memory: {_mebibytes(cost.memory)} MiB needed, {_mebibytes(max(left, 0))} free"
    needed = LEAST_SPOOL_BYTES + END_SPOOL_BYTES * len(load.shares)
    if load.free_spool < needed:
        return f"not enough space: {_mebibytes(needed)} MiB needed, {_mebibytes(load.free_spool)} free"
    return None


def _free_cpus(load: Load, costs: CpuCost) -> float:
    """All cores of an idle worker; else what `max_cpu_utilization` leaves."""
    if not load.shares:
        return load.cpus
    taken = sum(max(share.used_cpus, share.held.cpus) for share in load.shares)
    return load.cpus * costs.max_cpu_utilization - taken


def _cost(cpus: float, memory: float) -> Cost:
    return Cost(cpus, round(memory * GIBIBYTE))


def _mebibytes(size: float) -> int:
    return round(size / MEBIBYTE)
