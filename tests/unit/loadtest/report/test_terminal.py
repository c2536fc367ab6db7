"""The summary: verdict first, the culprit named, and nothing wider than the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from loadtest.report.compare import compare
from loadtest.report.terminal import print_summary
from loadtest.result import RunResult
from tests.unit.loadtest.report import runs

FILES = {
    "page": Path("/a/long/way/to/the/reports/of/this/very/run/20261124-140500-livestream-4g/report.html")
}


def summary(result: RunResult, width: int = 80, *, baseline: RunResult | None = None) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=width)
    print_summary(console, result, FILES, compare(baseline, result) if baseline else None)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("name", runs.ALL)
@pytest.mark.parametrize("width", [80, 140])
def test_it_fits_the_terminal_for_every_kind_of_run(name: str, width: int) -> None:
    # What is copied, a path or a command, is whole on its line.
    lines = [line for line in summary(runs.ALL[name](), width) if not line.startswith(("page", "again"))]
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("passed", "PASSED: 4 of 4 checks held", ""),
        ("failed", "FAILED: 3 of 7 checks missed", "viewers: age_p95_ms ≤ 3000"),
        ("invalid", "INVALID: these figures prove nothing", "requested were 30"),
        ("could-not-run", "COULD NOT RUN: no SFU answers", "run the command again"),
        ("interrupted", "INVALID", "interrupted"),
    ],
)
def test_verdict_and_reason_stand_in_the_first_lines(name: str, first: str, then: str) -> None:
    lines = summary(runs.ALL[name]())
    assert first in lines[1]
    assert then in "\n".join(lines[:8])


def test_missed_checks_come_with_the_worst_client_and_what_was_measured() -> None:
    [line] = [line for line in summary(runs.failed()) if "longest_freeze_ms ≤ 3000" in line]
    assert line.split()[-5:] == ["viewers-2", "8000", "ms", "3000", "ms"]
    assert "its process ended with 134" in "\n".join(summary(runs.failed()))


def test_paths_and_command_are_whole_on_one_line() -> None:
    lines = summary(runs.run())
    assert f"page    {FILES['page']}" in lines
    assert "again   make loadtest SCENARIO=livestream PROFILE=4g SEED=7" in lines


def test_what_the_run_had_is_there() -> None:
    assert "block-udp" in "\n".join(summary(runs.reconnect()))
    assert "1 never" in "\n".join(summary(runs.reconnect(), 140))
    assert "6 viewers held; 8 missed viewers: age_p95_ms" in "\n".join(summary(runs.ramp(), 140))
    assert "503 Service Unavailable: 4 times" in "\n".join(summary(runs.api_only()))


def test_text_from_outside_moves_no_cursor_and_is_no_markup() -> None:
    nasty = runs.run(problem="[red]no\x1b[2J\nanswer", verdict=runs.could_not_run().verdict, checks=())
    text = "\n".join(summary(nasty))
    assert "[red]no\ufffd[2J answer" in text


def test_a_comparison_names_what_got_worse() -> None:
    text = "\n".join(summary(runs.failed(), baseline=runs.run()))
    assert "4 worse, 0 better" in " ".join(text.split())
    [row] = [line for line in text.splitlines() if "age_p95_ms" in line and line.startswith("worse")]
    assert row.split() == "worse viewers age_p95_ms 187 ms 6587 ms 35× ± 37.4 ms".split()
