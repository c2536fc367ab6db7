"""One running client: what it was told, what it has said so far, and that its end is noticed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from signal import Signals

from common.processes import process_of
from common.waiting import NeverHappened
from loadtest.client.path import TransportPath
from loadtest.client.process import ClientDied, ClientProcess, client_process
from loadtest.client.protocol import (
    ClientConfig,
    Event,
    Failed,
    Finished,
    FirstAudio,
    FirstVideo,
    Join,
    Joined,
    Leave,
    Left,
    Measured,
    Ready,
    Simulate,
    SimulatedAction,
)
from loadtest.client.recording import Recording
from loadtest.result import Outcome
from loadtest.run.clock import RunClock
from loadtest.run.places import Place
from loadtest.run.plan import PlannedClient
from loadtest.targets.tokens import Admission

FINISH_SECONDS = 20.0
_LOG_MARK = "\nend of its log"
_SIGNAL = re.compile(r"exit code -(\d+)")
_WHO = re.compile(r"^client \S+ (died; |failed; )?")


class RunningClient:
    """A client's process and its state. Its reader's thread writes, the engine's threads read.

    Attributes:
        is_ready: it can join at once.
        joined_s: on the run's clock, since when it is in its room; None while it is not.
        saw, heard: whether it ever had a picture, and marked sound.
        is_away: it left as told and waits to join again.
        told_joins: how often it was told to join.
        token_ms: how long each of its tokens took, where they were asked for.
        ended_s: on the run's clock, when it was told to end.
        finished: its own words at its end.
        outcome, reason: how it ended, and why if not as told.
    """

    def __init__(
        self,
        plan: PlannedClient,
        place: Place,
        clock: RunClock,
        on_second: Callable[[RunningClient, Measured], None],
    ) -> None:
        self.plan = plan
        self.place = place
        self.is_ready = False
        self.joined_s: float | None = None
        self.saw = False
        self.heard = False
        self.is_away = False
        self.told_joins = 0
        self.token_ms: list[float] = []
        self.ended_s: float | None = None
        self.outcome = Outcome.FINISHED
        self.reason = ""
        self.finished: Finished | None = None
        self._clock = clock
        self._on_second = on_second
        self._process: ClientProcess | None = None
        self._is_joining = False
        self._lock = threading.Lock()  # a join that comes in a thread of its own, or the end: not both

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def is_lost(self) -> bool:
        """Whether it failed or died."""
        return self.outcome is not Outcome.FINISHED

    @property
    def pid(self) -> int | None:
        """Its process id; None before it was started."""
        return self._process.pid if self._process else None

    @property
    def last_paths(self) -> tuple[TransportPath, ...]:
        """Which way its media goes now, or went last; empty before it has a connection."""
        if self.finished is not None and self.finished.paths:
            return self.finished.paths
        transports = (event.transport for event in reversed(self.recording.measured))
        return next((transport.paths for transport in transports if transport and transport.paths), ())

    @property
    def recording(self) -> Recording:
        """All that it has told."""
        return self._process.recording if self._process else Recording()

    def start(self, held: ExitStack, *, join_timeout: float, logs: Path) -> None:
        """Start its process, which connects when it is told to; `held` ends it."""
        group = self.plan.group
        config = ClientConfig(
            transport=group.transport,
            join_timeout=join_timeout,
            publish=group.publish,
            subscribe=group.subscribe,
            wait_for_join=True,
        )
        try:
            self._process = held.enter_context(
                client_process(
                    self.name,
                    config,
                    namespace=self.place.namespace,
                    log=logs / f"{self.name}.log",
                    on_event=self._hear,
                )
            )
        except ClientDied as error:
            self.lose(Outcome.DIED, _short(str(error)))

    def join(self, admission: Admission) -> None:
        """Tell it to join, for the first time or again."""
        if admission.token_ms is not None:
            self.token_ms.append(admission.token_ms)
        with self._lock:
            if self.ended_s is not None:
                return
            self.is_away = False
            self.told_joins += 1
            self._is_joining = True
            self._tell(Join(url=admission.url, token=admission.token))

    def leave(self) -> None:
        """Tell it to leave its room, and to wait."""
        self.joined_s = None
        self._tell(Leave())

    def simulate(self, kind: SimulatedAction) -> None:
        """Tell it to have its connection broken."""
        self._tell(Simulate(kind=kind))

    def lose(self, outcome: Outcome, reason: str) -> None:
        """It can do no more. The first reason stays."""
        if not self.is_lost:
            self.outcome, self.reason = outcome, reason

    def look(self) -> None:
        """See whether its process is still there."""
        process = self._process
        if process is None or self.is_lost or self.ended_s is not None or process_of(process.pid) is not None:
            return
        reason = process.death()  # empty until all is read that it said before its end
        if reason:
            self.lose(Outcome.DIED, _short(reason))

    def finish(self) -> None:
        """Tell it to end, and wait until it has reported, 20 s at most."""
        process = self._process
        if process is None or self.ended_s is not None:
            return
        with self._lock:
            self.ended_s = self._clock.now_s
            if self._is_joining:
                # It gives up joining. The end of its commands alone would be a failure to it.
                self._tell(Leave())
        if self.is_lost:
            return
        try:
            self.finished = process.finish(timeout=FINISH_SECONDS)
        except ClientDied as error:
            self.lose(Outcome.DIED, _short(str(error)))
        except NeverHappened:
            self.lose(Outcome.DIED, f"it was told to end, and did not within {FINISH_SECONDS:g} s: it hangs")

    def _tell(self, command: Join | Leave | Simulate) -> None:
        if self._process is None or self.is_lost:
            return
        try:
            self._process.tell(command)
        except ClientDied as error:
            self.lose(Outcome.DIED, _short(str(error)))

    def _hear(self, event: Event) -> None:
        match event:
            case Ready():
                self.is_ready = True
            case Joined():
                self.joined_s = self._clock.at_s(event.at_ms)
                self._is_joining = False
            case FirstVideo():
                self.saw = True
            case FirstAudio():
                self.heard = True
            case Left():
                self.is_away = self.ended_s is None
            case Measured():
                self._on_second(self, event)
            case Failed():
                self.lose(Outcome.FAILED, event.reason)
            case _:
                pass


def _short(last_words: str) -> str:
    """What `ClientProcess` says of a death, without the client's name and log, which a report has anyway."""
    said = last_words.partition(_LOG_MARK)[0].replace("\n", "; ")
    return _SIGNAL.sub(lambda found: f"ended by {Signals(int(found[1])).name}", _WHO.sub("", said))
