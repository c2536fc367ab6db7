"""Judging a run of several pods: what each pod found of its clients, and what only the whole shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from loadtest.definition.scenario import Threshold
from loadtest.job import shares
from loadtest.job.merge import PodPart, renamed, starts_apart_s
from loadtest.judging.facts import RunFacts, Window
from loadtest.judging.run_metrics import run_metrics
from loadtest.judging.thresholds import check, check_ends
from loadtest.result import Check, RunResult, SfuSample
from loadtest.run.ending import verdict

_STARTS_APART_S = 2.0


def judged(
    whole: RunResult, parts: Sequence[PodPart], sfu: tuple[SfuSample, ...], *, was_stopped: bool
) -> RunResult:
    """The merged run with its checks, its metrics and its verdict.

    Clients were judged in their pods, by all that is known of them there; the worst of all pods counts.
    """
    window = measured(whole, parts)
    has_measured = any(part.measured_from is not None for part in parts)
    run = RunFacts(window=window, clients=whole.clients, sfu=sfu, api=whole.api)
    thresholds = whole.scenario.thresholds
    of_the_run = check([each for each in thresholds if not each.group], (), run, whole.profile)
    of_clients = [_worst(each, found) for each in thresholds if (found := _found(each, whole, parts))]
    checks = (*of_clients, *of_the_run, *check_ends(whole.clients), *_pods(parts))
    invalid = (*whole.invalid, *_invalid(whole, parts, was_stopped=was_stopped))
    return whole.model_copy(
        update={
            "measured_from_s": window.from_s if has_measured else None,
            "measured_to_s": window.to_s if has_measured else None,
            "sfu": sfu,
            "checks": checks,
            "metrics": run_metrics(run),
            "invalid": invalid,
            "interrupted": whole.interrupted or was_stopped,
            "verdict": verdict(problem="", invalid=invalid, checks=checks),
        }
    )


def measured(whole: RunResult, parts: Sequence[PodPart]) -> Window:
    """The time that all pods measured, on the run's clock; all of the run where none said when."""
    begun = [part.measured_from for part in parts if part.measured_from is not None]
    if not begun:
        return Window(0.0, whole.lasted_s)

    def at_s(time: datetime) -> float:
        return (time - whole.started).total_seconds()

    ends = min(begun) + timedelta(seconds=whole.scenario.duration_s)
    return Window(at_s(max(begun)), min(at_s(ends), whole.lasted_s))


def _found(threshold: Threshold, whole: RunResult, parts: Sequence[PodPart]) -> list[Check]:
    """What each pod found of a threshold on clients, under their names in the whole."""
    if not threshold.group:
        return []
    return [
        _in_the_whole(found, shares.clients(whole.scenario, len(parts), part.index))
        for part in parts
        if part.result is not None
        for found in part.result.checks
        if found.threshold == str(threshold)
    ]


def _in_the_whole(found: Check, names: Mapping[str, str]) -> Check:
    return found.model_copy(
        update={"worst": names.get(found.worst, found.worst), "reason": renamed(found.reason, names)}
    )


def _worst(threshold: Threshold, found: Sequence[Check]) -> Check:
    """The check of the pod that had the worst client; one without a value is worse than any."""

    def margin(each: Check) -> float:
        if each.value is None:
            return float("-inf")
        return each.limit - each.value if threshold.max is not None else each.value - each.limit

    return min(found, key=lambda each: (each.passed, margin(each)))


def _pods(parts: Iterable[PodPart]) -> tuple[Check, ...]:
    """A failed check for each pod that did not run to its end."""
    return tuple(
        Check(
            threshold=f"{part.name} runs to its end",
            passed=False,
            value=None,
            limit=0,
            worst=part.name,
            reason=f"{part.name} on {part.node or 'no node'}: {why}",
        )
        for part in parts
        if (why := part.reason or (part.result.problem if part.result else ""))
    )


def _invalid(whole: RunResult, parts: Sequence[PodPart], *, was_stopped: bool) -> tuple[str, ...]:
    apart = starts_apart_s(parts)
    found = []
    if apart > _STARTS_APART_S:
        found.append(
            f"The pods started {apart:.1f} s apart, and {_STARTS_APART_S:g} s are allowed: "
            "synchronise the nodes' clocks, or leave out the nodes that are too busy by --node-selector."
        )
    if was_stopped and not whole.interrupted:
        found.append(f"It was interrupted after {whole.lasted_s:.0f} s: run it to its end.")
    return tuple(found)
