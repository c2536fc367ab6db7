"""CONTRIBUTING.md lists the files with tests that `make test` leaves out."""

from __future__ import annotations

import re
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]
_HEAD = "| Where | What | What `make test` runs instead |"
_FILE = re.compile(r"`(tests/[\w/]+\.py)`")


def _listed() -> set[str]:
    """The files in the first column of the table."""
    _, _, rest = (_CHECKOUT / "CONTRIBUTING.md").read_text().partition(_HEAD)
    table, _, _ = rest.partition("\n\n")
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    return {file for cell in cells for file in _FILE.findall(cell)}


def test_files_with_long_tests_are_listed() -> None:
    mark = "pytest.mark." + "long"
    files = (_CHECKOUT / "tests").rglob("test_*.py")
    assert _listed() == {str(file.relative_to(_CHECKOUT)) for file in files if mark in file.read_text()}
