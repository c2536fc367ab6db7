from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.running import CHECKOUT
from tests.support import json_lines
from tests.support.repeat import Run, summary


def _repeat(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.repeat", *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_runs_are_appended_and_a_failed_one_fails_the_series(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    good = _repeat("--log", str(log), "--times", "2", "--busy-loops", "1", "--", "true")
    assert good.returncode == 0, good.stderr
    bad = _repeat("--log", str(log), "--", "false")
    assert bad.returncode == 1
    assert [(run.command, run.busy_loops, run.code) for run in json_lines.read(log, Run)] == [
        ("true", 1, 0),
        ("true", 1, 0),
        ("false", 0, 1),
    ]
    shown = _repeat("--log", str(log))
    assert shown.returncode == 1
    assert "2 of 3 runs passed" in shown.stdout


def test_the_summary_names_the_exit_code_of_a_failed_run() -> None:
    run = Run("2026-01-01T00:00:00+00:00", "abc1234", "make test", 2, 61.5, 2)
    assert "FAILED (2)" in summary([run])
    assert "0 of 1 runs passed" in summary([run])
