"""The emulator's process: `python -m loadtest.net.emulation` inside a router's namespace.

Its stdin's first line is an `EmulatorConfig`; it says `ready`, then an `EmulatorStatistics` each
second and at its end, which is the end of its stdin.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import socket
import sys
import time

from loadtest.net.emulation.core import Lane, Lateness, Waiting, believable_age_ns
from loadtest.net.emulation.messages import READY, EmulatorConfig, EmulatorStatistics, LaneStatistics
from loadtest.net.emulation.nfqueue import Packet, Queue

# Held packets are those within delay + jitter, so this is 65536 in half a second: over a gigabit/s.
_QUEUE_LENGTH = 65536
_BATCH = 64  # packets read before those that are due go
_REPORT_NS = 1_000_000_000
_SO_TIMESTAMPNS = 35
_PRIORITY = 10
_LONGEST_WITHOUT_REST_US = 1_000_000


class _Emulator:
    def __init__(self, config: EmulatorConfig) -> None:
        self._queue = Queue(config.queue, length=_QUEUE_LENGTH)
        self._lanes: dict[int, Lane] = {}
        self._counts: dict[int, list[int]] = {}
        self._devices: dict[int, str] = {}
        for lane in config.lanes:
            index = socket.if_nametoindex(lane.device)
            self._lanes[index] = Lane(lane.direction, reorder=lane.reorder, seed=lane.seed)
            self._counts[index] = [0, 0]
            self._devices[index] = lane.device
        self._waiting = Waiting()
        self._lateness = Lateness()
        self._stamped = False
        self._realtime = _run_before_all_else()

    def run(self) -> None:
        """Until the end of stdin."""
        next_report_ns = time.monotonic_ns() + _REPORT_NS
        while True:
            next_release_ns = self._waiting.next_release_ns()
            wake_ns = next_report_ns if next_release_ns is None else min(next_release_ns, next_report_ns)
            seconds = max(0, wake_ns - time.monotonic_ns()) / 1e9
            # select and not epoll: its limit is in microseconds.
            readable, _, _ = select.select([self._queue, sys.stdin.buffer], [], [], seconds)
            if self._queue in readable:
                self._take()
            self._release()
            if time.monotonic_ns() >= next_report_ns:
                self._report()
                next_report_ns += _REPORT_NS
            if sys.stdin.buffer in readable and not os.read(sys.stdin.fileno(), 4096):
                self._report()
                return

    def _take(self) -> None:
        lost = []
        for _ in range(_BATCH):
            packets = self._queue.receive()
            if not packets:
                break
            for packet in packets:
                counts = self._counts[packet.device]
                counts[0] += 1
                release_ns = self._lanes[packet.device].arrive(self._arrival_ns(packet))
                if release_ns is None:
                    counts[1] += 1
                    lost.append(packet.number)
                else:
                    self._waiting.add(packet.number, release_ns)
        self._queue.decide(lost, accept=False)

    def _arrival_ns(self, packet: Packet) -> int:
        """When it came to the router, of CLOCK_MONOTONIC: what it waited for us is part of its delay."""
        now_ns = time.monotonic_ns()
        age_ns = None if packet.stamp_ns is None else believable_age_ns(time.time_ns() - packet.stamp_ns)
        if age_ns is None:
            return now_ns
        self._stamped = True
        return now_ns - age_ns

    def _release(self) -> None:
        due = self._waiting.due(time.monotonic_ns())
        if not due:
            return
        self._queue.decide((packet for packet, _ in due), accept=True)
        now_ns = time.monotonic_ns()
        for _, release_ns in due:
            self._lateness.add(now_ns - release_ns)

    def _report(self) -> None:
        statistics = EmulatorStatistics(
            at_ns=time.monotonic_ns(),
            lanes=tuple(
                LaneStatistics(device=self._devices[index], packets=packets, lost=lost)
                for index, (packets, lost) in self._counts.items()
            ),
            waiting=len(self._waiting),
            overruns=self._queue.counters().overruns,
            lateness_p50_ms=self._lateness.percentile_ms(50),
            lateness_p99_ms=self._lateness.percentile_ms(99),
            lateness_max_ms=self._lateness.max_ms,
            realtime=self._realtime,
            stamped=self._stamped,
        )
        _say(statistics.model_dump_json().encode() + b"\n")


def _run_before_all_else() -> bool:
    """Ask for the real-time scheduler. Where that is not permitted, lateness shows what it costs.

    The kernel ends it where it does not rest for a second: better no link than a machine that hangs.
    """
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (_LONGEST_WITHOUT_REST_US, _LONGEST_WITHOUT_REST_US))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except (OSError, ValueError):
        return False
    return True


def _say(line: bytes) -> None:
    try:
        os.write(sys.stdout.fileno(), line)
    except BrokenPipeError:
        sys.exit(0)  # whoever wanted to know is gone, and so is the end of stdin about to come


def main() -> None:
    config = EmulatorConfig.model_validate_json(_first_line())
    # The kernel stamps arriving packets for as long as anybody wants stamps.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wants_stamps:
        wants_stamps.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        emulator = _Emulator(config)
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles
        _say(READY)
        emulator.run()


def _first_line() -> bytes:
    """Read by hand: a buffer would hide from `select` what it has read ahead."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 65536)
        if not piece:
            break
        line += piece
    return line


if __name__ == "__main__":
    main()
