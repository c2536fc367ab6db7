"""docs/security.md names a test for each threat: every one of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]
_PAGE = _CHECKOUT / "docs" / "security.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> list[tuple[str, ...]]:
    """The cells of each row of the page's tables, without headings."""
    lines = [line for line in _PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return [row for row in cells if row[0] != "Threat"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_the_named_tests_exist(row: tuple[str, ...]) -> None:
    assert len(row) == 3, "a row has a threat, a defence and a test"
    named = _NAMED.findall(row[2])
    assert named, f"no test is named: {row[2]}"
    for file, name in named:
        assert (_CHECKOUT / file).is_file(), file
        tree = ast.parse((_CHECKOUT / file).read_text())
        found = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert not name or name in found, f"{file} has no {name}"
