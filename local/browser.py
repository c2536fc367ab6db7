"""How a browser on this machine gets at the stack: by doors in the loopback, trusting the stack's own CA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.cluster.cluster import Cluster
from local.cluster.doors import open_doors, recorded_doors, remove_doors
from local.paths import Instance

_HTTPS, _HTTP = 443, 80


def open_for_browsers(cluster: Cluster, outputs: Mapping[str, Any]) -> None:
    """Open the doors, and put the CA's certificate into a file.

    Where the stack has no edge on nodes (any more), doors and file are taken away.

    Raises:
        RuntimeError, CommandFailed: as `open_doors`.
        NeverHappened: as `remove_doors`.
    """
    addresses = outputs.get("edge_addresses")
    if not addresses:
        remove_doors(cluster.instance, cluster.topology)
        ca_file(cluster.instance).unlink(missing_ok=True)
        return
    https = urlsplit(outputs["api_url"]).port or _HTTPS
    open_doors(
        cluster.instance,
        cluster.topology,
        https=f"{addresses[0]}:{https}",
        http=f"{addresses[0]}:{_HTTP}",
    )
    certificate = outputs.get("ca_certificate")
    if certificate:
        ca_file(cluster.instance).write_text(certificate)
    else:  # a public one, which everybody trusts already
        ca_file(cluster.instance).unlink(missing_ok=True)


def ca_file(instance: Instance) -> Path:
    """The certificate of the stack's own CA: for a browser to trust, or for `curl --cacert`."""
    return instance.root / "ca.pem"


def browser_urls(instance: Instance, domain: str) -> dict[str, str] | None:
    """What to type into a browser on this machine, by scheme; None where no door is."""
    hosts = {"https": (domain, _HTTPS), "http": ("localhost", _HTTP)}
    return {
        door.scheme: _url(door.scheme, *hosts[door.scheme], door.port) for door in recorded_doors(instance)
    } or None


def _url(scheme: str, host: str, default: int, port: int) -> str:
    return f"{scheme}://{host}" + ("" if port == default else f":{port}")
