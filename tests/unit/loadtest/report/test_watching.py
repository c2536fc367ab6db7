"""While a run goes on: what is known, what the display shows of it, and what the log writes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from common.waiting import wait_until
from loadtest.report.live import LiveDisplay, picture
from loadtest.report.plain import PlainLog
from loadtest.report.progress import Progress
from loadtest.result import ApiSecond, GeneratorSample, Second
from loadtest.run.observer import (
    ActionTaken,
    ApiSecondOver,
    Calibrated,
    ClientEnded,
    ClientSecond,
    PhaseStarted,
    RunEvent,
    RunStarted,
    Sampled,
)
from tests.support.speed import scaled
from tests.unit.loadtest.report import results

STARTED = RunStarted(results.livestream(), "4g", "stack local")
SAMPLED = Sampled(results.sfu(4), GeneratorSample(at_s=2, cpu_ratio=0.61, own_cores=0.9))


class Clock:
    """Seconds that go on when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def second(client: str, **more: float) -> ClientSecond:
    made = {"at_s": 1.0, "pictures": 15, "latency_p50_ms": 90.0, "latency_max_ms": 140.0, "age_max_ms": 210.0,
        "height": 720, "received_kbps": 1600.0, "lost_packets": 1}  # fmt: skip
    return ClientSecond(client, "viewers", Second.model_validate({**made, **more}))


def everything() -> Iterator[RunEvent]:
    yield STARTED
    yield PhaseStarted("calibrating 4g", 8)
    yield Calibrated(results.calibration())
    yield PhaseStarted("measuring", 30)
    yield second("viewers-1")
    yield second("viewers-2", pictures=3, age_max_ms=4000.0)
    yield ApiSecondOver(ApiSecond(at_s=1, answers=99, errors=2, latency_p50_ms=8, latency_max_ms=40))
    yield SAMPLED
    yield ActionTaken(12, "reconnect-full of viewers")
    yield ClientEnded("viewers-3", "viewers", "it died:\n[bold]\x1b[2J" + "x" * 300)


def shown(progress: Progress, now: float, width: int = 80) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(Group(*picture(progress, now, width)))
    return text.getvalue().splitlines()


def test_a_group_shows_its_worst_client() -> None:
    progress = Progress()
    for event in everything():
        progress.take(event, 100)
    creator, viewers = progress.figures(101)
    assert (viewers.present, viewers.total) == (2, 3)
    assert (viewers.pictures, viewers.age_max_ms, viewers.heights) == (3, 4000, (720, 720))
    assert (creator.present, creator.pictures) == (0, None)
    assert viewers.lost_packets == 2


def test_a_client_that_ended_or_fell_silent_is_not_in() -> None:
    progress = Progress()
    progress.take(STARTED, 0)
    progress.take(second("viewers-1"), 10)
    progress.take(second("viewers-2"), 10)
    progress.take(ClientEnded("viewers-1", "viewers", "gone"), 11)
    assert progress.figures(12)[1].present == 1
    assert progress.figures(16)[1].present == 0


@pytest.mark.parametrize("width", [80, 140])
def test_the_display_fits_and_shows_what_happened(width: int) -> None:
    progress = Progress()
    for event in everything():
        progress.take(event, 100)
    lines = shown(progress, 104, width)
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    text = "\n".join(lines)
    assert "4 of 30 s" in text
    assert "this machine 61% busy" in text
    assert "12 s: reconnect-full of viewers" in text
    assert "✗ viewers-3: it died: [bold]\ufffd[2J" in text
    assert "API 99 answers/s" in text
    [row] = [line for line in lines if line.startswith("viewers")]
    assert row.split()[1:6] == ["2/3", "3", "90", "140", "4000"]


def test_the_display_has_something_before_anything_is_known() -> None:
    assert "starting" in "\n".join(shown(Progress(), 0))


def test_a_display_draws_by_itself_and_nothing_after_it_is_closed() -> None:
    text = io.StringIO()
    clock = Clock()
    with LiveDisplay(Console(file=text, force_terminal=True, width=80), clock) as display:
        for event in everything():
            display(event)
        wait_until(
            lambda: "measuring" in text.getvalue(), timeout=scaled(10), describe="a drawing", interval=0.05
        )
    written = text.getvalue()
    assert written.count("30→31.0 ±1.9") == 1, "a calibration is written once, above"
    display(Calibrated(results.calibration()))
    display.close()
    assert text.getvalue() == written


def lines_of(text: io.StringIO) -> list[str]:
    return [line.partition(" s  ")[2] for line in text.getvalue().splitlines()]


def test_the_log_has_a_line_for_each_thing_and_none_per_client_and_second() -> None:
    text, clock = io.StringIO(), Clock()
    log = PlainLog(text, clock)
    for event in everything():
        log(event)
    for _ in range(20):
        log(second("viewers-1"))
    lines = lines_of(text)
    assert lines[0] == "livestream on 4g, against stack local: 1 creator, 3 viewers"
    assert lines[1] == "calibrating 4g, 8 s"
    assert lines[2].startswith("calibrated 4g down: one-way delay, ms 30→31.0 ±1.9;")
    assert lines[5] == "action at 12 s: reconnect-full of viewers"
    assert lines[6].startswith("CLIENT ENDED EARLY: viewers-3: it died: [bold]\ufffd[2J")
    assert len(lines) == 7


def test_the_log_sums_up_each_five_seconds() -> None:
    text, clock = io.StringIO(), Clock()
    log = PlainLog(text, clock)
    log(STARTED)
    for _ in range(11):
        clock.now += 1
        log(second("viewers-1"))
        log(SAMPLED)
    found = [line for line in lines_of(text) if line.startswith("viewers")]
    assert len(found) == 2
    assert found[0].startswith(
        "viewers 1/3 in, 15 pictures/s at least, latency p50 90 max 140 ms, age max 210 ms"
    )


def test_the_log_marks_a_link_that_is_not_what_it_claims() -> None:
    text = io.StringIO()
    PlainLog(text, Clock())(Calibrated(results.calibration(ok=False)))
    assert "30→62.0 ±1.9 (NOT WHAT IT CLAIMS)" in text.getvalue()


def test_a_closed_log_writes_nothing_and_a_closed_stream_ends_no_run() -> None:
    text = io.StringIO()
    log = PlainLog(text, Clock())
    log.close()
    log(STARTED)
    assert text.getvalue() == ""
    assert not text.closed
    broken = io.StringIO()
    to_broken = PlainLog(broken, Clock())
    broken.close()
    to_broken(STARTED)
    to_broken(PhaseStarted("joining"))
