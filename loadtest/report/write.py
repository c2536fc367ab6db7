"""All reports of a run, as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.files import write_whole
from loadtest.report.compare import Comparison, NotComparable, compare
from loadtest.report.html import render_html
from loadtest.report.json_report import to_json
from loadtest.report.junit import to_junit
from loadtest.result import RunResult


@dataclass(frozen=True)
class ReportFiles:
    """Where the reports of a run are, and what its comparison with an earlier one found.

    Attributes:
        comparison: None where none was asked for, or where the two cannot be compared.
        not_compared: why not, if one was asked for.
    """

    json: Path
    junit: Path
    html: Path
    comparison: Comparison | None
    not_compared: str

    @property
    def by_name(self) -> Mapping[str, Path]:
        """The files by the words that the terminal's summary has for them."""
        return {"page": self.html, "JSON": self.json, "JUnit": self.junit}


def write_reports(result: RunResult, out: Path, baseline: RunResult | None = None) -> ReportFiles:
    """Write report.json, junit.xml and report.html into `out`, each whole or not at all.

    A baseline of something else does not cost the run its reports: they say that it was not compared.
    `check_comparable` refuses one before a run.
    """
    comparison, not_compared = None, ""
    if baseline is not None:
        try:
            comparison = compare(baseline, result)
        except NotComparable as error:
            not_compared = str(error)
    files = ReportFiles(out / "report.json", out / "junit.xml", out / "report.html", comparison, not_compared)
    # JSON first: whatever becomes of the others, they can be drawn from it again.
    write_whole(files.json, to_json(result))
    write_whole(files.junit, to_junit(result))
    write_whole(files.html, render_html(result, comparison, not_compared))
    return files
