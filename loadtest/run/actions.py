"""What a scenario does to its groups while it is measured, and a record of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from common.commands import CommandFailed
from loadtest.client.path import TransportPath
from loadtest.client.protocol import SimulatedAction
from loadtest.client.samples import now_ms
from loadtest.definition.scenario import Action, ActionKind
from loadtest.net.firewall import Endpoint, Firewall, OnlyTo, UdpBlocked
from loadtest.run.announcing import Announcer
from loadtest.run.clients import RunningClient
from loadtest.run.clock import RunClock
from loadtest.run.crew import Crew
from loadtest.run.node_killing import CannotKill, kill_sfu
from loadtest.run.observer import ActionTaken
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target, server_of

_SIMULATED: Final[dict[ActionKind, SimulatedAction]] = {
    ActionKind.RECONNECT_SIGNAL: ActionKind.RECONNECT_SIGNAL,
    ActionKind.RECONNECT_FULL: ActionKind.RECONNECT_FULL,
    ActionKind.SERVER_LEAVE: ActionKind.SERVER_LEAVE,
    ActionKind.MIGRATE: ActionKind.MIGRATE,
}
# A change of capacity bends the picture and does not break it; `adapt_s` says what became of it.
INTERRUPTING: Final = frozenset(ActionKind) - {ActionKind.CAPACITY}
# What a client's links are needed for, beside its profile.
NEEDS_LINKS: Final = frozenset({ActionKind.BLOCK_UDP, ActionKind.BLOCK_ALL_BUT_TURN, ActionKind.CAPACITY})


@dataclass(frozen=True)
class Taken:
    """An action that was taken.

    Attributes:
        at_ms: CLOCK_MONOTONIC when it began.
    """

    action: Action
    at_ms: float


class Actions:
    """Takes each action at its time. `tend` is a chore.

    Attributes:
        taken: so far, in order.
        problems: a sentence for each that could not be taken.
    """

    def __init__(
        self, target: Target, crew: Crew, threads: Executor, clock: RunClock, announce: Announcer
    ) -> None:
        self.taken: list[Taken] = []
        self.problems: list[str] = []
        self._target = target
        self._crew = crew
        self._threads = threads
        self._clock = clock
        self._announce = announce
        self._due: list[tuple[float, Action]] = []

    def begin(self, actions: Sequence[Action]) -> None:
        """Their times count from now on."""
        now_s = self._clock.now_s
        self._due = sorted(((now_s + action.at_s, action) for action in actions), key=lambda each: each[0])

    def tend(self) -> None:
        """Take what is due now, in a thread: some take a second."""
        while self._due and self._due[0][0] <= self._clock.now_s:
            _, action = self._due.pop(0)
            self._threads.submit(self._take, action)

    def _take(self, action: Action) -> None:
        at_ms = now_ms()
        try:
            done = self._do(action)
        except (CommandFailed, ValueError, CannotKill, TargetUnusable) as error:
            self.problems.append(
                f"Action {in_words(action)} at {action.at_s:g} s could not be taken: {error}"
            )
            self._announce(ActionTaken(self._clock.at_s(at_ms), f"FAILED: {in_words(action)}: {error}"))
            return
        self.taken.append(Taken(action, at_ms))
        self._announce(ActionTaken(self._clock.at_s(at_ms), f"{in_words(action)}{done}"))

    def _do(self, action: Action) -> str:
        """Take it; gives what to say beside its name."""
        clients = self._crew.of_group(action.group)
        match action.kind:
            case ActionKind.BLOCK_UDP:
                self._close(clients, UdpBlocked())
            case ActionKind.BLOCK_ALL_BUT_TURN:
                self._close(clients, OnlyTo(self._turn_and_signalling()))
            case ActionKind.CAPACITY:
                for links in self._crew.links.get(action.group, []):
                    links.set_capacity(down_kbps=action.down_kbps, up_kbps=action.up_kbps)
            case ActionKind.KILL_NODE:
                node = node_of([client.last_paths for client in clients])
                return f": {kill_sfu(self._target.cluster, node)}"
            case kind:
                for client in clients:
                    client.simulate(_SIMULATED[kind])
        return ""

    def _close(self, clients: Sequence[RunningClient], firewall: Firewall) -> None:
        for client in clients:
            client.place.set_firewall(firewall)

    def _turn_and_signalling(self) -> tuple[Endpoint, ...]:
        if not self._target.turn:
            raise ValueError(f"the TURN servers of {self._target.description} are not known")
        signalling, _ = server_of(self._target.signal_url, self._target.names)
        return (*self._target.turn, signalling)


def in_words(action: Action) -> str:
    """What it is, to whom: `capacity of viewers: 600 kbit/s down`."""
    capacity = [
        f"{kbps} kbit/s {way}"
        for way, kbps in (("down", action.down_kbps), ("up", action.up_kbps))
        if kbps is not None
    ]
    return f"{action.kind} of {action.group}" + (f": {', '.join(capacity)}" if capacity else "")


def node_of(paths: Sequence[Sequence[TransportPath]]) -> IPv4Address:
    """The SFU node that most of these clients' media goes to.

    Raises:
        CannotKill: none of them has a media connection.
    """
    found = Counter(path.remote.address for of_client in paths for path in of_client)
    if not found:
        raise CannotKill("no client of the group has a media connection, so its node is not known")
    return IPv4Address(found.most_common(1)[0][0])
