"""A run as a person starts it: shown while it goes on, interruptible, and reported at its end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from loadtest.definition.scenario import Scenario
from loadtest.report.live import LiveDisplay
from loadtest.report.plain import PlainLog
from loadtest.report.terminal import print_summary
from loadtest.report.write import write_reports
from loadtest.result import RunResult, Verdict
from loadtest.run.environment import environment
from loadtest.run.interrupting import interruptibly
from loadtest.run.observer import Observer
from loadtest.run.server import UNKNOWN
from loadtest.run.telling_all import Both

_EVENTS_LOG = "events.log"
_LOGS = "logs"


@dataclass(frozen=True)
class Conducted:
    """What is told of a run, and how.

    Attributes:
        out: directory for its reports and logs.
        baseline: an earlier run to compare it with.
        plain: lines instead of the live display.
    """

    scenario: Scenario
    profile: str
    out: Path
    baseline: RunResult | None
    plain: bool
    command: str

    @property
    def logs(self) -> Path:
        """Directory for logs of clients and emulators."""
        return self.out / _LOGS


def could_not_run(how: Conducted, problem: str, started: datetime) -> RunResult:
    """The result of a run that never began."""
    return RunResult(
        scenario=how.scenario,
        profile=how.profile,
        started=started,
        lasted_s=(datetime.now(UTC) - started).total_seconds(),
        verdict=Verdict.COULD_NOT_RUN,
        interrupted=False,
        invalid=(),
        problem=problem,
        command=how.command,
        environment=environment(server=UNKNOWN, target="none"),
        checks=(),
        metrics={},
        clients=(),
        links=(),
        sfu=(),
        generator=(),
        api=None,
        ramp=None,
    )


def conduct(
    how: Conducted,
    work: Callable[[Observer, threading.Event], RunResult],
    problems: tuple[type[Exception], ...],
) -> RunResult:
    """Do the run that `work` is, show it, write its reports and their summary; gives its result.

    Args:
        work: the run; it is given an observer, and an event that tells it to stop.
        problems: exceptions of `work` that are a sentence for people: the run could not be.
    """
    console = Console()
    started = datetime.now(UTC)
    how.logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        events = held.enter_context((how.out / _EVENTS_LOG).open("w", encoding="utf-8"))
        log = PlainLog(events)
        held.callback(log.close)
        shown: Observer
        if how.plain or not console.is_terminal:
            shown = PlainLog(sys.stdout)
        else:
            shown = held.enter_context(LiveDisplay(console))
        observer = Both((log, shown))
        try:
            result = interruptibly(
                lambda stop: work(observer, stop),
                on_stop=lambda: console.print(
                    "interrupted: clients leave, rooms are deleted, a report is written"
                ),
            )
        except problems as error:
            result = could_not_run(how, str(error), started)
    result = result.model_copy(update={"command": how.command})
    files = write_reports(result, how.out, how.baseline)
    print_summary(
        console,
        result,
        {**files.by_name, "events": how.out / _EVENTS_LOG, "logs": how.logs},
        files.comparison,
        files.not_compared,
    )
    return result
