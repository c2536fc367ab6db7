"""Shows running and remaining steps and the expected time, on stderr because stdout is for results."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from local import durations
from local.durations import spoken
from local.steps import Plan, Step

# Without a terminal, a line after each interval shows the reader of a CI log that a build is still running.
_HEARTBEAT_SECONDS = 60.0
_REDRAW_SECONDS = 1.0
# Shorter steps are listed without their durations.
_WORTH_SAYING_SECONDS = 2.0
# If a step is expected to take longer than this, its start line says how long.
_LONG_SECONDS = 5.0


class Progress:
    """The display of one run of a plan. All methods are called from one thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._done: list[str] = []
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None

    @property
    def beat_seconds(self) -> float:
        """How often `beat` wants to be called while nothing else happens."""
        return _REDRAW_SECONDS if self._console.is_terminal else _HEARTBEAT_SECONDS

    def __enter__(self) -> Progress:
        expected = self._plan.remaining_seconds()
        if expected > _LONG_SECONDS:
            self._print(f"{len(self._plan.steps)} steps, about {spoken(expected)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()

    def step_started(self, step: Step) -> None:
        self._numbers[step.name] = len(self._numbers) + 1
        self._started[step.name] = time.monotonic()
        expected = self._plan.expected(step) or 0.0
        if not self._console.is_terminal or expected > _LONG_SECONDS:
            told = f" (about {spoken(expected)})" if expected > _LONG_SECONDS else ""
            self._print(f"{self._head(step.name)} …{told}")
        self._show()

    def step_ended(self, step: Step) -> None:
        """Record that a step is done. For a failed step, call `step_failed` instead."""
        took = self._forget(step)
        self._done.append(step.name)
        durations.record(step.key, took)
        head = self._head(step.name)
        self._print(f"{head}: {spoken(took)}" if took > _WORTH_SAYING_SECONDS else head)
        self._show()

    def step_failed(self, step: Step) -> None:
        took = self._forget(step)
        self._print(f"{self._head(step.name)}: failed after {spoken(took)}")
        self._show()

    def beat(self) -> None:
        """Update the display, because time has passed."""
        if self._console.is_terminal:
            self._show()
        elif self._started:
            self._print(f"        {self._running()}; {self._rest()}")

    def _forget(self, step: Step) -> float:
        return time.monotonic() - self._started.pop(step.name)

    def _head(self, name: str) -> str:
        return f"[{self._numbers[name]:>2}/{len(self._plan.steps)}] {name}"

    def _running(self) -> str:
        return ", ".join(self._line(step) for step in self._running_steps())

    def _running_steps(self) -> list[Step]:
        return [step for step in self._plan.steps if step.name in self._started]

    def _line(self, step: Step) -> str:
        taken = time.monotonic() - self._started[step.name]
        expected = self._plan.expected(step) or 0.0
        of = f" of about {spoken(expected)}" if expected > _LONG_SECONDS else ""
        return f"{step.name}: {spoken(taken)}{of}"

    def _rest(self) -> str:
        now = time.monotonic()
        running = {name: now - started for name, started in self._started.items()}
        left = len(self._plan.steps) - len(self._done) - len(running)
        more = f"{left} more to come" if left else "nothing more to come"
        return f"{more}, about {spoken(self._plan.remaining_seconds(self._done, running))} left"

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def _show(self) -> None:
        """On a terminal, show a block below the printed lines; hide it while a command writes there."""
        if not self._console.is_terminal:
            return
        if not self._started or any(step.shows_output for step in self._running_steps()):
            self._hide()
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        lines = [*(f"  {self._line(step)}" for step in self._running_steps()), f"  {self._rest()}"]
        block = Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))
        self._live.update(block, refresh=True)

    def _hide(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
