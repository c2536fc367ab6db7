"""How a pod tells what happens in it: messages as framed lines on its stdout, which is its log."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TextIO

from loadtest.job.framing import Encoder
from loadtest.job.messages import Acted, ClientLost, ClientSeconds, PhaseBegan, PodMessage
from loadtest.run.observer import ActionTaken, ClientEnded, ClientSecond, PhaseStarted, RunEvent

_TOGETHER_S = 1.0


class Speaker:
    """Tells the coordinator, from any thread."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._encoder = Encoder()
        self._lock = threading.Lock()

    def say(self, message: PodMessage) -> None:
        with self._lock:
            for line in self._encoder.lines(message.model_dump_json().encode()):
                self._out.write(line + "\n")
            self._out.flush()


class Forwarder:
    """The run's observer: what the coordinator shows goes there, seconds of clients together."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._seconds: list[ClientSeconds.One] = []
        self._since = time.monotonic()

    def __call__(self, event: RunEvent) -> None:
        match event:
            case ClientSecond(client, group, second):
                self._seconds.append(ClientSeconds.One(client=client, group=group, second=second))
                if time.monotonic() - self._since >= _TOGETHER_S:
                    self.flush()
            case ClientEnded(client, group, reason):
                self._speaker.say(ClientLost(client=client, group=group, reason=reason))
            case PhaseStarted(name, seconds):
                self._speaker.say(PhaseBegan(at=datetime.now(UTC), name=name, seconds=seconds))
            case ActionTaken(at_s, what):
                self._speaker.say(Acted(at_s=at_s, what=what))
            case _:
                pass

    def flush(self) -> None:
        """Say what has been gathered."""
        self._since = time.monotonic()
        if self._seconds:
            self._speaker.say(ClientSeconds(seconds=tuple(self._seconds)))
            self._seconds.clear()
