"""The summary at the end of a run, on a terminal: the verdict, what broke, then everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadtest.definition.scenario import RunMetric
from loadtest.net.calibration import Calibration
from loadtest.report import tables, words
from loadtest.report.advice import advice
from loadtest.report.compare import Comparison
from loadtest.result import RunResult, Verdict

_COLOURS: Final = {
    Verdict.PASSED: "bold white on dark_green",
    Verdict.FAILED: "bold white on red3",
    Verdict.INVALID: "bold black on orange1",
    Verdict.COULD_NOT_RUN: "bold white on red3",
}
_MOST_COMPARED = 12


def print_summary(
    console: Console,
    result: RunResult,
    files: Mapping[str, Path],
    comparison: Comparison | None = None,
    not_compared: str = "",
) -> None:
    """Write the summary.

    Args:
        files: of the reports, by what they are.
        comparison: with an earlier run, if one was asked for.
        not_compared: why a comparison that was asked for is not there.
    """
    console.print(Group(*_parts(result, comparison, not_compared)), Text())
    for name, value in (*files.items(), ("again", result.command)):
        # Not wrapped and not cut, so that it can be copied.
        console.print(Text.assemble((f"{name:<8}", "dim"), str(value)), soft_wrap=True)


def _parts(result: RunResult, comparison: Comparison | None, not_compared: str) -> Iterator[RenderableType]:
    yield Text()
    yield Text(f" {words.one_line(words.headline(result))} ", style=_COLOURS[result.verdict])
    yield Text(result.scenario.title)
    yield Text(words.what_ran(result), style="dim")
    if result.interrupted:
        yield Text("It was interrupted; this is what there was by then.", style="yellow")
    yield from (_bullet(reason, "yellow") for reason in result.invalid)
    failed = words.missed(result)
    if failed and result.verdict is not Verdict.INVALID:
        yield Text()
        yield _failed(result)
    elif failed:
        yield Text(f"({words.count(len(failed), 'check')} missed, which in an invalid run says nothing)")
    sentences = advice(result)
    if sentences:
        yield _heading("Look next at")
        yield from (_bullet(sentence) for sentence in sentences)
    if result.verdict is not Verdict.COULD_NOT_RUN:
        yield from _figures(result)
    if comparison:
        yield from comparison_parts(comparison)
    elif not_compared:
        yield _heading("Not compared with the baseline")
        yield Text(not_compared, style="yellow")
    if result.notes:
        yield _heading("Worth knowing")
        yield from (_bullet(note) for note in result.notes)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _bullet(text: str, style: str = "") -> Padding:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("•", style=style), Text(words.one_line(text), style=style, overflow="fold"))
    return Padding(grid, (0, 0, 0, 1))


def _table(*columns: str, numbers: int = 0) -> Table:
    """A table whose last `numbers` columns are numbers."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        is_number = index >= len(columns) - numbers
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    return table


def _failed(result: RunResult) -> Table:
    table = _table("missed", "worst client", "value", "allowed", numbers=2)
    for check in words.missed(result):
        table.add_row(
            Text.assemble(("✗ ", "bold red"), (check.threshold, "bold")),
            Text(check.worst),
            Text(words.check_value(check), style="bold red"),
            words.check_limit(check),
        )
        if check.reason:
            table.add_row(Padding(Text(words.one_line(check.reason)), (0, 0, 0, 2)))
    return table


def _figures(result: RunResult) -> Iterator[RenderableType]:
    calibrations = tables.calibrations_of(result)
    if calibrations:
        yield _heading("Links: requested → achieved ± tolerance")
        yield calibration_table(calibrations)
    yield from _groups(result)
    yield from _joins(result)
    yield from _interruptions(result)
    if result.api:
        yield _heading("API")
        yield Text(words.api_sentence(result.api))
        yield from (_bullet(f"{kind}: {times} times", "red") for kind, times in result.api.errors.items())
    if result.recording:
        yield _heading("Recording")
        yield Text(words.recording_sentence(result.recording))
    if result.ramp:
        yield _heading("Limit")
        yield Text(_ramp(result))
    yield from _machines(result)


def calibration_table(calibrations: list[Calibration]) -> Table:
    """Requested against achieved, a line per direction; also for the live display."""
    table = _table("link", *(name.replace(", ", "\n") for name in tables.QUANTITIES.values()), "", numbers=5)
    for line in tables.calibration_lines(calibrations):
        cells = [
            Text("–" if cell is None else cell.text, style="" if cell is None or cell.ok else "bold red")
            for cell in line.cells
        ]
        table.add_row(Text(line.where), *cells, Text("✓", "green") if line.ok else Text("✗", "bold red"))
    return table


def _groups(result: RunResult) -> Iterator[RenderableType]:
    metrics = tables.key_metrics(result)
    if not result.clients:
        return
    yield _heading("Groups: median client · worst, where they differ")
    rows = tables.group_rows(result, metrics)
    # Groups stand side by side: a dozen metrics beside each other fit on no terminal, three groups do.
    table = _table("", *(f"{row.group}\n{row.profile}" for row in rows), numbers=len(rows))
    table.add_row("clients that ran to their end", *(row.clients for row in rows))
    for index, metric in enumerate(metrics):
        table.add_row(metric.value, *(row.values[index] for row in rows))
    yield table


def _joins(result: RunResult) -> Iterator[RenderableType]:
    parts = tables.join_parts(result)
    if not parts:
        return
    yield _heading("Joining, ms: median client · worst")
    names = list(dict.fromkeys(part.part for part in parts))
    table = _table("", *names, numbers=len(names))
    for group in dict.fromkeys(part.group for part in parts):
        found = {part.part: part for part in parts if part.group == group}
        table.add_row(
            group,
            *(found[name].text if name in found else "–" for name in names),
        )
    yield table


def _interruptions(result: RunResult) -> Iterator[RenderableType]:
    rows = tables.interruption_rows(result)
    if not rows:
        return
    yield _heading("Interruptions: last picture before to first after")
    table = _table("action", "at", "media was back after", "worst client", "transport after")
    for row in rows:
        style = "bold red" if row.never else ""
        table.add_row(
            Text(row.action),
            words.duration(row.at_s),
            Text(row.recovery, style),
            Text(row.worst_client),
            Text(row.details),
        )
    yield table


def _ramp(result: RunResult) -> str:
    ramp = result.ramp
    if ramp is None:
        return ""
    broke = next((step for step in ramp.steps if step.broke), None)
    end = f"; {broke.size} missed {'; '.join(broke.broke)}" if broke else "; nothing broke, so there is more"
    return f"{ramp.held} {ramp.group or 'requests per second'} held{end}"


def _machines(result: RunResult) -> Iterator[RenderableType]:
    parts = []
    per_core = result.metrics.get(RunMetric.SFU_PACKETS_PER_BUSY_CORE)
    if per_core is not None:
        parts.append(f"{per_core:.0f} packets/s per busy core")
    if result.sfu:
        peak = max(result.sfu, key=lambda sample: sample.cpu_cores)
        parts.append(f"the busiest ({peak.node}) used {peak.cpu_cores:.2f} cores at most")
    if parts:
        yield _heading("SFU")
        yield Text("; ".join(parts))
    if result.generator:
        ratios = sorted(sample.cpu_ratio for sample in result.generator)
        yield Text(
            f"This machine: {ratios[len(ratios) // 2]:.0%} busy, {ratios[-1]:.0%} at most"
            f"{words.stolen(result.generator)}, of {words.count(result.environment.processors, 'processor')}"
        )


def comparison_parts(comparison: Comparison) -> Iterator[RenderableType]:
    """Both runs side by side; what is within noise is only counted."""
    yield _heading(f"Compared with {comparison.old_title}: {comparison.summary}")
    yield from (_bullet(warning, "yellow") for warning in comparison.warnings)
    changed = comparison.worse + comparison.better
    if not changed:
        return
    table = _table("", "group", "metric", "old", "new", "new/old", "noise", numbers=4)
    for row in changed[:_MOST_COMPARED]:
        style = "bold red" if row.is_worse else "green"
        table.add_row(
            Text(row.change.value, style),
            row.where or "whole run",
            row.metric.value,
            row.old_text,
            row.new_text,
            row.ratio,
            f"± {row.margin_text}",
        )
    yield table
    if len(changed) > _MOST_COMPARED:
        yield Text(f"and {len(changed) - _MOST_COMPARED} more in the report", style="dim")
