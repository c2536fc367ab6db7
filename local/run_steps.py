"""Runs the steps of a plan in a few threads. Ends all running steps on a failure or an interrupt."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from common.commands import Children, CommandFailed
from common.waiting import NeverHappened
from local import durations
from local.progress import Progress
from local.steps import Plan, Step

# pulumi finishes the operations that it has begun and writes its state. Other commands end within seconds.
_END_SECONDS = 120.0
_KILL_SECONDS = 10.0
# An interrupt is handled at the latest after this time.
_SIGNAL_SECONDS = 0.5

_Ended = tuple[Step, BaseException | None]


class StepFailed(RuntimeError):
    """A step failed; the message has its name and the reason."""

    def __init__(self, step: Step, reason: BaseException) -> None:
        self.step = step
        super().__init__(f"{step.name}: {reason}")


def run_steps(*steps: Step) -> None:
    """Run the steps; independent steps run in parallel.

    Raises:
        StepFailed: for the first step that failed. No other step was started after it, and running steps
            were ended.
        KeyboardInterrupt: Ctrl-C; running steps were ended.
    """
    _Run(Plan(steps, durations.known())).to_the_end()


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._children = Children()
        self._ended: SimpleQueue[_Ended] = SimpleQueue()
        self._done: set[str] = set()
        self._running: dict[str, threading.Thread] = {}

    def to_the_end(self) -> None:
        with Progress(self._plan) as progress:
            try:
                self._run(progress)
            finally:
                self._end_what_runs()

    def _run(self, progress: Progress) -> None:
        while True:
            while (step := self._plan.next(self._done, self._running)) is not None:
                progress.step_started(step)
                thread = threading.Thread(target=self._work, args=(step,), name=step.name, daemon=True)
                self._running[step.name] = thread
                thread.start()
            if not self._running:
                return
            ended = self._wait_for_an_end(progress.beat_seconds)
            if ended is None:
                progress.beat()
                continue
            step, error = ended
            self._running.pop(step.name).join()
            if error is None:
                self._done.add(step.name)
                progress.step_ended(step)
                continue
            progress.step_failed(step)
            if isinstance(error, CommandFailed | NeverHappened | RuntimeError | OSError):
                raise StepFailed(step, error) from error
            raise error

    def _wait_for_an_end(self, seconds: float) -> _Ended | None:
        """The next step that ends, or None after this time.

        If a signal arrives just before Python blocks, Python handles it after the wait. So waits are short.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                return self._ended.get(timeout=min(left, _SIGNAL_SECONDS))
        return None

    def _work(self, step: Step) -> None:
        self._children.adopt_thread()
        try:
            step.action()
        except BaseException as error:
            self._ended.put((step, error))
        else:
            self._ended.put((step, None))

    def _end_what_runs(self) -> None:
        """End all running steps. The cache stays valid: threads write temporary files and rename them."""
        if not self._running:
            return
        self._children.end()
        try:
            self._wait(_END_SECONDS)
        finally:  # after a second Ctrl-C too
            self._children.kill()
            self._wait(_KILL_SECONDS)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
