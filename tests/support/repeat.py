"""Repeats a command and appends each result to a log, to show that a test or the suite is not flaky.

    python -m tests.support.repeat --log repeat.jsonl --times 5 -- make test
    python -m tests.support.repeat --log repeat.jsonl --times 2 --busy-loops 2 -- make test
    python -m tests.support.repeat --log repeat.jsonl

The last form runs nothing and prints the log, so a long series can be run in parts. The exit code is 0 if
every run in the log passed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.commands import run
from tests.running import CHECKOUT
from tests.support import json_lines

_BUSY_LOOP = "while True: pass"


@dataclass(frozen=True)
class Run:
    """One run: when it started (UTC), of which revision, next to how many busy loops, and how it ended."""

    started: str
    revision: str
    command: str
    busy_loops: int
    seconds: float
    code: int


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that each use one core during the block."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", _BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def revision() -> str:
    """The commit of the checkout, with "+" if files differ from it."""
    commit = run(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, timeout=20).stdout.strip()
    changed = run(["git", "status", "--porcelain"], cwd=CHECKOUT, timeout=20).stdout.strip()
    return commit + ("+" if changed else "")


def once(command: Sequence[str], loops: int) -> Run:
    """Run the command, its output shown."""
    began, started = time.monotonic(), datetime.now(UTC)
    with busy_loops(loops):
        code = subprocess.run(command, check=False).returncode
    return Run(
        started.isoformat(timespec="seconds"),
        revision(),
        " ".join(command),
        loops,
        round(time.monotonic() - began, 1),
        code,
    )


def summary(runs: Sequence[Run]) -> str:
    """A line for each run, and how many passed."""
    lines = [
        f"{one.started}  {one.revision}  {one.seconds:7.1f} s  {one.busy_loops} busy loops  "
        f"{'passed' if one.code == 0 else f'FAILED ({one.code})'}  {one.command}"
        for one in runs
    ]
    passed = sum(one.code == 0 for one in runs)
    return "\n".join([*lines, f"{passed} of {len(runs)} runs passed"])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.repeat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--log", type=Path, required=True, help="file of JSON lines; runs are appended")
    parser.add_argument("--times", type=int, default=1, help="how often to run the command (1)")
    parser.add_argument(
        "--busy-loops", type=int, default=0, help="processes that keep a core busy meanwhile (0)"
    )
    parser.add_argument("command", nargs="*", metavar="-- COMMAND")
    arguments = parser.parse_args()
    for _ in range(arguments.times if arguments.command else 0):
        done = once(arguments.command, arguments.busy_loops)
        json_lines.append(arguments.log, [done])
    runs = json_lines.read(arguments.log, Run)
    print(summary(runs))
    return 0 if runs and all(one.code == 0 for one in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
