"""The rows that both the terminal and the page show: groups, calibration, interruptions, joins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, get_args

from loadtest.definition.scenario import Metric
from loadtest.net.calibration import Calibration, CalibrationRow, Quantity, Way
from loadtest.report.series import clients_of, group_names
from loadtest.report.words import amount, meaning, number
from loadtest.result import ClientResult, Interruption, JoinTimes, Outcome, RunResult

# Where more is better, the worst client has the least.
MORE_IS_BETTER: Final = frozenset(
    {
        Metric.DELIVERED_RATIO,
        Metric.PICTURES,
        Metric.RECEIVED_KBPS,
        Metric.SETTLED_HEIGHT,
        Metric.AUDIO_MARKED_RATIO,
    }
)
# What a reader looks at first; the page has them all.
KEY_METRICS: Final = (
    Metric.JOIN_MS,
    Metric.FIRST_VIDEO_MS,
    Metric.LATENCY_P50_MS,
    Metric.LATENCY_P95_MS,
    Metric.JITTER_BUFFER_MS,
    Metric.AGE_P95_MS,
    Metric.LONGEST_FREEZE_MS,
    Metric.DELIVERED_RATIO,
    Metric.SETTLED_HEIGHT,
    Metric.RECEIVED_KBPS,
    Metric.LOST_RATIO,
    Metric.AUDIO_MARKED_RATIO,
)


@dataclass(frozen=True)
class MetricRow:
    """One metric of one group: the median client, and the worst with its name."""

    group: str
    metric: Metric
    median: float
    worst: float
    worst_client: str

    @property
    def meaning(self) -> str:
        return meaning(self.metric)


def metric_rows(result: RunResult, metrics: Sequence[Metric] = tuple(Metric)) -> list[MetricRow]:
    """Every metric that any client of a group has, group by group."""
    return [
        row
        for group in group_names(result)
        for metric in metrics
        if (row := metric_row(group, metric, clients_of(result, group))) is not None
    ]


def metric_row(group: str, metric: Metric, clients: Sequence[ClientResult]) -> MetricRow | None:
    """One row; None where no client has the metric."""
    found = {client.name: client.metrics[metric] for client in clients if metric in client.metrics}
    if not found:
        return None
    worst = (min if metric in MORE_IS_BETTER else max)(found, key=lambda name: found[name])
    return MetricRow(group, metric, median(found.values()), found[worst], worst)


@dataclass(frozen=True)
class GroupRow:
    """A group in one line: its name, how many of its clients are whole, and its key metrics as texts."""

    group: str
    profile: str
    clients: str
    values: tuple[str, ...]


def key_metrics(result: RunResult) -> tuple[Metric, ...]:
    """Those of the key metrics that any client of this run has."""
    present = {metric for client in result.clients for metric in client.metrics}
    return tuple(metric for metric in KEY_METRICS if metric in present)


def group_rows(result: RunResult, metrics: Sequence[Metric]) -> list[GroupRow]:
    """A row per group; each value is the median client's and, where it differs, the worst one's."""
    rows = []
    for group in group_names(result):
        clients = clients_of(result, group)
        whole = sum(client.outcome is Outcome.FINISHED for client in clients)
        profiles = ", ".join(dict.fromkeys(client.profile for client in clients))
        cells = tuple(_cell(metric_row(group, metric, clients)) for metric in metrics)
        rows.append(GroupRow(group, profiles, f"{whole}/{len(clients)}", cells))
    return rows


def _cell(row: MetricRow | None) -> str:
    return "–" if row is None else both(number(row.median), number(row.worst))


def both(middle: str, worst: str) -> str:
    """The median and the worst, or one where they are alike."""
    return middle if middle == worst else f"{middle} · {worst}"


@dataclass(frozen=True)
class JoinPart:
    """One part of joining over the clients of a group, in milliseconds."""

    group: str
    part: str
    median_ms: float
    worst_ms: float
    worst_client: str

    @property
    def text(self) -> str:
        return both(f"{self.median_ms:.0f}", f"{self.worst_ms:.0f}")


_JOIN_PARTS: Final[tuple[tuple[str, Callable[[JoinTimes], float | None]], ...]] = (
    ("token", lambda join: join.token_ms),
    ("signalling", lambda join: join.signalling_ms),
    ("ICE + DTLS", lambda join: join.ice_ms),
    ("first picture", lambda join: join.first_video_ms),
    ("first sound", lambda join: join.first_audio_ms),
)


def join_parts(result: RunResult) -> list[JoinPart]:
    """The join split of every group."""
    parts = []
    for group in group_names(result):
        for name, part in _JOIN_PARTS:
            times = {c.name: ms for c in clients_of(result, group) if (ms := part(c.join)) is not None}
            if times:
                worst = max(times, key=lambda client: times[client])
                parts.append(JoinPart(group, name, median(times.values()), times[worst], worst))
    return parts


QUANTITIES: Final[dict[Quantity, str]] = {
    "delay_ms": "one-way delay, ms",
    "jitter_ms": "jitter, ms",
    "loss_percent": "loss, %",
    "capacity_kbps": "capacity, kbit/s",
}


@dataclass(frozen=True)
class CalibrationCell:
    """What was requested and what was achieved, with the tolerance."""

    text: str
    ok: bool


@dataclass(frozen=True)
class CalibrationLine:
    """One direction of a profile: a cell for each of `QUANTITIES`, None for one that is left free."""

    where: str
    cells: tuple[CalibrationCell | None, ...]

    @property
    def ok(self) -> bool:
        return all(cell is None or cell.ok for cell in self.cells)


def calibration_lines(calibrations: Iterable[Calibration]) -> list[CalibrationLine]:
    """A line for each direction of each profile; a profile that two groups share is there once."""
    once = {calibration.profile: calibration for calibration in calibrations}
    return [
        CalibrationLine(
            f"{profile} {way}",
            tuple(_calibration_cell(found.rows, way, quantity) for quantity in QUANTITIES),
        )
        for profile, found in once.items()
        for way in get_args(Way)
        if any(row.direction == way for row in found.rows)
    ]


def _calibration_cell(rows: Sequence[CalibrationRow], way: Way, quantity: Quantity) -> CalibrationCell | None:
    row = next((row for row in rows if (row.direction, row.quantity) == (way, quantity)), None)
    if row is None:
        return None
    # No more digits than the tolerance gives a meaning to.
    digits = 0 if row.tolerance >= 10 else 1 if row.tolerance >= 1 else 2
    achieved = "nothing" if row.achieved is None else f"{row.achieved:.{digits}f}"
    return CalibrationCell(f"{number(row.requested)}→{achieved} ±{row.tolerance:.{digits}f}", row.ok)


def calibrations_of(result: RunResult) -> list[Calibration]:
    """Those of the run's links."""
    return [link.calibration for link in result.links if link.calibration is not None]


@dataclass(frozen=True)
class InterruptionRow:
    """One action over the clients that it hit."""

    action: str
    at_s: float
    clients: int
    never: int
    median_ms: float | None
    worst_ms: float | None
    worst_client: str
    details: str

    @property
    def recovery(self) -> str:
        if self.median_ms is None:
            return "never"
        lost = f", {self.never} never" if self.never else ""
        return f"{amount('_ms', self.median_ms)} (worst {amount('_ms', self.worst_ms)}{lost})"


def interruption_rows(result: RunResult) -> list[InterruptionRow]:
    """Actions in their order; clients' own notes of one action, some seconds apart, are one row."""
    found: dict[tuple[str, int], list[tuple[str, Interruption]]] = {}
    for client in result.clients:
        times: dict[str, int] = {}
        for one in client.interruptions:
            # The same action may be taken more than once: the n-th of each client belong together.
            times[one.action] = times.get(one.action, 0) + 1
            found.setdefault((one.action, times[one.action]), []).append((client.name, one))
    rows = [_interruption(action, hits) for (action, _), hits in found.items()]
    return sorted(rows, key=lambda row: row.at_s)


def _interruption(action: str, hits: Sequence[tuple[str, Interruption]]) -> InterruptionRow:
    recovered = {name: one.recovery_ms for name, one in hits if one.recovery_ms is not None}
    lost = [name for name, one in hits if one.recovery_ms is None]
    worst = max(recovered, key=lambda name: recovered[name]) if recovered else ""
    return InterruptionRow(
        action=action,
        at_s=min(one.at_s for _, one in hits),
        clients=len(hits),
        never=len(lost),
        median_ms=median(recovered.values()) if recovered else None,
        worst_ms=recovered[worst] if recovered else None,
        worst_client=lost[0] if lost else worst,
        details=", ".join(dict.fromkeys(one.detail for _, one in hits if one.detail)),
    )
