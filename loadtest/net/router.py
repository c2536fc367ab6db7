"""The namespace between a group of clients and the cluster's bridge. It routes, and translates nothing.

    client eth0 ── dn… router up… ── lk… bridge

Each client has two devices of its own in the router, one per direction: what leaves by it passes
that direction's bottleneck. The client keeps its address in the bridge's subnet. It is reached by a
route to that one address, and the router answers ARP for it on the bridge's side, and for all the
rest on the client's. What comes from a client goes by a routing table of the client's own, so that
it leaves by the client's own device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from common.commands import run
from loadtest.net.bridge import CLIENT_DEVICE, ClientName, ClientNetwork, RouterName
from loadtest.net.emulation.traffic_control import drops
from loadtest.net.namespace import ClientNamespace, owned_namespace

_SECONDS = 10.0
_FIRST_TABLE = 1000  # the number of a client's routing table, and of the rule that leads there
QUEUE = 0
# Packets as they are on the wire: one each, so that losing or delaying one is not losing forty.
_NO_OFFLOADS = ("gso_max_segs", "1", "gso_max_size", "1514", "gro_max_size", "1514")


@dataclass(frozen=True)
class Router:
    """A router's namespace. `router_namespace` makes one."""

    name: RouterName
    network: ClientNetwork

    def attach(self, client: ClientNamespace, number: int) -> None:
        """Lead a client's traffic both ways. Its cable ends here already, as `name.down_device`.

        Args:
            number: the client's place among those of this router.
        """
        name, netns = client.name, self.network.netns
        self.ip(links(name, self.network))
        self.set(device_settings(name))
        self.ip(routes(name, self.network, number))
        run(["ip", "-n", str(name), "link", "set", CLIENT_DEVICE, *_NO_OFFLOADS], timeout=_SECONDS)
        port = ["ip", "-n", netns, "link", "set", name.port_device]
        run([*port, *_NO_OFFLOADS, "master", self.network.bridge, "up"], timeout=_SECONDS)

    def queue_all(self) -> None:
        """From now on a packet passes when the listener of queue `QUEUE` lets it; without one, never."""
        self._inside(queue_rule())

    def ip(self, lines: Sequence[str]) -> None:
        """Run these lines of `ip`."""
        run(["ip", "-n", str(self.name), "-batch", "-"], timeout=_SECONDS, input=_text(lines))

    def traffic_control(self, lines: Sequence[str]) -> None:
        """Run these lines of `tc`."""
        run(["tc", "-n", str(self.name), "-batch", "-"], timeout=_SECONDS, input=_text(lines))

    def set(self, settings: Sequence[str]) -> None:
        """Set these sysctls."""
        self._inside(["sysctl", "-q", "-w", *settings])

    def drops(self, device: str) -> dict[str, int]:
        """Packets dropped where they leave by a device, by the discipline's kind."""
        show = ["tc", "-n", str(self.name), "-s", "-j", "qdisc", "show", "dev", device]
        return drops(run(show, timeout=_SECONDS).stdout)

    def _inside(self, argv: Sequence[str]) -> None:
        run(["nsenter", f"--net=/run/netns/{self.name}", "--", *argv], timeout=_SECONDS)


@contextmanager
def router_namespace(network: ClientNetwork) -> Iterator[Router]:
    """A router without clients, for as long as the block runs. Needs root.

    It takes an address of the network: it asks for others' hardware addresses with it.
    """
    with owned_namespace(network, RouterName) as name:
        made = Router(name, network)
        made.ip([f"addr add {name.address}/32 dev lo", "link set lo up"])
        made.set(ROUTER_SETTINGS)
        yield made


ROUTER_SETTINGS = (
    "net.ipv4.ip_forward=1",
    # The way back is not the way here: `dn…` leads to the client only by the main table.
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    # A client's neighbour may be another one of this router, for which the router asks with its own address.
    "net.ipv4.conf.all.accept_local=1",
    # Every device would answer for the router's own address, and nobody has to reach that.
    "net.ipv4.conf.all.arp_ignore=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
)


def links(name: ClientName, network: ClientNetwork) -> list[str]:
    """Lines of `ip -n <router>` that make a client's link to the bridge. Pure."""
    peer = f"peer name {name.port_device} netns {network.netns}"
    return [
        f"link add {name.up_device} address {name.hardware_address} type veth {peer}",
        f"link set {name.down_device} {' '.join(_NO_OFFLOADS)} addrgenmode none",
        f"link set {name.up_device} {' '.join(_NO_OFFLOADS)} addrgenmode none",
    ]


def device_settings(name: ClientName) -> list[str]:
    """sysctls of a client's devices in the router. Pure."""
    return [
        f"net.ipv4.conf.{name.down_device}.proxy_arp=1",
        # An answer for somebody else is held back by up to 0.8 s by default.
        *(f"net.ipv4.neigh.{device}.proxy_delay=0" for device in (name.down_device, name.up_device)),
    ]


def routes(name: ClientName, network: ClientNetwork, number: int) -> list[str]:
    """Lines of `ip -n <router>` that lead a client's packets, once its devices are there. Pure."""
    table = _FIRST_TABLE + number
    return [
        f"link set {name.down_device} up",
        f"link set {name.up_device} up",
        f"route add {name.address}/32 dev {name.down_device}",
        f"route add {network.subnet} dev {name.up_device} table {table}",
        f"route add default via {network.gateway} dev {name.up_device} onlink table {table}",
        f"rule add iif {name.down_device} lookup {table} pref {table}",
        f"neigh add proxy {name.address} dev {name.up_device}",
    ]


def queue_rule() -> list[str]:
    """All that is forwarded waits. No `--queue-bypass`: without an emulator nothing passes. Pure."""
    return ["iptables", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", str(QUEUE)]


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
