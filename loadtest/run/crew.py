"""All clients of a run, group by group, with their links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from common.waiting import NeverHappened
from loadtest.client.protocol import Measured
from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Group
from loadtest.figures.seconds import LiveAges, second_of
from loadtest.net.bridge import ClientNetwork
from loadtest.net.host import HostNamespace
from loadtest.net.link import LinkGroup
from loadtest.result import Outcome
from loadtest.run.announcing import Announcer
from loadtest.run.beat import Beat
from loadtest.run.clients import RunningClient
from loadtest.run.clock import RunClock
from loadtest.run.observer import ClientEnded, ClientSecond
from loadtest.run.places import make_places
from loadtest.run.plan import PlannedClient, plan_group

# Each is a Python with a native library: on a small machine many of them start slowly.
_READY_SECONDS = 60.0
_READY_SECONDS_EACH = 3.0


class Crew:
    """The clients that were started so far, in order.

    Attributes:
        clients: all of them, lost ones too.
        links: of each group, by its name: one for each time that clients were added to it.
    """

    def __init__(
        self,
        *,
        network: ClientNetwork | HostNamespace,
        profiles: Mapping[str, NetworkProfile],
        rooms: Sequence[str],
        seed: int,
        logs: Path,
        join_timeout: float,
        held: ExitStack,
        clock: RunClock,
        announce: Announcer,
    ) -> None:
        self.clients: list[RunningClient] = []
        self.links: dict[str, list[LinkGroup]] = {}
        self._network = network
        self._profiles = profiles
        self._rooms = rooms
        self._seed = seed
        self._logs = logs
        self._join_timeout = join_timeout
        self._held = held
        self._clock = clock
        self._announce = announce
        self._told_of: set[str] = set()
        self._ages: dict[str, LiveAges] = {}

    @property
    def plans(self) -> list[PlannedClient]:
        return [client.plan for client in self.clients]

    def of_group(self, name: str) -> list[RunningClient]:
        """The clients of a group that are not lost."""
        return [client for client in self.clients if client.plan.group.name == name and not client.is_lost]

    def add(self, group: Group, count: int, beat: Beat) -> list[RunningClient]:
        """Start so many more clients of a group, and wait until they can join.

        Raises:
            As `make_places`; Interrupted.
        """
        if not count:
            return []
        first = 1 + sum(client.plan.group.name == group.name for client in self.clients)
        profile = self._profiles[group.name]
        plans = plan_group(group.model_copy(update={"count": count}), profile, self._rooms, first=first)
        seed = seed_of(self._seed, group.name, first)
        places = make_places(self._held, self._network, profile, count, seed=seed, logs=self._logs)
        if places[0].links is not None:
            self.links.setdefault(group.name, []).append(places[0].links)
        added = [
            RunningClient(plan, place, self._clock, self._tell_second)
            for plan, place in zip(plans, places, strict=True)
        ]
        self.clients += added
        for client in added:
            beat.heed(f"starting {client.name}")
            client.start(self._held, join_timeout=self._join_timeout, logs=self._logs)
        self._wait_until_ready(added, beat)
        return added

    def _tell_second(self, client: RunningClient, measured: Measured) -> None:
        """From the client's reader: what a display shows of its second, once it is in its room."""
        if client.joined_s is None:
            self._ages.pop(client.name, None)
            return
        age_max_ms = self._ages.setdefault(client.name, LiveAges()).oldest(measured)
        second = second_of(measured, self._clock.start_ms, age_max_ms)
        self._announce(ClientSecond(client.name, client.plan.group.name, second))

    def watch(self) -> None:
        """A chore: notice who is lost, and tell of it at once."""
        for client in self.clients:
            client.look()
            if client.is_lost and client.name not in self._told_of:
                self._told_of.add(client.name)
                self._announce(ClientEnded(client.name, client.plan.group.name, client.reason))

    def start_clocks(self) -> None:
        """Let the steps of the profiles come from now on."""
        for groups in self.links.values():
            for links in groups:
                links.start_clock()

    def finish(self, threads: Executor) -> None:
        """Tell all of them to end, at once, and wait for their reports."""
        list(threads.map(RunningClient.finish, self.clients))
        self.watch()

    def _wait_until_ready(self, clients: Sequence[RunningClient], beat: Beat) -> None:
        limit = _READY_SECONDS + _READY_SECONDS_EACH * len(self.clients)
        try:
            beat.until(
                lambda: all(client.is_ready or client.is_lost for client in clients),
                timeout=limit,
                what="the clients to get ready",
            )
        except NeverHappened:
            for client in clients:
                if not client.is_ready:
                    client.lose(Outcome.FAILED, f"it did not get ready within {limit:.0f} s")


def seed_of(seed: int, group: str, first: int) -> int:
    """A seed for links that were made together, by the run's. Pure: the same run has the same links."""
    return int.from_bytes(sha256(f"{seed}/{group}/{first}".encode()).digest()[:4])
