"""The pytest plugin that reports the time per layer and differing Debian packages at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import debian_lock
from tests.support import json_lines, layers, speed
from tests.support.layers import Ledger


class LayerTimes:
    """Adds up the time of each test's phases; prints the table, and appends it to a file if one is given.

    A failing run also names the Debian packages in our images that differ from the locked ones.
    """

    def __init__(self, file: Path | None) -> None:
        self._ledger = Ledger()
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ledger.add(report.nodeid, report.duration)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        spent = self._ledger.spent
        if self._file is not None:
            # The suite prints one table for all parts.
            json_lines.append(self._file, spent)
        elif spent:
            terminalreporter.section("time")
            terminalreporter.write(layers.table(spent, speed.slowness()))
        failed = terminalreporter.stats.get("failed") or terminalreporter.stats.get("error")
        if failed and (difference := debian_lock.warning()):
            terminalreporter.section("Debian packages")
            terminalreporter.write_line(difference)
