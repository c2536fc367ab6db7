from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support import json_lines
from tests.support.layers import (
    LAYERS,
    WHOLE_BUDGET,
    Ledger,
    Part,
    Spent,
    directories,
    layer_of,
    over_budget,
    part_of,
    read,
    table,
    whole_over_budget,
)
from tests.support.suite import Suite, merged_junit, report

TESTS = Path(__file__).parents[2]


def test_every_directory_with_tests_is_a_layer() -> None:
    directories = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    assert directories == {layer.name for layer in LAYERS}


@pytest.mark.parametrize(
    ("file", "fixtures", "markers", "part"),
    [
        ("manifests/test_server_side", ["tmp_path"], [], Part.ISOLATED),
        ("e2e/test_calls", ["stack"], [], Part.PLATFORM),
        ("manifests/test_server_side", ["stack"], ["own_namespace"], Part.OWN_NAMESPACE),
        ("plugins/test_language_host", ["stack"], [], Part.OWN_NAMESPACE),
        ("deployment/test_edge", [], [], Part.PLATFORM),
        ("deployment/test_redis", [], ["own_namespace"], Part.OWN_NAMESPACE),
        ("deployment/test_platform", [], ["alone"], Part.ALONE),
        ("network/test_links", [], [], Part.ALONE),
        ("e2e/test_client_life", [], ["alone"], Part.ALONE),
    ],
)
def test_fixtures_and_markers_decide_the_part(
    file: str, fixtures: list[str], markers: list[str], part: Part
) -> None:
    assert part_of(f"tests/{file}.py::test_it", fixtures, markers) is part


def test_a_part_that_the_layer_does_not_allow_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"part platform; allowed for layer manifests: isolated, own-namespace"
    ):
        part_of("tests/manifests/test_pods.py::test_it", ["stack"], [])


def test_a_session_collects_only_layers_with_tests_of_its_part() -> None:
    assert directories(Part.OWN_NAMESPACE) == [
        *("tests/images", "tests/manifests", "tests/plugins", "tests/deployment")
    ]


def test_an_unknown_directory_has_no_layer() -> None:
    with pytest.raises(KeyError):
        layer_of("tests/elsewhere/test_it.py::test_it")


def test_the_ledger_adds_up_phases_and_counts_tests_once() -> None:
    ledger = Ledger()
    for seconds in (1.0, 2.0, 0.5):
        ledger.add("tests/unit/test_it.py::test_one", seconds)
    ledger.add("tests/unit/test_it.py::test_two", 0.25)
    ledger.add("tests/e2e/test_it.py::test_one", 4.0)
    assert ledger.spent == [Spent("unit", 3.75, 2), Spent("e2e", 4.0, 1)]


def test_times_of_all_parts_are_added_up(tmp_path: Path) -> None:
    file = tmp_path / "layers.jsonl"
    assert read(file) == []
    json_lines.append(file, [Spent("manifests", 10.0, 3), Spent("unit", 1.0, 1)])
    json_lines.append(file, [Spent("manifests", 5.0, 2)])
    assert read(file) == [Spent("unit", 1.0, 1), Spent("manifests", 15.0, 5)]


def test_a_layer_may_exceed_its_budget_by_thirty_percent() -> None:
    budget = layer_of("tests/deployment/test_it.py::t").budget
    assert over_budget([Spent("deployment", 1.29 * budget, 9)], 1.0) == []
    [sentence] = over_budget([Spent("deployment", 1.31 * budget, 9)], 1.0)
    assert sentence.startswith(f"layer deployment took {1.31 * budget:.0f} s; its budget is {budget:.0f} s")


def test_a_slow_machine_has_a_larger_budget_and_a_fast_one_none_smaller() -> None:
    budget = layer_of("tests/e2e/test_it.py::t").budget
    assert over_budget([Spent("e2e", 2.5 * budget, 9)], 2.0) == []
    assert over_budget([Spent("e2e", budget, 9)], 0.5) == []


def test_the_whole_run_may_exceed_its_budget_by_thirty_percent() -> None:
    assert whole_over_budget(1.29 * WHOLE_BUDGET, 1.0) == []
    assert whole_over_budget(2.5 * WHOLE_BUDGET, 2.0) == []
    [sentence] = whole_over_budget(1.31 * WHOLE_BUDGET, 1.0)
    assert sentence.startswith(f"`make test` took {1.31 * WHOLE_BUDGET:.0f} s")


@pytest.mark.parametrize("in_ci", [False, True])
def test_a_layer_over_its_budget_fails_the_run_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_ci: bool
) -> None:
    monkeypatch.setenv("CI", "1" if in_ci else "")
    run = Suite(tmp_path)
    json_lines.append(run.layer_times, [Spent("teardown", 9999.0, 1)])
    # With empty caches, the stack was up after half an hour.
    run.seconds["until the stack was up"] = 1800.0
    report(run, 1800.0 + WHOLE_BUDGET)
    assert [failure.split(" took ")[0] for failure in run.failures] == ["layer teardown"] * in_ci
    assert "`make test` took" not in capsys.readouterr().out
    report(run, 3600.0 + WHOLE_BUDGET)
    assert f"`make test` took {1950 + WHOLE_BUDGET:.0f} s without a cold start" in capsys.readouterr().out


def test_the_table_marks_a_layer_over_its_budget() -> None:
    shown = table([Spent("unit", 1.0, 2), Spent("teardown", 9999.0, 1)], 1.0, {"total": 10000.0})
    rows = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.startswith("│")}
    assert "exceeded" not in rows["unit"]
    assert "exceeded" in rows["teardown"]
    assert "10000" in rows["total"]


def test_a_run_with_long_tests_has_no_budgets() -> None:
    assert "exceeded" not in table([Spent("teardown", 9999.0, 1)], 1.0, with_budgets=False)


def test_the_junit_reports_become_one(tmp_path: Path) -> None:
    for name in ("isolated", "platform"):
        document = f'<testsuites><testsuite name="{name}"><testcase name="t"/></testsuite></testsuites>'
        (tmp_path / f"{name}.xml").write_text(document)
    merged = merged_junit([tmp_path / "isolated.xml", tmp_path / "platform.xml"]).getroot()
    assert [suite.get("name") for suite in merged] == ["isolated", "platform"]
    assert len(ET.ElementTree(merged).findall(".//testcase")) == 2
