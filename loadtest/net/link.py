"""Clients with a link of a profile: each has one of its own, behind one router for the group."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from pydantic import BaseModel, ConfigDict, ValidationError

from loadtest.definition.profile import CAPACITY_ALLOWED, Direction, NetworkProfile
from loadtest.net.bridge import ClientName, ClientNetwork
from loadtest.net.emulation.backend import Backend, backends, choose, netem_knows_seed
from loadtest.net.emulation.messages import EmulatorConfig, EmulatorStatistics, LaneConfig
from loadtest.net.emulation.process import Emulator, LinkDied, emulator
from loadtest.net.emulation.traffic_control import bottleneck, netem_link
from loadtest.net.firewall import OPEN, Firewall
from loadtest.net.namespace import ClientNamespace, client_namespace
from loadtest.net.router import QUEUE, Router, router_namespace

__all__ = ["CapacityChange", "LinkDied", "LinkGroup", "LinkStatistics", "client_links"]


class CapacityChange(BaseModel):
    """A change of the links' capacities. A direction that was left as it was is None.

    Attributes:
        at_ns: CLOCK_MONOTONIC when the kernel had taken it on for the last client.
    """

    model_config = ConfigDict(frozen=True)

    at_ns: int
    down_kbps: int | None
    up_kbps: int | None


class LinkStatistics(BaseModel):
    """What the links of a group did since they were made; sums over its clients.

    Attributes:
        backend: None for the ideal profile.
        lost_down, lost_up: packets that the profile's loss took.
        overflowed_down, overflowed_up: packets that the bottleneck's full queue dropped.
        emulator: the emulator's own figures; None for netem and ideal, and within the first second.
    """

    model_config = ConfigDict(frozen=True)

    backend: Backend | None
    lost_down: int
    lost_up: int
    overflowed_down: int
    overflowed_up: int
    emulator: EmulatorStatistics | None


class LinkGroup:
    """Clients of one profile. `client_links` makes one.

    Attributes:
        profile: what their links are.
        clients: their namespaces.
    """

    def __init__(
        self,
        profile: NetworkProfile,
        clients: Sequence[ClientNamespace],
        router: Router | None,
        backend: Backend | None,
        process: Emulator | None,
    ) -> None:
        self.profile = profile
        self.clients = tuple(clients)
        self._router = router
        self._backend = backend
        self._emulator = process
        self._down, self._up = profile.down, profile.up
        self._changes: list[CapacityChange] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._clock: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def changes(self) -> tuple[CapacityChange, ...]:
        """The changes of capacity so far, in order."""
        return tuple(self._changes)

    @property
    def emulator_pid(self) -> int | None:
        """Process id of the emulator, where there is one."""
        return self._emulator.pid if self._emulator else None

    def start_clock(self) -> int:
        """Let the profile's steps come, each at its time from now; gives now, of CLOCK_MONOTONIC in ns.

        Raises:
            RuntimeError: it was started before.
        """
        if self._clock is not None:
            raise RuntimeError("the links' clock was started before")
        started_ns = time.monotonic_ns()
        self._clock = threading.Thread(target=self._take_steps, args=(started_ns,), daemon=True)
        self._clock.start()
        return started_ns

    def set_capacity(self, *, down_kbps: int | None = None, up_kbps: int | None = None) -> CapacityChange:
        """Give every link of the group these capacities from now on; None leaves a direction as it is.

        What waits in the bottleneck's queue stays in it.

        Raises:
            ValueError: a capacity that no profile could have, or links of the ideal profile.
            CommandFailed: the kernel refused.
        """
        if self._router is None:
            raise ValueError("the profile is `ideal`, which has no link to change; allowed is any other one")
        with self._lock:
            if down_kbps is not None:
                self._down = _with_capacity(self._down, "down_kbps", down_kbps)
            if up_kbps is not None:
                self._up = _with_capacity(self._up, "up_kbps", up_kbps)
            below = self._backend is Backend.NETEM
            lines: list[str] = []
            for client in self.clients:
                if down_kbps is not None:
                    lines += bottleneck(client.name.down_device, self._down, below_netem=below)
                if up_kbps is not None:
                    lines += bottleneck(client.name.up_device, self._up, below_netem=below)
            self._router.traffic_control(lines)
            change = CapacityChange(at_ns=time.monotonic_ns(), down_kbps=down_kbps, up_kbps=up_kbps)
            self._changes.append(change)
        return change

    def set_firewall(self, client_index: int, firewall: Firewall) -> None:
        """What the network of one client lets through from now on."""
        self.clients[client_index].set_firewall(firewall)

    def statistics(self) -> LinkStatistics:
        """What the links did so far; the emulator's part is up to a second old."""
        said = self._emulator.statistics if self._emulator else None
        names = [client.name for client in self.clients]
        down = self._drops([name.down_device for name in names])
        up = self._drops([name.up_device for name in names])
        # What goes down to a client came by its `up…` device, and the other way round.
        lost = {lane.device: lane.lost for lane in said.lanes} if said else {}
        return LinkStatistics(
            backend=self._backend,
            lost_down=down["netem"] + sum(lost.get(name.up_device, 0) for name in names),
            lost_up=up["netem"] + sum(lost.get(name.down_device, 0) for name in names),
            overflowed_down=down["tbf"],
            overflowed_up=up["tbf"],
            emulator=said,
        )

    @property
    def fault(self) -> str:
        """A phrase that says why the links no longer work; empty while they work."""
        if self._emulator is not None and (fault := self._emulator.fault):
            return fault
        if self._failure is not None:
            return f"a step of profile {self.profile.name} failed: {self._failure}"
        return ""

    def assert_alive(self) -> None:
        """Raise LinkDied if the links no longer work."""
        if self._emulator is not None:
            self._emulator.assert_alive()
        if self._failure is not None:
            raise LinkDied(self.fault) from self._failure

    def close(self) -> None:
        """End the clock. The steps that are left do not come."""
        self._closing.set()
        if self._clock is not None:
            self._clock.join()

    def _drops(self, devices: Sequence[str]) -> Counter[str]:
        total: Counter[str] = Counter()
        if self._router is not None:
            for device in devices:
                total.update(self._router.drops(device))
        return total

    def _take_steps(self, started_ns: int) -> None:
        for step in self.profile.steps:
            left = started_ns / 1e9 + step.at_s - time.monotonic()
            if self._closing.wait(timeout=max(0, left)):
                return
            try:
                self.set_capacity(down_kbps=step.down_kbps, up_kbps=step.up_kbps)
            except Exception as error:  # of a thread: `assert_alive` raises it
                self._failure = error
                return


@contextmanager
def client_links(
    network: ClientNetwork,
    profile: NetworkProfile,
    count: int,
    *,
    firewall: Firewall = OPEN,
    seed: int,
    logs: Path,
    backend: Backend | None = None,
) -> Iterator[LinkGroup]:
    """Clients with a link of this profile each, for as long as the block runs. Needs root.

    The profile `ideal` gives plain clients at the bridge, without a router.

    Args:
        count: how many clients.
        firewall: what each client's network lets through.
        seed: of all random numbers of the links.
        logs: directory for the emulator's log.
        backend: how to emulate; by default the best that this machine has.

    Raises:
        NoBackend: this machine can emulate no link.
        NoFreeAddress: too many clients at once.
        LinkDied: the emulator could not start.
        CommandFailed: no such bridge, not root, or a kernel without what this needs.
    """
    with ExitStack() as stack:
        if profile.is_ideal:
            plain = [stack.enter_context(client_namespace(network, firewall=firewall)) for _ in range(count)]
            yield LinkGroup(profile, plain, None, None, None)
            return
        way = backend or choose(backends())
        router = stack.enter_context(router_namespace(network))
        clients = [
            stack.enter_context(client_namespace(network, firewall=firewall, router=router.name))
            for _ in range(count)
        ]
        if way is Backend.NFQUEUE:
            router.queue_all()  # before anything can pass
        for number, client in enumerate(clients):
            router.attach(client, number)
        process = None
        if way is Backend.NETEM:
            router.traffic_control(_netem_lines(clients, profile, seed))
        else:
            router.traffic_control(
                [line for client in clients for line in _bottlenecks(client.name, profile)]
            )
            config = emulator_config([client.name for client in clients], profile, seed)
            log = logs / f"emulator-{router.name}.log"
            process = stack.enter_context(emulator(router.name, config, log=log))
        group = LinkGroup(profile, clients, router, way, process)
        try:
            yield group
        finally:
            group.close()


def emulator_config(names: Sequence[ClientName], profile: NetworkProfile, seed: int) -> EmulatorConfig:
    """What the emulator is told of these clients: two lanes each, with seeds of their own. Pure."""
    lanes = []
    for number, name in enumerate(names):
        for way, device, direction in (
            ("down", name.up_device, profile.down),
            ("up", name.down_device, profile.up),
        ):
            lanes.append(
                LaneConfig(
                    device=device, direction=direction, reorder=profile.reorder, seed=f"{seed}/{number}/{way}"
                )
            )
    return EmulatorConfig(queue=QUEUE, lanes=tuple(lanes))


def _bottlenecks(name: ClientName, profile: NetworkProfile) -> list[str]:
    return [
        *bottleneck(name.down_device, profile.down, below_netem=False),
        *bottleneck(name.up_device, profile.up, below_netem=False),
    ]


def _netem_lines(clients: Sequence[ClientNamespace], profile: NetworkProfile, seed: int) -> list[str]:
    random = Random(seed)  # noqa: S311 - a link's luck, and no secret
    lines = []
    for client in clients:
        seeds = [random.getrandbits(32) if netem_knows_seed() else None for _ in range(2)]
        lines += netem_link(
            client.name.down_device, client.name.up_device, profile, down_seed=seeds[0], up_seed=seeds[1]
        )
    return lines


def _with_capacity(direction: Direction, name: str, kbps: int) -> Direction:
    """The direction with another capacity. Checked, as `model_copy` does not."""
    try:
        return Direction.model_validate({**direction.model_dump(), "rate_kbps": kbps})
    except ValidationError as error:
        raise ValueError(f"{name} is {kbps!r}; allowed are {CAPACITY_ALLOWED}") from error
