"""The display of a run that goes on, for a terminal: one screen that is drawn anew twice a second at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.report import words
from loadtest.report.progress import GroupFigures, Progress, api, machines
from loadtest.report.terminal import calibration_table
from loadtest.run.observer import Calibrated, RunEvent

_REDRAWS_PER_S = 2
_OLD_MS = 1000
_TOO_OLD_MS = 3000
_BUSY = 0.95


class LiveDisplay:
    """An observer; a context manager that shows while it is open and leaves nothing behind but calibrations.

    A thread draws, so that an event costs the run no more than a note of it.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = Progress()
        self._closed = False
        self._live = Live(
            console=console,
            refresh_per_second=_REDRAWS_PER_S,
            transient=True,
            get_renderable=self._picture,
            # The engine prints nothing; whoever does anyway is not to be lost in here.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: RunEvent) -> None:
        with self._lock:
            if self._closed:
                return
            self._progress.take(event, self._clock())
        if isinstance(event, Calibrated):
            # Above the display, where it stays. A terminal that is gone does not end the run.
            with suppress(OSError):
                self._console.print(calibration_table([event.calibration]), Text())

    def close(self) -> None:
        """End the display; nothing is written any more. May be called twice."""
        with self._lock:
            self._closed = True
        self._live.stop()

    def _picture(self) -> RenderableType:
        with self._lock:
            return Group(*picture(self._progress, self._clock(), self._console.width))


def picture(progress: Progress, now: float, width: int) -> Iterator[RenderableType]:
    """What is shown in this moment."""
    yield _line(Text.assemble((progress.title or "load test", "bold"), f" on {progress.profile or '…'}"))
    yield _phase(progress, now)
    yield Text()
    if progress.groups:
        yield _groups(progress.figures(now), wide=width >= 100)
    said = api(progress)
    if said:
        yield _line(Text(said, style="red" if progress.api_errors else ""))
    said = machines(progress)
    if said:
        busy = progress.generator is not None and progress.generator.cpu_ratio >= _BUSY
        yield _line(Text(said, style="bold yellow" if busy else ""))
    for action in progress.actions:
        yield _line(Text(f"• {action}", style="cyan"))
    if progress.ended_count:
        yield _line(Text(f"{words.count(progress.ended_count, 'client')} ended early", style="bold red"))
    for ended in progress.ended:
        yield _line(Text(f"✗ {ended}", style="red"))


def _line(text: Text) -> Text:
    """One line, cut where the terminal ends: what wraps makes the display jump."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _phase(progress: Progress, now: float) -> RenderableType:
    if progress.phase is None:
        return Text("starting", style="dim")
    elapsed, whole = progress.elapsed(now), progress.phase.seconds
    grid = Table.grid(padding=(0, 1))
    if whole:
        shown = f"{min(elapsed, whole):.0f} of {whole:.0f} s" + (" +" if elapsed > whole else "")
        grid.add_row(
            Text(progress.phase.name), ProgressBar(whole, min(elapsed, whole), width=30), Text(shown)
        )
    else:
        grid.add_row(Text(progress.phase.name), Text(words.duration(elapsed), style="dim"))
    return grid


def _groups(groups: list[GroupFigures], *, wide: bool) -> Table:
    # At 80 columns there is room for nothing but numbers.
    table = Table(box=SIMPLE_HEAD, padding=(0, 2 if wide else 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("group", no_wrap=True, overflow="ellipsis", max_width=14)
    for heading in ("in", "pict/s", "p50", "max", "age ms", "height", "kbit/s in", "out", "lost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        all_in = group.present >= group.total
        table.add_row(
            Text(group.name),
            Text(f"{group.present}/{group.total}", style="" if all_in else "yellow"),
            _number(group.pictures),
            _number(group.latency_p50_ms),
            _late(group.latency_max_ms),
            _late(group.age_max_ms),
            "–" if group.heights is None else "–".join(map(str, dict.fromkeys(group.heights))),
            _number(group.received_kbps),
            _number(group.sent_kbps),
            str(group.lost_packets),
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _late(value: float | None) -> Text:
    style = "" if value is None or value < _OLD_MS else "yellow" if value < _TOO_OLD_MS else "bold red"
    return Text(_number(value), style=style)
