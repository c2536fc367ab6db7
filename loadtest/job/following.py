"""Reading one pod's log while it is written: messages to the coordinator, all else into a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from loadtest.job.cluster import NOT_REACHED
from loadtest.job.framing import Decoder
from loadtest.job.manifests import Plan
from loadtest.job.messages import PodMessage, pod_messages

_AGAIN_SECONDS = 0.5


class Logs(Protocol):
    """Gives a pod's log; see `LoadCluster.log`."""

    def log(self, plan: Plan, pod: str, /, *, follow: bool) -> Iterator[str]: ...


class Follower:
    """A thread that reads a pod's log until the pod is over and all of it was read.

    A log is read again from its start where the connection broke; messages come once all the same.
    """

    def __init__(
        self,
        logs: Logs,
        plan: Plan,
        pod: str,
        *,
        on_message: Callable[[PodMessage], None],
        text: Path,
    ) -> None:
        self._logs = logs
        self._plan = plan
        self._pod = pod
        self._on_message = on_message
        self._text = text
        self._decoder = Decoder()
        self._is_over = threading.Event()
        self._unreadable = ""
        self._thread = threading.Thread(target=self._follow, name=f"log of {pod}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The pod is over, or will be gone: read what is left of its log, and no more. Again is no error."""
        self._is_over.set()

    def join(self, *, timeout: float) -> None:
        """Wait until it is read."""
        self._thread.join(timeout=timeout)

    @property
    def said(self) -> str:
        """The end of what the pod wrote beside its messages, and whether some of those are missing."""
        lost = self._decoder.missing
        return "; ".join(
            part
            for part in (
                f"messages {', '.join(map(str, lost))} of its log are not whole" if lost else "",
                self._unreadable,
                self._decoder.text,
            )
            if part
        )

    def _follow(self) -> None:
        while True:
            # Looked at first: what is read after that is all there is.
            was_over = self._is_over.is_set()
            self._decoder.read_again()
            try:
                for line in self._logs.log(self._plan, self._pod, follow=not was_over):
                    self._take(line)
            except NOT_REACHED as error:
                if was_over:
                    self._unreadable = self._unreadable or f"its log cannot be read: {error!r}"[:300]
            self._text.write_text(self._decoder.text + "\n")
            if was_over:
                return
            self._is_over.wait(_AGAIN_SECONDS)

    def _take(self, line: str) -> None:
        for message in self._decoder.take([line]):
            try:
                self._on_message(pod_messages.validate_json(message))
            except ValidationError as error:
                self._unreadable = f"a message is not understood: {error}"[:300]
