"""Which way of emulating a link this machine has."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import Final

from common.commands import CommandFailed, run

_SECONDS = 10.0
_IN_A_NAMESPACE = ["unshare", "--net", "--", "sh", "-c"]
_NETEM: Final = "tc qdisc add dev lo root handle 1: netem delay 1ms && "
_TBF: Final = "tc qdisc add dev lo {where} tbf rate 1mbit burst 5000 latency 10ms"


class Backend(StrEnum):
    """How delay, jitter and loss come about. The bottleneck is TBF in both.

    `NETEM`: in the kernel. `NFQUEUE`: by our own process, which tells the kernel when a packet goes on.
    """

    NETEM = "netem"
    NFQUEUE = "nfqueue"


_PROBES: Final = {
    Backend.NETEM: _NETEM + _TBF.format(where="parent 1:1"),
    Backend.NFQUEUE: "iptables -A FORWARD -j NFQUEUE --queue-num 0 && " + _TBF.format(where="root"),
}


class NoBackend(Exception):
    """This machine can emulate no link. The message says what each way lacks, and what to do."""


@cache
def backends() -> tuple[Backend, ...]:
    """Those that work here, best first: each is tried in a namespace that goes with the trial. Needs root."""
    return tuple(backend for backend in Backend if _failure(backend) is None)


@cache
def netem_knows_seed() -> bool:
    """Whether both tc and the kernel do (6.6 and later)."""
    return run([*_IN_A_NAMESPACE, "tc qdisc add dev lo root netem seed 1"], timeout=_SECONDS, check=False).ok


def choose(available: Iterable[Backend]) -> Backend:
    """The best of these.

    Raises:
        NoBackend: there is none.
    """
    for backend in available:
        return backend
    reasons = [f"{backend}: {_failure(backend)}" for backend in Backend]
    raise NoBackend(
        "no network profile but `ideal` can be emulated here. One of these must work; `make loadtest` "
        "installs the programs (iproute2, iptables), and the rest is the kernel's:\n" + "\n".join(reasons)
    )


def _failure(backend: Backend) -> str | None:
    try:
        run([*_IN_A_NAMESPACE, _PROBES[backend]], timeout=_SECONDS)
    except CommandFailed as error:
        return str(error)
    return None
