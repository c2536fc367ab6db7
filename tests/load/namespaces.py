"""The network namespaces of a run."""

from __future__ import annotations

from pathlib import Path

from loadtest.net.bridge import ClientName, RouterName
from loadtest.net.uplink_name import UplinkName


def namespaces_of(pid: int) -> list[RouterName | ClientName]:
    """The namespaces of the clients and routers of one run's process."""
    parsed = [
        RouterName.parse(path.name) or ClientName.parse(path.name) for path in Path("/run/netns").iterdir()
    ]
    return [name for name in parsed if name is not None and name.owner.pid == pid]


def uplinks_of(pid: int) -> list[UplinkName]:
    """All namespaces of one run's process."""
    parsed = [UplinkName.parse(path.name) for path in Path("/run/netns").iterdir()]
    return [name for name in parsed if name is not None and name.owner.pid == pid]
