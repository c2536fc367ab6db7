"""Which test session made a namespace of the cluster, by its labels: what a dead one left can be told."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from common.processes import Process, process_of

_PREFIX = "livekit-platform-tests"
# The cluster may be shared: only who sees the same processes can tell that one of them is gone.
_MACHINE, _PROCESS = f"{_PREFIX}/machine", f"{_PREFIX}/process"


def _machine() -> str:
    """This machine, and in it this PID namespace."""
    seen = f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return hashlib.sha256(seen.encode()).hexdigest()[:12]


def own_labels() -> dict[str, str]:
    """What this process marks its namespaces with."""
    return labels_of(process_of(os.getpid()))


def labels_of(owner: Process | None) -> dict[str, str]:
    assert owner is not None, "a process that asks runs"
    return {_MACHINE: _machine(), _PROCESS: f"{owner.pid}-{owner.started}"}


def is_left_over(labels: Mapping[str, str]) -> bool:
    """Whether a process of this machine made the namespace, and runs no more."""
    pid, _, started = labels.get(_PROCESS, "").partition("-")
    if labels.get(_MACHINE) != _machine() or not (pid.isdigit() and started.isdigit()):
        return False
    return not Process(int(pid), int(started)).runs


def selector() -> str:
    """Of all namespaces that processes of this machine made."""
    return f"{_MACHINE}={_machine()},{_PROCESS}"
