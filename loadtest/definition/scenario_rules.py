"""Rules of a scenario over more than one of its parts. Pure; each gives every mistake that it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from loadtest.definition.scenario import Action, Metric, NamedLimit, RunMetric, Scenario, Threshold
from loadtest.definition.wording import Mistake, one_of, shown

_OF_THE_API = frozenset(
    {
        RunMetric.API_P50_MS,
        RunMetric.API_P95_MS,
        RunMetric.API_P99_MS,
        RunMetric.API_ERROR_RATIO,
        RunMetric.API_ACHIEVED_RATIO,
        RunMetric.API_REQUESTS_PER_S,
    }
)
_RATIOS_TO_ONE = frozenset(
    {
        Metric.DELIVERED_RATIO,
        Metric.FROZEN_RATIO,
        Metric.LOST_RATIO,
        Metric.AUDIO_MARKED_RATIO,
        RunMetric.API_ERROR_RATIO,
        RunMetric.API_ACHIEVED_RATIO,
        RunMetric.RECORDING_DELIVERED_RATIO,
        RunMetric.RECORDING_AUDIO_MARKED_RATIO,
    }
)
_OF_THE_RECORDING = frozenset(metric for metric in RunMetric if metric.startswith("recording_"))
_HEIGHTS = frozenset({NamedLimit.LINK_HEIGHT, NamedLimit.TOP_HEIGHT})


def broken(scenario: Scenario) -> list[Mistake]:
    """Everything in a scenario that does not go together."""
    rules = (
        _there_is_a_load,
        _names_differ,
        _somebody_publishes,
        _actions_fit,
        _ramp_fits,
        _recording_fits,
        _thresholds_fit,
    )
    return [mistake for rule in rules for mistake in rule(scenario)]


def _there_is_a_load(scenario: Scenario) -> Iterator[Mistake]:
    if not scenario.groups and scenario.api is None:
        yield Mistake("groups", "none, and no api", "at least one group, or api")


def _names_differ(scenario: Scenario) -> Iterator[Mistake]:
    for name, count in Counter(group.name for group in scenario.groups).items():
        if count > 1:
            yield Mistake(f"groups.{name}.name", f'"{name}" {count} times', "a name that no other group has")


def _somebody_publishes(scenario: Scenario) -> Iterator[Mistake]:
    if any(
        group.publish is not None and _may_have_clients(scenario, group.name) for group in scenario.groups
    ):
        return
    for group in scenario.groups:
        if group.subscribe:
            allowed = "true only where some group with a count above 0 publishes something"
            yield Mistake(f"groups.{group.name}.subscribe", "true", allowed)


def _may_have_clients(scenario: Scenario, name: str) -> bool:
    ramped = scenario.ramp is not None and scenario.ramp.group == name
    return ramped or any(group.name == name and group.count > 0 for group in scenario.groups)


def _actions_fit(scenario: Scenario) -> Iterator[Mistake]:
    for action in scenario.actions:
        field = f"actions.{action.kind}"
        yield from _group_is_there(scenario, f"{field}.group", action.group)
        yield from _comes_in_time(scenario, field, action)


def _comes_in_time(scenario: Scenario, field: str, action: Action) -> Iterator[Mistake]:
    if action.at_s >= scenario.duration_s:
        allowed = f"less than duration_s, {scenario.duration_s:g}"
        yield Mistake(f"{field}.at_s", f"{action.at_s:g}", allowed)


def _ramp_fits(scenario: Scenario) -> Iterator[Mistake]:
    ramp = scenario.ramp
    if ramp is None:
        return
    if ramp.group:
        yield from _group_is_there(scenario, "ramp.group", ramp.group)
    elif scenario.api is None:
        yield Mistake("ramp.group", "nothing", "the name of a group, or an api whose rate grows")
    if scenario.actions:
        yield Mistake(
            "actions",
            ", ".join(action.kind for action in scenario.actions),
            "none beside a ramp: each size is to be measured under the same conditions",
        )
    if all(each.metric is RunMetric.HELD for each in scenario.thresholds):
        yield Mistake(
            "thresholds", "none that a step can break", "a threshold beside `held`: it ends the ramp"
        )


def _recording_fits(scenario: Scenario) -> Iterator[Mistake]:
    """Its marker must fill the frame, and one clock must have stamped all its frames."""
    if scenario.recording is None:
        return
    if scenario.ramp is not None:
        yield Mistake("recording", "given beside ramp", "only in a scenario without ramp")
    if scenario.rooms != 1:
        yield Mistake("rooms", str(scenario.rooms), "1 in a scenario with recording")
    publishing = [group for group in scenario.groups if group.publish is not None and group.count]
    clients = sum(group.count for group in publishing)
    if clients != 1 or publishing[0].publish is None or publishing[0].publish.camera is None:
        found = ", ".join(f"{group.name} × {group.count}" for group in publishing) or "none"
        yield Mistake(
            "groups", f"publishers {found}", "exactly one publisher with camera, as recording needs"
        )


def _thresholds_fit(scenario: Scenario) -> Iterator[Mistake]:
    for threshold in scenario.thresholds:
        field = f"thresholds.{threshold.metric}"
        if isinstance(threshold.metric, RunMetric):
            yield from _run_metric_fits(scenario, field, threshold)
        elif not threshold.group:
            names = ", ".join(group.name for group in scenario.groups)
            allowed = f"one of {names}: {threshold.metric} is of each client"
            yield Mistake(f"{field}.group", "nothing", allowed)
        else:
            yield from _group_is_there(scenario, f"{field}.group", threshold.group)
            yield from _group_can_have(scenario, field, threshold)
        yield from _limit_fits(field, threshold)


def _run_metric_fits(scenario: Scenario, field: str, threshold: Threshold) -> Iterator[Mistake]:
    if threshold.group:
        allowed = f"no group: {threshold.metric} is of the whole run"
        yield Mistake(f"{field}.group", shown(threshold.group), allowed)
    if threshold.metric is RunMetric.HELD and scenario.ramp is None:
        yield Mistake(field, str(threshold.metric), "only in a scenario with a ramp")
    if threshold.metric in _OF_THE_API and scenario.api is None:
        yield Mistake(field, str(threshold.metric), "only in a scenario with api")
    if threshold.metric in _OF_THE_RECORDING and scenario.recording is None:
        yield Mistake(field, str(threshold.metric), "only in a scenario with recording")
    if threshold.profiles and not scenario.groups:
        yield Mistake(f"{field}.profiles", shown(threshold.profiles), "none, where there are no groups")


def _group_can_have(scenario: Scenario, field: str, threshold: Threshold) -> Iterator[Mistake]:
    group = next((each for each in scenario.groups if each.name == threshold.group), None)
    joins = {Metric.JOIN_MS, Metric.TOKEN_MS, Metric.SIGNALLING_MS, Metric.ICE_MS}
    of_all = {*joins, Metric.ROUND_TRIP_MS, Metric.ENCODE_MS}
    if group is not None and not group.subscribe and threshold.metric not in of_all:
        allowed = f"a group that subscribes: {threshold.metric} is of what a client takes in"
        yield Mistake(f"{field}.group", f'"{group.name}", which does not', allowed)
    if threshold.metric is Metric.RECOVERY_MS and not scenario.actions:
        yield Mistake(field, str(threshold.metric), "only in a scenario with actions")


def _limit_fits(field: str, threshold: Threshold) -> Iterator[Mistake]:
    bound = "max" if threshold.max is not None else "min"
    limit = threshold.max if threshold.max is not None else threshold.min
    if isinstance(limit, NamedLimit):
        if isinstance(threshold.metric, RunMetric):
            yield Mistake(f"{field}.{bound}", limit, "a number: this limit is of a client's link")
        elif (limit in _HEIGHTS) != (threshold.metric is Metric.SETTLED_HEIGHT):
            kind = "settled_height" if limit in _HEIGHTS else "a time in ms, not settled_height"
            yield Mistake(f"{field}.{bound}", limit, f"a number: {limit} is a limit for {kind}")
        elif limit is NamedLimit.LATENCY_OBJECTIVE and not threshold.metric.endswith("_ms"):
            yield Mistake(f"{field}.{bound}", limit, f"a number: {limit} is in milliseconds")
    elif limit is not None and threshold.metric in _RATIOS_TO_ONE and not 0 <= limit <= 1:
        yield Mistake(f"{field}.{bound}", f"{limit:g}", "a number from 0 to 1")
    elif limit is not None and limit < 0:
        yield Mistake(f"{field}.{bound}", f"{limit:g}", "0 or more")


def _group_is_there(scenario: Scenario, field: str, name: str) -> Iterator[Mistake]:
    names = [group.name for group in scenario.groups]
    if name not in names:
        yield Mistake(field, shown(name), one_of(name, names))
