"""Doors: ports of this machine's loopback that lead into the cluster, for a browser on it.

A browser takes `localhost` and every name below it for the machine itself, whatever DNS or a hosts
file says, and gives camera and microphone to https and to http://localhost only. So what it opens
must be at 127.0.0.1. Each door is a socat process in a cgroup of the instance's own: whatever
becomes of it, it is found and ended there.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path

from common.commands import CommandFailed
from common.files import write_whole
from common.processes import Process, process_of
from common.waiting import wait_until
from local.cluster import cgroups
from local.cluster.topology import Topology
from local.paths import Instance, machine_lock

_LOOPBACK = "127.0.0.1"
_CGROUP = "doors"
_PAIRS_TRIED = 100
_SECONDS = 10.0
# $0 is the cgroup.procs files; the shell becomes socat, so its id is socat's.
_JOIN = 'for procs in $0; do echo $$ >"$procs"; done; exec "$@"'


@dataclass(frozen=True)
class Ports:
    """Where the two doors are on this machine."""

    https: int
    http: int


@dataclass(frozen=True)
class Door:
    """A port of the loopback and the process that forwards it.

    Attributes:
        scheme: https or http.
        target: address and port that it leads to.
    """

    scheme: str
    port: int
    target: str
    process: Process

    @property
    def name(self) -> str:
        return f"{_LOOPBACK}:{self.port} to {self.target}"


def candidates(before: Ports | None = None) -> Iterator[Ports]:
    """The ports to try: those of last time, the usual ones, then others that are easy to recognise."""
    if before is not None:
        yield before
    yield Ports(443, 80)
    yield from (Ports(8443 + step, 8080 + step) for step in count())


def open_doors(instance: Instance, topology: Topology, *, https: str, http: str) -> list[Door]:
    """Both doors; those that lead there already stay as they are.

    Args:
        https, http: what they lead to, as "address:port". It need not answer yet.

    Raises:
        RuntimeError: every port that was tried is taken.
        CommandFailed: socat does not start.
    """
    targets = {"https": https, "http": http}
    recorded = recorded_doors(instance)
    if {door.scheme: door.target for door in recorded if door.process.runs} == targets:
        return recorded
    # Held while ports are chosen: two checkouts must not choose the same.
    with machine_lock("doors"):
        close_doors(topology)
        ports = _free(candidates(_ports(recorded)))
        joined = cgroups.create(topology.cgroup, _CGROUP)
        log = instance.root / "doors.log"
        doors = [
            Door(scheme, port, target, _start(port, target, joined, log))
            for scheme, port, target in (("https", ports.https, https), ("http", ports.http, http))
        ]
        write_whole(_record(instance), json.dumps([asdict(door) for door in doors], indent=2) + "\n")
    return doors


def close_doors(topology: Topology) -> None:
    """End the doors and every connection through them. The record stays: it has the ports for next time.

    Raises:
        NeverHappened: a process is still there after 30 s.
    """
    cgroups.end_processes(f"{topology.cgroup}/{_CGROUP}")


def remove_doors(instance: Instance, topology: Topology) -> None:
    """End the doors and forget them: there is nothing any more that they could lead to.

    Raises:
        NeverHappened: as `close_doors`.
    """
    close_doors(topology)
    _record(instance).unlink(missing_ok=True)


def recorded_doors(instance: Instance) -> list[Door]:
    """The doors as they were opened last; whether they still run their processes say.

    A record that cannot be read counts as none: whatever runs is found by its cgroup.
    """
    try:
        recorded = json.loads(_record(instance).read_text())
        return [Door(**{**door, "process": Process(**door["process"])}) for door in recorded]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def _record(instance: Instance) -> Path:
    return instance.root / "doors.json"


def _ports(doors: Iterable[Door]) -> Ports | None:
    by_scheme = {door.scheme: door.port for door in doors}
    return Ports(**by_scheme) if by_scheme else None


def _free(tried: Iterator[Ports]) -> Ports:
    for ports in islice(tried, _PAIRS_TRIED):
        if is_free(ports.https) and is_free(ports.http):
            return ports
    raise RuntimeError(
        f"no two ports of {_LOOPBACK} are free for a browser: tried {_PAIRS_TRIED} pairs, 443 and 80 first"
    )


def is_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback, or of all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ended connections do not count
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def _start(port: int, target: str, joined: Iterable[Path], log: Path) -> Process:
    listen = f"TCP4-LISTEN:{port},bind={_LOOPBACK},reuseaddr,fork,backlog=128,nodelay"
    argv = ["socat", listen, f"TCP4:{target},connect-timeout=5,nodelay"]
    with log.open("a") as output:
        process = subprocess.Popen(
            ["sh", "-c", _JOIN, " ".join(map(str, joined)), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C at `make up` is not for the door
        )

    def listens() -> bool:
        if process.poll() is not None:
            raise CommandFailed(argv, f"exited with {process.returncode}", log.read_text())
        return not is_free(port)

    wait_until(listens, timeout=_SECONDS, describe=f"the door at {_LOOPBACK}:{port}", interval=0.05)
    started = process_of(process.pid)
    if started is None:
        raise CommandFailed(argv, "ended at once", log.read_text())
    return started
