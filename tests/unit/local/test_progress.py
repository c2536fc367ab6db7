"""The progress output in a CI log (no terminal, so plain lines) and on a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from local import durations, progress
from local.paths import cache_dir
from local.progress import Progress
from local.steps import Plan, Resource, Step


class _Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def _step(name: str, *needs: str, **fields: object) -> Step:
    return Step(name, lambda: None, needs, **fields)  # type: ignore[arg-type]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr()
    assert printed.out == "", "standard output is for results"
    return printed.err.splitlines()


def test_steps_are_numbered_and_printed_at_their_start_and_end(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    link, build = _step("link tools"), _step("build kubernetes v1.35.4")
    with Progress(Plan([link, build])) as shown:
        _lines(capsys)
        shown.step_started(link)
        shown.step_started(build)
        clock.now += 0.2
        shown.step_ended(link)
        clock.now += 305
        shown.step_ended(build)
    assert _lines(capsys) == [
        "[ 1/2] link tools …",
        "[ 2/2] build kubernetes v1.35.4 …",
        "[ 1/2] link tools",
        "[ 2/2] build kubernetes v1.35.4: 5 min 05 s",
    ]


def test_the_expected_duration_is_printed_before_all_and_before_each_step_over_five_seconds(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = _step("link tools"), _step("start nodes", "link tools")
    plan = Plan([short, long], {"link tools": 5.0, "start nodes": 75.0})
    with Progress(plan) as shown:
        shown.step_started(short)
        shown.step_ended(short)
        shown.step_started(long)
    assert _lines(capsys) == [
        "2 steps, about 1 min 20 s",
        "[ 1/2] link tools …",
        "[ 1/2] link tools",
        "[ 2/2] start nodes … (about 1 min 15 s)",
    ]


def test_a_beat_has_what_runs_what_remains_and_how_long_that_takes(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    build = _step("build pulumi v3", resource=Resource.COMPILER, timed_as="build pulumi")
    image, last = _step("build image [a]"), _step("pulumi up", "build pulumi v3")
    plan = Plan([build, image, last], {"build pulumi": 100.0, "build image [a]": 4.0, "pulumi up": 50.0})
    with Progress(plan) as shown:
        shown.step_started(build)
        shown.step_started(image)
        clock.now += 60
        _lines(capsys)
        shown.beat()
        clock.now += 1
        shown.step_ended(build)
        shown.step_ended(image)
        shown.beat()
    beat, *_ = _lines(capsys)
    assert beat.strip() == (
        "build pulumi v3: 1 min 00 s of about 1 min 40 s, build image [a]: 1 min 00 s; "
        "1 more to come, about 1 min 30 s left"
    )


def test_what_a_step_took_is_kept_for_the_next_run_under_its_key(clock: _Clock) -> None:
    step = _step("build pulumi v3.250.0", timed_as="build pulumi")
    with Progress(Plan([step])) as shown:
        shown.step_started(step)
        clock.now += 12
        shown.step_ended(step)
    assert json.loads((cache_dir() / "durations.json").read_text()) == {"build pulumi": 12.0}
    assert durations.known()["build pulumi"] == 12.0


def test_a_step_that_failed_is_not_shown_as_done_nor_timed(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    step = _step("join nodes")
    with Progress(Plan([step])) as shown:
        shown.step_started(step)
        clock.now += 40
        shown.step_failed(step)
    assert _lines(capsys) == ["[ 1/1] join nodes …", "[ 1/1] join nodes: failed after 40 s"]
    assert not (cache_dir() / "durations.json").exists()


def test_this_machine_s_durations_come_before_the_reference_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = tmp_path / "reference.json"
    reference.write_text('{"start nodes": 9.0, "join nodes": 20.0}')
    monkeypatch.setattr(durations, "_REFERENCE", reference)
    durations.record("start nodes", 30.04)
    assert durations.known() == {"start nodes": 30.0, "join nodes": 20.0}


@pytest.mark.parametrize("damaged", ['{"start nod', '["start nodes"]', '{"start nodes": "long"}'])
def test_a_damaged_file_of_durations_stops_nothing(damaged: str) -> None:
    path = cache_dir() / "durations.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(damaged)
    durations.record("start nodes", 12.0)
    assert json.loads(path.read_text()) == {"start nodes": 12.0}


def test_a_line_is_one_line_however_long_the_name(clock: _Clock, capsys: pytest.CaptureFixture[str]) -> None:
    step = _step("install " + ", ".join(f"package-{number}" for number in range(20)))
    with Progress(Plan([step])) as shown:
        shown.step_started(step)
        shown.step_ended(step)
    assert _lines(capsys) == [f"[ 1/1] {step.name} …", f"[ 1/1] {step.name}"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The output to a terminal, including escape codes."""
    sent = io.StringIO()

    def console(**_: object) -> Console:
        return Console(file=sent, force_terminal=True, width=100, highlight=False, color_system=None)

    monkeypatch.setattr(progress, "Console", console)
    return sent


def _since(sent: io.StringIO) -> str:
    text = sent.getvalue()
    sent.seek(0)
    sent.truncate()
    return text


def test_on_a_terminal_running_steps_stand_below_the_lines_of_those_that_ended(
    clock: _Clock, terminal: io.StringIO
) -> None:
    build, image = _step("build pulumi"), _step("build image a")
    with Progress(Plan([build, image], {"build pulumi": 100.0, "build image a": 4.0})) as shown:
        shown.step_started(build)
        shown.step_started(image)
        assert "[ 1/2] build pulumi … (about 1 min 40 s)" in _since(terminal)
        clock.now += 10
        shown.beat()
        block = _since(terminal)
        assert "  build pulumi: 10 s of about 1 min 40 s" in block
        assert "  build image a: 10 s" in block
        assert "  nothing more to come, about 1 min 30 s left" in block
        shown.step_ended(image)
        assert "[ 2/2] build image a: 10 s\n" in _since(terminal)


def test_nothing_is_drawn_while_a_command_writes_to_the_terminal_itself(
    clock: _Clock, terminal: io.StringIO
) -> None:
    engine = _step("pulumi up", shows_output=True)
    with Progress(Plan([engine])) as shown:
        shown.step_started(engine)
        _since(terminal)
        clock.now += 10
        shown.beat()
        assert _since(terminal) == ""
