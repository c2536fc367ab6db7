"""Amounts with their units, and the verdict in words. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadtest.definition.scenario import METRICS, RUN_METRICS, Group, Metric, RunMetric, Scenario
from loadtest.result import ApiResult, Check, GeneratorSample, RecordingResult, RunResult, Verdict

_UNITS: Final = {"_ms": "ms", "_s": "s", "_kbps": "kbit/s", "_ratio": "", "_height": "px"}
# Per second is no time.
_NO_UNIT: Final = ("_per_s",)
_THE_SAME: Final = "the same, "
_NAMES: Final = sorted([*Metric, *RunMetric], key=len, reverse=True)


def number(value: float) -> str:
    """Four digits at most after what matters: `3412`, `12.3`, `0.974`."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def unit_of(name: str) -> str:
    """The unit that a metric's name ends in; empty for a count or a ratio."""
    if name.endswith(_NO_UNIT):
        return ""
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def amount(name: str, value: float | None) -> str:
    """A metric's value with its unit; a dash where there is none."""
    if value is None:
        return "–"
    return f"{number(value)} {unit_of(name)}".rstrip()


def meaning(metric: Metric | RunMetric) -> str:
    """What a metric is, on its own: its own list says "the same" where it follows another."""
    whole = ""
    for name, said in (*METRICS.items(), *RUN_METRICS.items()):
        if not said.startswith(_THE_SAME):
            whole = re.split(r"[;,:] ", said)[0]
        if name == metric:
            return f"{whole}, {said.removeprefix(_THE_SAME)}" if said.startswith(_THE_SAME) else said
    raise KeyError(metric)


def metric_in(threshold: str) -> str:
    """The metric that a threshold's text names; empty where it names none."""
    words = threshold.replace(":", " ").split()
    return next((str(name) for name in _NAMES if name in words), "")


def check_value(check: Check) -> str:
    """What was measured, with its unit; a dash for a check of no metric, such as a client that died."""
    metric = metric_in(check.threshold)
    return amount(metric, check.value) if metric else "–"


def count(number_of: int, one: str, many: str = "") -> str:
    """`1 client`, `2 clients`."""
    return f"{number_of} {one if number_of == 1 else many or one + 's'}"


def one_line(text: str) -> str:
    """`text` on one line, without what moves a terminal's cursor: reasons come from other programs."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `1 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 // 60 else "")


def missed(result: RunResult) -> tuple[Check, ...]:
    """The checks that did not hold."""
    return tuple(check for check in result.checks if not check.passed)


def headline(result: RunResult) -> str:
    """The verdict in one line."""
    checks, broken = len(result.checks), len(missed(result))
    match result.verdict:
        case Verdict.PASSED:
            return (
                f"PASSED: {checks} of {count(checks, 'check')} held"
                if checks
                else "PASSED: nothing was checked"
            )
        case Verdict.FAILED:
            return f"FAILED: {broken} of {count(checks, 'check')} missed"
        case Verdict.INVALID:
            return "INVALID: these figures prove nothing, neither good nor bad"
        case Verdict.COULD_NOT_RUN:
            return f"COULD NOT RUN: {result.problem or 'no reason was given'}"


def short_verdict(result: RunResult) -> str:
    """The verdict alone, as a title has it."""
    return result.verdict.value.upper().replace("-", " ")


def check_limit(check: Check) -> str:
    """The limit with its unit; a dash likewise."""
    metric = metric_in(check.threshold)
    return amount(metric, check.limit) if metric else "–"


def missed_check(check: Check) -> str:
    """A missed check in one line: what, how much, who, why."""
    measured = f" was {check_value(check)}" if check.value is not None else ""
    who = f" ({check.worst})" if check.worst else ""
    why = f": {check.reason}" if check.reason else ""
    return f"{check.threshold}{measured}{who}{why}"


def what_ran(result: RunResult) -> str:
    """Scenario, profile, when and for how long."""
    return (
        f"{result.scenario.name} on {result.profile}, {result.started:%Y-%m-%d %H:%M} UTC, "
        f"{duration(result.lasted_s)}, {count(len(result.clients), 'client')}"
    )


def scenario_sentence(scenario: Scenario) -> str:
    """What was to run, in one line."""
    parts = [_group_words(group) for group in scenario.groups]
    if scenario.api:
        parts.append(f"{number(scenario.api.per_s)} token requests per second")
    if scenario.ramp:
        ramp = scenario.ramp
        parts.append(f"{ramp.group or 'requests per second'} from {ramp.start} by {ramp.step} to {ramp.most}")
    rooms = f" in {scenario.rooms} rooms" if scenario.rooms > 1 else ""
    return f"{'; '.join(parts)}{rooms}; {duration(scenario.duration_s)} measured"


def _group_words(group: Group) -> str:
    publish = group.publish
    sends = []
    if publish:
        cameras = (("camera", publish.camera), ("screen", publish.screen))
        sends = [f"{kind} {c.width}×{c.height} at {c.fps}/s {c.codec}" for kind, c in cameras if c]
        sends += ["microphone"] if publish.microphone else []
    doing = (["sending " + " and ".join(sends)] if sends else []) + (["watching"] if group.subscribe else [])
    return f"{group.count} {group.name} {' and '.join(doing)}".rstrip()


def stolen(samples: Sequence[GeneratorSample]) -> str:
    """What the machine's host kept back, to follow how busy it was; empty where that is next to nothing."""
    most = max((sample.stolen_ratio for sample in samples), default=0.0)
    return f" (of this, {most:.0%} at most by others on its host: steal)" if most >= 0.01 else ""


def recording_sentence(recording: RecordingResult) -> str:
    """The recording in one line."""
    media = recording.media
    if media is None:
        return recording.problem or "The recording was not evaluated."
    start = "" if recording.start_ms is None else f"began after {recording.start_ms / 1000:.1f} s, "
    saved = "" if recording.save_ms is None else f"saved {recording.save_ms / 1000:.1f} s after the stop, "
    still = f"longest freeze {media.longest_freeze_ms:.0f} ms" if media.freezes else "no freeze"
    return (
        f"{recording.egress_id}: {start}{saved}{media.duration_s:.1f} s of {media.width}x{media.height}, "
        f"{media.size_bytes / 1e6:.1f} MB; {media.delivered} of {media.sent} frames, {still}, "
        f"tones in {media.tones_ratio:.0%} of the sound."
    )


def api_sentence(api: ApiResult) -> str:
    """The API load in one line."""
    latency = api.latency_ms
    figures = (
        f"p50 {latency.p50:.0f} ms, p95 {latency.p95:.0f} ms, p99 {latency.p99:.0f} ms, "
        f"largest {latency.maximum:.0f} ms from when each was due"
        if latency
        else "no answer came"
    )
    failed = sum(api.errors.values())
    late = f"; the generator itself was late by {api.late_ms.p99:.1f} ms at p99" if api.late_ms else ""
    return (
        f"{api.requests} requests: {number(api.offered_per_s)} per second were due, "
        f"{number(api.achieved_per_s)} per second were answered, {count(failed, 'error')}; {figures}{late}."
    )
