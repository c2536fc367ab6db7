"""Makes the stack's names resolve on this machine, for programs other than browsers.

A browser resolves every name below `localhost` to this machine. Other programs use the C library's resolver,
which knows such names only if systemd's resolver is configured.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.paths import Instance

HOSTS_FILE = Path("/etc/hosts")
_MARK = "# livekit-platform"
_LOOPBACK = "127.0.0.1"


def names(outputs: Mapping[str, Any]) -> list[str]:
    """The domain, and the names below it in the outputs' addresses. Pure."""
    addresses = [outputs[key] for key in ("signal_url", "api_url", "s3_endpoint")]
    hosts = [urlsplit(address).hostname or "" for address in addresses]
    hosts += [address.split(":")[1] for address in outputs["turn_urls"]]
    domain = outputs["domain"]
    return [domain, *sorted({host for host in hosts if host.endswith(f".{domain}")})]


def entry(outputs: Mapping[str, Any], instance: Instance) -> str:
    """The line of /etc/hosts that resolves the stack's names to its edge. Pure."""
    return f"{outputs['edge_addresses'][0]} {' '.join(names(outputs))} {_MARK} {instance.id}\n"


def without_entry(text: str, instance: Instance) -> str:
    """`text` of a hosts file without the line of this instance. Pure."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.rstrip().endswith(f"{_MARK} {instance.id}"))


def with_entry(text: str, line: str) -> str:
    """`text` with `line` added. Removes our lines that contain the same names: the first line wins. Pure."""
    added = set(line.partition("#")[0].split()[1:])

    def is_replaced(other: str) -> bool:
        return _MARK in other and bool(added & set(other.partition("#")[0].split()[1:]))

    kept = [other for other in text.splitlines(keepends=True) if not is_replaced(other)]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return "".join([*kept, line])


def add_entry(outputs: Mapping[str, Any], instance: Instance) -> str:
    """Add the line to the hosts file; returns it. Writes in place: in a container the file is a mount.

    Raises:
        OSError: the file cannot be written.
    """
    line = entry(outputs, instance)
    before = HOSTS_FILE.read_text()
    after = with_entry(before, line)
    if after != before:
        HOSTS_FILE.write_text(after)
    return line.strip()


def remove_entry(instance: Instance) -> None:
    """Remove the line of this instance, if there is one."""
    before = HOSTS_FILE.read_text() if HOSTS_FILE.exists() else ""
    after = without_entry(before, instance)
    if after != before:
        HOSTS_FILE.write_text(after)


def all_resolve(outputs: Mapping[str, Any]) -> bool:
    """Whether this machine resolves every name to the edge, or to a door that has the edge's own port."""
    allowed = set(outputs["edge_addresses"])
    doors = outputs["browser_urls"] or {}
    if "https" in doors and urlsplit(doors["https"]).port == urlsplit(outputs["api_url"]).port:
        allowed.add(_LOOPBACK)
    return all(_resolve(name) & allowed for name in names(outputs))


def _resolve(name: str) -> set[str]:
    try:
        found = socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(address[0]) for *_, address in found}
