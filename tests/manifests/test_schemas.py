"""A chart refuses values that it does not know, at every depth."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.rendering import CASES, CHART_NAMES, CHARTS, Case, refusal

COMPLETE = [case for case in CASES if case.values is not None and case.values.stem == "everything-values"]


def test_every_chart_has_a_ci_file_with_everything() -> None:
    assert [case.chart for case in COMPLETE] == list(CHART_NAMES)


def _objects(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from _objects(inner, (*path, key))


@pytest.mark.parametrize("case", COMPLETE, ids=str)
def test_an_unknown_value_is_refused_at_every_depth(helm: Path, case: Case) -> None:
    assert case.values is not None
    defaults = yaml.safe_load((CHARTS / case.chart / "values.yaml").read_text())
    given = yaml.safe_load(case.values.read_text())
    assert refusal(helm, case.chart, given) is None
    paths = list(_objects(defaults))
    wrong = copy.deepcopy(given)
    for path in paths:
        place = wrong
        for key in path:
            place = place.setdefault(key, {})
        place["unknownValue"] = 1
    stderr = refusal(helm, case.chart, wrong)
    assert stderr is not None
    assert [".".join(path) for path in paths if not _refused_at(path, stderr)] == [], "these accept any key"


def _refused_at(path: tuple[str, ...], stderr: str) -> bool:
    """Whether helm, which lists all errors by their place, refuses `unknownValue` in the object at `path`."""
    place = "".join(f"/{key}" for key in path)
    # A map of labels or addresses accepts any key, but only strings as values.
    return (
        f"at '{place}': additional properties 'unknownValue' not allowed" in stderr
        or f"at '{place}/unknownValue': " in stderr
    )


@pytest.mark.parametrize("chart", CHART_NAMES)
def test_what_has_no_sensible_default_must_be_given(helm: Path, chart: str) -> None:
    stderr = refusal(helm, chart, {})
    assert stderr is not None
    assert "values don't meet the specifications of the schema" in stderr


@pytest.mark.parametrize("chart", CHART_NAMES)
def test_every_value_is_documented(chart: str) -> None:
    """A comment `# --` stands over every value that is no object of values."""
    undocumented = []
    lines = (CHARTS / chart / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith(("#", "- ")) or text.endswith(":"):
            continue
        indent = len(line) - len(line.lstrip())
        if not any(_comments(lines, above, indent) for above in range(number - 1, -1, -1)):
            undocumented.append(text)
    assert undocumented == []


def _comments(lines: list[str], above: int, indent: int) -> bool:
    """Whether line `above` is a `# --` comment of a line indented by `indent`, or of an object around it."""
    line = lines[above]
    own = len(line) - len(line.lstrip())
    return line.lstrip().startswith("# --") and own <= indent
