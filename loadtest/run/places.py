"""Where clients run: each group has its links, and each client a place behind one of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest.client.process import Surroundings
from loadtest.definition.profile import NetworkProfile
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Firewall
from loadtest.net.host import HostNamespace
from loadtest.net.link import LinkGroup, client_links


@dataclass(frozen=True)
class Place:
    """One client's place.

    Attributes:
        links: None on the machine's own network, which nothing may be done to.
        index: of the client among the links' clients.
    """

    namespace: Surroundings
    links: LinkGroup | None
    index: int

    def set_firewall(self, firewall: Firewall) -> None:
        """What its network lets through from now on.

        Raises:
            ValueError: it has no network of its own.
        """
        if self.links is None:
            raise ValueError("the client runs on the machine's own network, which has no firewall of its own")
        self.links.set_firewall(self.index, firewall)


def make_places(
    held: ExitStack,
    network: ClientNetwork | HostNamespace,
    profile: NetworkProfile,
    count: int,
    *,
    seed: int,
    logs: Path,
) -> list[Place]:
    """Places with a link of this profile each; `held` takes them away.

    Raises:
        As `client_links`.
    """
    if isinstance(network, HostNamespace):
        return [Place(network, None, 0) for _ in range(count)]
    links = held.enter_context(client_links(network, profile, count, seed=seed, logs=logs))
    return [Place(namespace, links, index) for index, namespace in enumerate(links.clients)]
