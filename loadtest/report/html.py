"""The report for people: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtest.definition.scenario import Metric
from loadtest.report import tables, words
from loadtest.report.advice import advice
from loadtest.report.compare import HOW, Comparison
from loadtest.report.moments import moments
from loadtest.report.plot_frame import measured
from loadtest.report.plots import pictures
from loadtest.result import ClientResult, Outcome, RunResult

_CLIENT_COLUMNS: Final[tuple[tuple[str, Metric], ...]] = (
    ("join ms", Metric.JOIN_MS),
    ("first video ms", Metric.FIRST_VIDEO_MS),
    ("p50 ms", Metric.LATENCY_P50_MS),
    ("p95 ms", Metric.LATENCY_P95_MS),
    ("age max ms", Metric.AGE_MAX_MS),
    ("longest freeze ms", Metric.LONGEST_FREEZE_MS),
    ("delivered", Metric.DELIVERED_RATIO),
    ("height", Metric.SETTLED_HEIGHT),
    ("kbit/s", Metric.RECEIVED_KBPS),
    ("lost", Metric.LOST_RATIO),
    ("sound", Metric.AUDIO_MARKED_RATIO),
)


def render_html(result: RunResult, comparison: Comparison | None = None, not_compared: str = "") -> str:
    """The whole page.

    Args:
        comparison: with an earlier run, if one was asked for.
        not_compared: why a comparison that was asked for is not there.
    """
    environment = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(words=words, tables=tables)
    columns = [
        (heading, metric)
        for heading, metric in _CLIENT_COLUMNS
        if any(metric in client.metrics for client in result.clients)
    ]
    return environment.get_template("report.html").render(
        result=result,
        failed=words.missed(result),
        held=tuple(check for check in result.checks if check.passed),
        advice=advice(result),
        calibration=tables.calibration_lines(tables.calibrations_of(result)),
        measured=measured(result),
        moments=moments(result),
        pictures=pictures(result),
        columns=columns,
        clients=sorted(result.clients, key=lambda client: client.outcome is Outcome.FINISHED),
        transport=transport,
        metric_groups=[
            (group, list(rows)) for group, rows in groupby(tables.metric_rows(result), lambda row: row.group)
        ],
        interruptions=tables.interruption_rows(result),
        comparison=comparison,
        how_compared=HOW,
        not_compared=not_compared,
    )


def transport(client: ClientResult) -> str:
    """How its media went, short: `host udp`, `relay tls`; each way once."""
    ways = [f"{path.local.type} {path.local.relay_protocol or path.local.protocol}" for path in client.paths]
    return ", ".join(dict.fromkeys(ways)) or "–"
