"""Judging a run: each threshold against the worst client that it is about, and every client's end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.definition.scenario import Metric, RunMetric, Threshold
from loadtest.judging.facts import ClientFacts, JudgedClient, RunFacts
from loadtest.judging.metrics import measure
from loadtest.judging.named_limits import Resolved, resolve
from loadtest.judging.not_measured import NotMeasured
from loadtest.judging.run_metrics import measure_run
from loadtest.result import Check, ClientResult, Outcome, RecordingResult

_ENDED: Final = {Outcome.FAILED: "failed", Outcome.DIED: "died"}


def check(
    thresholds: Iterable[Threshold], clients: Sequence[JudgedClient], run: RunFacts, profile: str
) -> tuple[Check, ...]:
    """Each threshold that applies, judged. One whose `profiles` name no client's is left out.

    Args:
        profile: the run's; it is what `profiles` means in a threshold on the whole run.
    """
    checks: list[Check] = []
    for threshold in thresholds:
        if isinstance(threshold.metric, RunMetric):
            if not threshold.profiles or profile in threshold.profiles:
                checks.append(_of_the_run(threshold, threshold.metric, run))
            continue
        group = [client for client in clients if client.result.group == threshold.group]
        meant = [c for c in group if not threshold.profiles or c.result.profile in threshold.profiles]
        if meant or not group:
            checks.append(_of_clients(threshold, threshold.metric, meant))
    return tuple(checks)


def check_ends(clients: Iterable[ClientResult]) -> tuple[Check, ...]:
    """One failed check for each client that did not do as it was told to its end; else one passed check."""
    lost = [
        Check(
            threshold=f"{client.name} runs to its end",
            passed=False,
            value=None,
            limit=0,
            worst=client.name,
            reason=f"client {client.name} {_ENDED[client.outcome]}: {client.reason or 'it gave no reason'}",
        )
        for client in clients
        if client.outcome in _ENDED
    ]
    return tuple(lost) or (Check(threshold="every client runs to its end", passed=True, value=0, limit=0),)


def check_recording(recording: RecordingResult) -> Check:
    """Whether there is a complete file in which the marker's frames come in their order."""
    fault = _fault_of(recording)
    return Check(
        threshold="the recording is complete and its frames are in order",
        passed=not fault,
        value=None,
        limit=0,
        worst=recording.egress_id,
        reason=fault,
    )


def _fault_of(recording: RecordingResult) -> str:
    """A sentence; empty for a recording without a fault."""
    media = recording.media
    if recording.problem:
        return recording.problem
    if media is None:
        return "the recording was not evaluated: the run ended early"
    if not media.delivered:
        return f"no frame of {recording.key} has a readable marker"
    if media.out_of_order:
        return f"{media.out_of_order} frames of {recording.key} come after a later one"
    return ""


@dataclass(frozen=True)
class _Judged:
    """One client against one threshold.

    Attributes:
        margin: how far the value is on the right side; minus infinity where there is none.
    """

    name: str
    value: float | None
    limit: Resolved
    margin: float
    reason: str


def _of_clients(threshold: Threshold, metric: Metric, clients: Sequence[JudgedClient]) -> Check:
    if not clients:
        reason = f"no client of group {threshold.group} was there to judge"
        return Check(
            threshold=str(threshold), passed=False, value=None, limit=_limit(threshold).value, reason=reason
        )
    judged = [_judge(threshold, metric, client) for client in clients]
    worst = min(judged, key=lambda each: each.margin)
    missed = [each for each in judged if each.margin < 0]
    return Check(
        threshold=str(threshold),
        passed=not missed,
        value=worst.value,
        limit=worst.limit.value,
        limit_parts=worst.limit.parts,
        worst=worst.name,
        reason=_in_a_sentence(worst, len(missed), len(judged)) if missed else "",
    )


def _judge(threshold: Threshold, metric: Metric, client: JudgedClient) -> _Judged:
    name = client.result.name
    limit = _limit(threshold, client.facts)
    try:
        value = measure(metric, client)
    except NotMeasured as error:
        return _Judged(name, None, limit, float("-inf"), str(error))
    margin = _margin(threshold, value, limit)
    return _Judged(name, value, limit, margin, _missed(threshold, name, value, limit))


def _of_the_run(threshold: Threshold, metric: RunMetric, run: RunFacts) -> Check:
    limit = _limit(threshold)
    try:
        value = measure_run(metric, run)
    except NotMeasured as error:
        return Check(threshold=str(threshold), passed=False, value=None, limit=limit.value, reason=str(error))
    passed = _margin(threshold, value, limit) >= 0
    reason = "" if passed else _missed(threshold, "the run", value, limit)
    return Check(threshold=str(threshold), passed=passed, value=value, limit=limit.value, reason=reason)


def _limit(threshold: Threshold, facts: ClientFacts | None = None) -> Resolved:
    """The threshold's limit; a named one is of a client, and 0 where there is none to resolve it for."""
    limit = threshold.max if threshold.max is not None else threshold.min
    if isinstance(limit, str):
        return resolve(limit, facts) if facts is not None else Resolved(0.0)
    return Resolved(float(limit or 0))


def _margin(threshold: Threshold, value: float, limit: Resolved) -> float:
    return limit.value - value if threshold.max is not None else value - limit.value


def _missed(threshold: Threshold, name: str, value: float, limit: Resolved) -> str:
    bound = "at most" if threshold.max is not None else "at least"
    parts = f": {limit.parts}" if limit.parts else ""
    return f"{name} had {_shown(value)}, and {bound} {_shown(limit.value)} is allowed{parts}"


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _in_a_sentence(worst: _Judged, missed: int, judged: int) -> str:
    return worst.reason if judged == 1 else f"{worst.reason} ({missed} of {judged} clients missed it)"
