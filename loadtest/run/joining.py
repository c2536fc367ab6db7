"""Clients come when they are due, whatever became of those before; some leave, and come again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor

from loadtest.result import Outcome
from loadtest.run.arriving import Wanted, wanted_media
from loadtest.run.clients import RunningClient
from loadtest.run.clock import RunClock
from loadtest.run.plan import PlannedClient
from loadtest.targets.target import Target
from loadtest.targets.tokens import TokenRefused


class Joining:
    """Lets clients join at their times. `tend` is a chore: it does what is due now.

    Each asks for its token in a thread of its own, so that a slow answer makes nobody else late.
    """

    def __init__(self, target: Target, threads: Executor, clock: RunClock) -> None:
        self._target = target
        self._threads = threads
        self._clock = clock
        self._due: list[tuple[float, RunningClient]] = []
        self._inside: list[RunningClient] = []

    def begin(self, clients: Iterable[RunningClient]) -> float:
        """From now on they come; gives now, on the run's clock."""
        now_s = self._clock.now_s
        self._due += [(now_s + client.plan.due_s, client) for client in clients]
        self._due.sort(key=lambda each: each[0])
        return now_s

    def tend(self) -> None:
        """Let join who is due, leave whose stay is over, and come again who has left."""
        now_s = self._clock.now_s
        while self._due and self._due[0][0] <= now_s:
            _, client = self._due.pop(0)
            self._inside.append(client)
            self._threads.submit(admit, self._target, client)
        for client in self._inside:
            if client.is_away:
                client.is_away = False
                self._threads.submit(admit, self._target, client)
            elif is_over(client.joined_s, client.plan.group.stay_s, now_s):
                client.leave()

    def end(self) -> None:
        """Nobody comes or goes from now on."""
        self._due.clear()
        self._inside.clear()


def is_over(joined_s: float | None, stay_s: float | None, now_s: float) -> bool:
    """Whether a client has stayed for as long as it was to. Pure.

    Args:
        joined_s: None where it is not in its room.
        stay_s: None where it is to stay to the end.
    """
    return joined_s is not None and stay_s is not None and now_s - joined_s >= stay_s


def admit(target: Target, client: RunningClient) -> None:
    """Ask for a token and let the client join with it; where there is none, the client has failed."""
    group = client.plan.group
    try:
        admission = target.admission(
            client.plan.room, client.name, publish=group.publish is not None, subscribe=group.subscribe
        )
    except TokenRefused as error:
        client.lose(Outcome.FAILED, f"it got no token: {error}")
        return
    client.join(admission)


def all_wanted(
    clients: Sequence[RunningClient], everybody: Sequence[PlannedClient], first_media_s: float
) -> list[tuple[RunningClient, Wanted]]:
    """What each of the clients waits for."""
    return [(client, wanted_media(client.plan, everybody, first_media_s)) for client in clients]


def has_arrived(client: RunningClient, wanted: Wanted, since_s: float) -> bool:
    """Whether a client has what it came for, has missed it, or is lost.

    Args:
        since_s: seconds since the first client might join.
    """
    if client.is_lost or since_s >= wanted.by_s:
        return True
    there = client.joined_s is not None or client.told_joins > 1
    return there and (client.saw or not wanted.video) and (client.heard or not wanted.audio)
