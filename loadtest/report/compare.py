"""A run against an earlier one: what got worse by more than noise. Pure functions.

Compared is what thresholds judge: the worst client of each group, and the figures of the whole run. A
change counts where it is larger than each of three: a fifth of the old value (what two runs of one
scenario on a busy machine differ by), the spread among the group's clients in the old run (clients that
are alike differ by chance alone), and the least amount that anybody would notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadtest.definition.scenario import Metric, RunMetric
from loadtest.report.series import clients_of, group_names
from loadtest.report.tables import MORE_IS_BETTER, metric_row
from loadtest.report.words import amount
from loadtest.result import RunResult, Verdict

_SHARE: Final = 0.2
_NOTICEABLE: Final = {"_ms": 20.0, "_s": 1.0, "_ratio": 0.01, "_kbps": 25.0, "_height": 1.0}
_NOTICEABLE_COUNT: Final = 2.0
# Shares of a whole: what is missing from it is what counts, 0.98 to 0.96 is twice as bad.
_OF_A_WHOLE: Final = frozenset(
    {
        Metric.DELIVERED_RATIO,
        Metric.AUDIO_MARKED_RATIO,
        RunMetric.API_ACHIEVED_RATIO,
        RunMetric.RECORDING_LENGTH_RATIO,
        RunMetric.RECORDING_DELIVERED_RATIO,
        RunMetric.RECORDING_AUDIO_MARKED_RATIO,
    }
)
_MORE_IS_BETTER_RUN: Final = frozenset(
    {
        RunMetric.API_ACHIEVED_RATIO,
        RunMetric.API_REQUESTS_PER_S,
        RunMetric.HELD,
        RunMetric.SFU_PACKETS_PER_BUSY_CORE,
        RunMetric.RECORDING_LENGTH_RATIO,
        RunMetric.RECORDING_DELIVERED_RATIO,
        RunMetric.RECORDING_AUDIO_MARKED_RATIO,
    }
)
HOW: Final = (
    "Compared are the worst client of each group and the figures of the whole run. A change counts where it "
    "is larger than a fifth of the old value, than the spread among the group's clients in the old run, and "
    "than what anybody would notice (20 ms, 1 s, 25 kbit/s, one percent point)."
)


class NotComparable(Exception):
    """The two runs are of different things; the message says which."""


class Change(StrEnum):
    """What became of a metric."""

    WORSE = "worse"
    GONE = "gone"  # the old run had a value, the new one has none: worse, too
    BETTER = "better"
    SAME = "same"
    NEW = "new"


@dataclass(frozen=True)
class ComparedMetric:
    """One metric in both runs.

    Attributes:
        where: the group; empty for the whole run.
        margin: the change that is still noise, in the metric's unit.
    """

    where: str
    metric: Metric | RunMetric
    old: float | None
    new: float | None
    margin: float
    change: Change

    @property
    def is_worse(self) -> bool:
        return self.change in (Change.WORSE, Change.GONE)

    @property
    def ratio(self) -> str:
        if self.old is None or self.new is None or self.old <= 0:
            return "–"
        ratio = self.new / self.old
        return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"

    @property
    def old_text(self) -> str:
        return amount(self.metric, self.old)

    @property
    def new_text(self) -> str:
        return amount(self.metric, self.new)

    @property
    def margin_text(self) -> str:
        return amount(self.metric, self.margin)


@dataclass(frozen=True)
class Comparison:
    """Both runs side by side; `warnings` are differences that a reader must know of."""

    old_title: str
    warnings: tuple[str, ...]
    metrics: tuple[ComparedMetric, ...]

    @property
    def worse(self) -> tuple[ComparedMetric, ...]:
        return tuple(one for one in self.metrics if one.is_worse)

    @property
    def better(self) -> tuple[ComparedMetric, ...]:
        return tuple(one for one in self.metrics if one.change is Change.BETTER)

    @property
    def summary(self) -> str:
        same = len(self.metrics) - len(self.worse) - len(self.better)
        return f"{len(self.worse)} worse, {len(self.better)} better, {same} within noise"


def check_comparable(baseline: RunResult, scenario: str, profile: str) -> None:
    """Refuse a baseline that is of something else. Worth a call before a run, too: it takes minutes.

    Raises:
        NotComparable: another scenario or profile, or a baseline without figures.
    """
    if baseline.scenario.name != scenario:
        raise NotComparable(
            f"the baseline is of scenario {baseline.scenario.name}, this run of {scenario}; "
            "allowed is one of the same scenario"
        )
    if baseline.profile != profile:
        raise NotComparable(
            f"the baseline is of profile {baseline.profile}, this run of {profile}; "
            "allowed is one of the same profile"
        )
    if baseline.verdict is Verdict.COULD_NOT_RUN:
        raise NotComparable("the baseline could not run, and has no figures; allowed is a run that has")


def compare(old: RunResult, new: RunResult) -> Comparison:
    """What changed from `old` to `new`.

    Raises:
        NotComparable: see `check_comparable`.
    """
    check_comparable(old, new.scenario.name, new.profile)
    groups = dict.fromkeys([*group_names(old), *group_names(new)])
    # How many pictures there were goes with the run's length; what was delivered of them is there anyway.
    metrics = [metric for metric in Metric if metric is not Metric.PICTURES]
    rows = [row for group in groups for metric in metrics if (row := _group_row(old, new, group, metric))]
    rows += [row for metric in RunMetric if (row := _run_row(old, new, metric))]
    title = f"{old.started:%Y-%m-%d %H:%M} UTC, commit {old.environment.commit}, {old.verdict}"
    return Comparison(title, _warnings(old, new), tuple(rows))


def _group_row(old: RunResult, new: RunResult, group: str, metric: Metric) -> ComparedMetric | None:
    before = metric_row(group, metric, clients_of(old, group))
    after = metric_row(group, metric, clients_of(new, group))
    if before is None and after is None:
        return None
    values = [c.metrics[metric] for c in clients_of(old, group) if metric in c.metrics]
    spread = max(values) - min(values) if values else 0.0
    return compared(
        group,
        metric,
        before.worst if before else None,
        after.worst if after else None,
        spread,
        more_is_better=metric in MORE_IS_BETTER,
    )


def _run_row(old: RunResult, new: RunResult, metric: RunMetric) -> ComparedMetric | None:
    before, after = old.metrics.get(metric), new.metrics.get(metric)
    if before is None and after is None:
        return None
    return compared("", metric, before, after, 0.0, more_is_better=metric in _MORE_IS_BETTER_RUN)


def compared(
    where: str,
    metric: Metric | RunMetric,
    old: float | None,
    new: float | None,
    spread: float,
    *,
    more_is_better: bool,
) -> ComparedMetric:
    """The judgement on one metric; `spread` is that among the old run's clients, in the metric's unit."""
    if old is None or new is None:
        return ComparedMetric(where, metric, old, new, 0.0, Change.NEW if old is None else Change.GONE)
    weighed = 1 - old if metric in _OF_A_WHOLE else old
    margin = max(_SHARE * abs(weighed), spread, _noticeable(metric))
    worse_by = old - new if more_is_better else new - old
    change = Change.WORSE if worse_by > margin else Change.BETTER if worse_by < -margin else Change.SAME
    return ComparedMetric(where, metric, old, new, margin, change)


def _noticeable(metric: Metric | RunMetric) -> float:
    if metric is RunMetric.API_REQUESTS_PER_S:
        return _NOTICEABLE_COUNT
    return next(
        (least for ending, least in _NOTICEABLE.items() if metric.endswith(ending)), _NOTICEABLE_COUNT
    )


def _warnings(old: RunResult, new: RunResult) -> tuple[str, ...]:
    said = [
        f"the {word} run is {result.verdict}: its figures are not to be relied on"
        for word, result in (("old", old), ("new", new))
        if result.verdict in (Verdict.INVALID, Verdict.COULD_NOT_RUN) or result.interrupted
    ]
    before, after = old.scenario.model_dump(), new.scenario.model_dump()
    changed = [key for key in before if before[key] != after[key] and key not in ("title", "thresholds")]
    if changed:
        said.append(f"the scenario was changed in between: {', '.join(changed)}")
    for name in ("machine", "kernel", "processors", "server", "sdk", "target"):
        was, now = getattr(old.environment, name), getattr(new.environment, name)
        if was != now:
            said.append(f"{name} was {was}, now {now}")
    return tuple(said)
