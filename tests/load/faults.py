"""Faults that tests make around a run: a longer way for its packets, a machine without free processors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.commands import run
from common.waiting import wait_until
from loadtest.definition.profile import Direction
from loadtest.net.bridge import ClientName, RouterName
from loadtest.net.emulation.messages import EmulatorConfig, LaneConfig
from loadtest.net.emulation.process import emulator
from tests.load.command import Started
from tests.load.namespaces import namespaces_of
from tests.support.speed import scaled

_EXTRA_QUEUE = 1  # that of links is 0
_CALIBRATED_CLIENTS = 6
_BUSY_SECONDS = 15  # at most


@contextmanager
def longer_way(run_of: Started, *, delay_ms: float, log: Path) -> Iterator[None]:
    """Delay every packet by `delay_ms` in the first router that the run makes.

    Emulators measure from the time at which a packet arrived at the router, so this delay counts as lateness.
    """
    found = wait_until(
        lambda: _links_being_calibrated(run_of.process.pid),
        timeout=scaled(60),
        describe="the run to make links for calibration",
        interval=0.02,
    )
    assert found
    router, clients = found
    longer = Direction(rate_kbps=None, delay_ms=delay_ms)
    lanes = tuple(
        LaneConfig(device=device, direction=longer, reorder=False, seed=device)
        for client in clients
        for device in (client.up_device, client.down_device)
    )
    run_of.pause()  # so that the run measures nothing before the delay is in place
    with emulator(router, EmulatorConfig(queue=_EXTRA_QUEUE, lanes=lanes), log=log):
        # This table comes after the table `filter`, which contains the links' own rule.
        rule = ["iptables", "-t", "security", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num"]
        run(["nsenter", f"--net=/run/netns/{router}", "--", *rule, str(_EXTRA_QUEUE)], timeout=10)
        run_of.go_on()
        yield


def _links_being_calibrated(pid: int) -> tuple[RouterName, list[ClientName]] | None:
    """The router and its six clients, once all their devices are there."""
    names = namespaces_of(pid)
    routers = [name for name in names if isinstance(name, RouterName)]
    if len(routers) != 1:
        return None
    devices = run(["ip", "-n", str(routers[0]), "-br", "link"], timeout=10, check=False).stdout
    # Their measurement partner is on the bridge, not behind the router.
    behind = [name for name in names if isinstance(name, ClientName) and name.up_device in devices]
    return (routers[0], behind) if len(behind) == _CALIBRATED_CLIENTS else None


@contextmanager
def all_processors_busy() -> Iterator[None]:
    """Keep all processors busy with useless work during the block, for a limited time."""
    loop = ["timeout", str(_BUSY_SECONDS), "sh", "-c", "while :; do :; done"]
    loops = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in loops:
            each.terminate()  # `timeout` forwards the signal
            each.wait(timeout=10)
