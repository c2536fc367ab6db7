"""Clients on the machine's own network, for a server elsewhere and a profile without emulation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from loadtest.net.namespace import hosts_file

# $0 is the hosts file. The mount is in a mount namespace of the program's own.
_WITH_OWN_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


@dataclass(frozen=True)
class HostNamespace:
    """The machine's own network, in the form that client processes are given.

    Attributes:
        hosts: a file in place of /etc/hosts; None for the machine's own.
        ca_file: the only certificate authority that programs trust; None for the machine's own.
    """

    hosts: Path | None = None
    ca_file: Path | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` so that it has the names and trusts the authority (by SSL_CERT_FILE); names need root.

        unshare and the shell become the program, so the process id that the caller gets is its own.
        """
        trust = ["env", f"SSL_CERT_FILE={self.ca_file}"] if self.ca_file else []
        if self.hosts is None:
            return [*trust, *argv]
        return ["unshare", "--mount", "--", "sh", "-c", _WITH_OWN_HOSTS, str(self.hosts), *trust, *argv]


@contextmanager
def host_namespace(*, names: Mapping[str, IPv4Address], ca_certificate: str) -> Iterator[HostNamespace]:
    """The machine's own network, with files that last as long as the block.

    Args:
        names: what clients resolve beside what the machine's resolver knows.
        ca_certificate: the only authority that they trust, as PEM; empty for the machine's own.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-platform-host-") as made:
        directory = Path(made)
        hosts, ca = directory / "hosts", directory / "ca.pem"
        hosts.write_text(hosts_file(names))
        ca.write_text(ca_certificate)
        yield HostNamespace(hosts if names else None, ca if ca_certificate else None)
