"""What a CI log's reader sees: no terminal, so plain lines."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from common.commands import CommandFailed
from local import progress
from local.paths import cache_dir
from local.progress import Progress


class _Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr()
    assert printed.out == "", "standard output is for results"
    return printed.err.splitlines()


def test_steps_are_numbered_and_said_at_their_start_and_end(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Progress(11)
    with shown.step("link tools"):
        assert _lines(capsys) == ["[ 1/11] link tools …"]
        clock.now += 0.2
    assert _lines(capsys) == ["[ 1/11] link tools"]
    with shown.step("build kubernetes v1.35.4"):
        clock.now += 305
    assert _lines(capsys) == [
        "[ 2/11] build kubernetes v1.35.4 …",
        "[ 2/11] build kubernetes v1.35.4: 5 min 05 s",
    ]


def test_a_step_tells_how_long_it_took_the_last_time(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        shown = Progress(1)
        with shown.step("start nodes"):
            clock.now += 12
    first, _, second, _ = _lines(capsys)
    assert first == "[ 1/1] start nodes …"
    assert second == "[ 1/1] start nodes … (last time 12 s)"


def test_a_step_that_failed_is_not_said_to_be_done_nor_timed(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with pytest.raises(CommandFailed), Progress(1).step("join nodes"):
            _fail_after(clock, 40)
    assert _lines(capsys) == ["[ 1/1] join nodes …"] * 2


def _fail_after(clock: _Clock, seconds: float) -> None:
    clock.now += seconds
    raise CommandFailed(["kubeadm", "join"], "exited with 1")


def test_a_damaged_memory_of_durations_stops_nothing(clock: _Clock) -> None:
    path = cache_dir() / "durations.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"start nod')
    with Progress(1).step("start nodes"):
        clock.now += 12
    assert '"start nodes": 12' in path.read_text()


def test_a_long_step_shows_now_and_then_that_it_still_runs(
    clock: _Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beat is brought about, not waited for: the teller's first wait is over at once."""
    beaten = threading.Event()
    waits: list[float] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            if len(waits) == 1:
                clock.now += 61
                return False
            beaten.set()
            return super().wait(timeout)

    _use_event(monkeypatch, Ended)
    with Progress(1).step("build pulumi [v3]"):
        assert beaten.wait(20)
    assert waits[0] == 60.0
    assert _lines(capsys) == [
        "[ 1/1] build pulumi [v3] …",
        "[ 1/1] build pulumi [v3]: 1 min 01 s",
        "[ 1/1] build pulumi [v3]: 1 min 01 s",
    ]


def _use_event(monkeypatch: pytest.MonkeyPatch, event: Callable[[], threading.Event]) -> None:
    class Threading:
        Event = staticmethod(event)
        Thread = threading.Thread

    monkeypatch.setattr(progress, "threading", Threading)


def test_a_line_is_one_line_however_long_the_title(clock: _Clock, capsys: pytest.CaptureFixture[str]) -> None:
    title = "install " + ", ".join(f"package-{number}" for number in range(20))
    with Progress(1).step(title):
        pass
    assert _lines(capsys) == [f"[ 1/1] {title} …", f"[ 1/1] {title}"]
