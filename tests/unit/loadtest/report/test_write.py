"""All reports of a run as files."""

from __future__ import annotations

from pathlib import Path

from loadtest.report.json_report import load_result
from loadtest.report.write import write_reports
from tests.unit.loadtest.report import runs


def test_all_reports_are_written_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "reports" / "now"
    files = write_reports(runs.failed(), out)
    assert sorted(path.name for path in out.iterdir()) == ["junit.xml", "report.html", "report.json"]
    assert set(files.by_name.values()) == set(out.iterdir())
    assert load_result(files.json) == runs.failed()
    assert (files.comparison, files.not_compared) == (None, "")


def test_a_baseline_is_compared_in_the_page(tmp_path: Path) -> None:
    files = write_reports(runs.failed(), tmp_path, runs.run())
    assert files.comparison is not None
    assert files.comparison.summary in files.html.read_text()


def test_a_baseline_of_something_else_costs_no_report(tmp_path: Path) -> None:
    files = write_reports(runs.run(), tmp_path, runs.run(profile="3g"))
    assert files.comparison is None
    assert "of profile 3g, this run of 4g" in files.not_compared
    assert "Not compared with the baseline" in files.html.read_text()
