"""What the emulator is told, and what it says: JSON lines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loadtest.definition.profile import Direction

READY = b"ready\n"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LaneConfig(_Message):
    """One direction of one client's link.

    Attributes:
        device: name of the router's device by which its packets come.
        direction: what happens to them; the capacity is none of the emulator's business.
        reorder: whether one may pass another.
        seed: of its random numbers.
    """

    device: str
    direction: Direction
    reorder: bool
    seed: str


class EmulatorConfig(_Message):
    """The first line of its stdin. It ends at the end of its stdin."""

    queue: int
    lanes: tuple[LaneConfig, ...]


class LaneStatistics(_Message):
    """Packets that came by this device, and how many of them the model lost."""

    device: str
    packets: int
    lost: int


class EmulatorStatistics(_Message):
    """What it says every second, and at its end. All numbers are since its start.

    Attributes:
        at_ns: CLOCK_MONOTONIC.
        lanes: by device.
        waiting: packets that wait for their release now.
        overruns: packets that the kernel dropped because nobody took them fast enough.
        lateness_p50_ms, lateness_p99_ms, lateness_max_ms: release after the time that the model gave.
        realtime: whether the kernel lets it run before all else (SCHED_FIFO).
        stamped: whether arrivals are by the kernel's time stamps; else by when they were read.
    """

    at_ns: int
    lanes: tuple[LaneStatistics, ...]
    waiting: int
    overruns: int
    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    realtime: bool
    stamped: bool
