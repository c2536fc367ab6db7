"""Whether a run's figures prove anything: signs that the load was not what it claims to be. Pure.

A run is invalid where the generator, the links or the clocks were at fault, whatever the thresholds say.
What the SFU does badly is never a reason: that is what thresholds are for. So each sign here is one that
the SFU cannot cause. A publisher hands its frames to its encoder even if the network takes none; frames are
due only while the server takes the track. A process reports each second, even if nothing arrived. So if a
process reports late or not at all, it got no processor time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from loadtest.definition.scenario import Metric
from loadtest.judging.facts import JudgedClient, Window
from loadtest.judging.metrics import measure
from loadtest.judging.not_measured import NotMeasured
from loadtest.net.calibration import lateness_limits_ms
from loadtest.result import ApiResult, GeneratorSample, LinkResult, Outcome, RampResult, RampStep

_BUSY: Final = 0.95
_BUSY_SHARE: Final = 0.5
# Below this, what a processor's owner feels of it is less than what its own processes do to one another.
_STOLEN: Final = 0.2
_CAPTURED_RATIO: Final = 0.9
_LATE_RATIO: Final = 0.1
_TOLD_RATIO: Final = 0.9
_CLOCKS_MS: Final = 20.0
_EARLIEST_LATENCY_MS: Final = -5.0
_SHORTEST_S: Final = 5.0
_FEWEST_PICTURES: Final = 50
_FEWEST_REQUESTS: Final = 100
_LATE_REQUESTS_MS: Final = 50.0

_DURATION: Final = "duration_s (of a ramp: hold_s)"
_NO_PROCESSOR: Final = "its process did not get the processor time that it needs"
_LESS_LOAD: Final = "use fewer or smaller clients, or a machine with more processors"


@dataclass(frozen=True)
class Evidence:
    """What validity is judged by.

    Attributes:
        window: the measured time; of a ramp, from its first step to its last.
        clients: all that were in the run; of a ramp, in the step that it is judged by.
        sfu_shares_machine: the SFU nodes run on the machine that makes the load.
        interrupted_s: when the run was told to end before it was done; None where it was not.
    """

    window: Window
    clients: tuple[JudgedClient, ...]
    links: tuple[LinkResult, ...] = ()
    generator: tuple[GeneratorSample, ...] = ()
    api: ApiResult | None = None
    ramp: RampResult | None = None
    sfu_shares_machine: bool = False
    interrupted_s: float | None = None


def reasons(evidence: Evidence) -> tuple[str, ...]:
    """Why the run proves nothing, and what to do about it, a sentence each; empty for a valid one."""
    return (
        *_interrupted(evidence),
        *_links_differ(evidence.links),
        *_links_failed(evidence.links),
        *_emulators_were_late(evidence.links),
        *_machine_was_busy(evidence),
        *_host_took_processors(evidence),
        *_publishers_did_not_keep_up(evidence.clients),
        *_codecs_did_not_keep_up(evidence.clients),
        *_clients_did_not_tell(evidence.clients),
        *_requests_were_late(evidence.api),
        *_clocks_disagree(evidence.clients),
        *_too_little(evidence),
    )


def notes(evidence: Evidence) -> tuple[str, ...]:
    """What to know when reading the figures, though they are valid."""
    found: list[str] = []
    if evidence.sfu_shares_machine:
        found.append(
            "The SFU nodes run on the machine that makes the load: absolute figures are of both together."
        )
    ramp = evidence.ramp
    broke = [_window(step) for step in ramp.steps if step.broke] if ramp is not None else []
    if list(_busy_share(evidence.generator, broke)) and _trusted(evidence) != broke:
        found.append(
            "The machine that makes the load was saturated in the step that broke: the limit may be its own, "
            "and not the SFU's. What held, held."
        )
    return tuple(found)


def _trusted(evidence: Evidence) -> list[Window]:
    """The time over which the generator must have kept up.

    A ramp goes on until something gives, and on a shared machine that is the machine: then the sizes that
    held are still proven, by their steps. Between steps clients start, which is no measured time.
    """
    if evidence.ramp is None:
        return [evidence.window]
    steps = evidence.ramp.steps
    return [_window(step) for step in steps if not step.broke] or [_window(step) for step in steps]


def _window(step: RampStep) -> Window:
    return Window(step.at_s, step.at_s + step.lasted_s)


def _interrupted(evidence: Evidence) -> Iterator[str]:
    if evidence.interrupted_s is not None:
        yield f"It was interrupted after {evidence.interrupted_s:.0f} s: run it to its end."


def _links_differ(links: Sequence[LinkResult]) -> Iterator[str]:
    for link in links:
        if link.calibration is not None and not link.calibration.ok:
            found = "; ".join(link.calibration.reasons)
            yield (
                f"The links of {link.group} are not what profile {link.profile.name} claims: {found}. "
                "Run it again on a quieter machine; if it says so again, correct the profile."
            )


def _links_failed(links: Sequence[LinkResult]) -> Iterator[str]:
    for link in links:
        if link.fault:
            yield f"The links of {link.group} failed during the run: {link.fault}. Run it again."


def _emulators_were_late(links: Sequence[LinkResult]) -> Iterator[str]:
    for link in links:
        for_median_ms, for_last_ms = lateness_limits_ms(link.profile)
        for share, late_ms, limit_ms in (
            ("half", link.lateness_p50_ms, for_median_ms),
            ("1 %", link.lateness_p99_ms, for_last_ms),
        ):
            if late_ms is not None and late_ms > limit_ms:
                yield (
                    f"The emulator of the links of {link.group} let {share} of the packets go "
                    f"{late_ms:.1f} ms late or more, and profile {link.profile.name} allows "
                    f"{limit_ms:.1f} ms: {_LESS_LOAD}."
                )


def _machine_was_busy(evidence: Evidence) -> Iterator[str]:
    windows = _trusted(evidence)
    inside = _inside(evidence.generator, windows)
    if evidence.clients and not inside:
        yield "The generator's machine was not sampled, so nobody knows whether it kept up: run it again."
    for share in _busy_share(evidence.generator, windows):
        own = sum(sample.own_cores for sample in inside) / len(inside)
        yield (
            f"The machine that makes the load had all processors busy in {share:.0%} of the measured time "
            f"(our own processes kept {own:.1f} of them busy): end what else runs on it, or {_LESS_LOAD}."
        )


def _host_took_processors(evidence: Evidence) -> Iterator[str]:
    """Who has half of a processor is not late on average, and yet waits for the other half each time."""
    inside = _inside(evidence.generator, _trusted(evidence))
    stolen = fmean(sample.stolen_ratio for sample in inside) if inside else 0.0
    if stolen > _STOLEN:
        yield (
            f"The host of this machine gave {stolen:.0%} of its processors' time to others (steal), and "
            f"{_STOLEN:.0%} are allowed: run it again, or on a machine that shares its processors with none."
        )


def _inside(samples: Sequence[GeneratorSample], windows: Sequence[Window]) -> list[GeneratorSample]:
    return [sample for sample in samples if any(sample.at_s in window for window in windows)]


def _busy_share(samples: Sequence[GeneratorSample], windows: Sequence[Window]) -> Iterator[float]:
    """The share of the time in which the machine was saturated, where that is too much."""
    inside = _inside(samples, windows)
    share = sum(sample.cpu_ratio >= _BUSY for sample in inside) / len(inside) if inside else 0.0
    if share > _BUSY_SHARE:
        yield share


def _publishers_did_not_keep_up(clients: Sequence[JudgedClient]) -> Iterator[str]:
    for client in clients:
        # A publisher that died or failed made fewer pictures; another check reports that.
        if client.result.outcome is not Outcome.FINISHED:
            continue
        name, made = client.result.name, client.facts.captured
        if made is not None and made.pictures < _CAPTURED_RATIO * made.due:
            yield (
                f"{name} made {made.pictures} of the {made.due} pictures that were due: "
                f"{_NO_PROCESSOR}; {_LESS_LOAD}."
            )
        elif made is not None and made.late > _LATE_RATIO * made.pictures:
            # The encoder runs in the same process and does not report when it has to wait.
            yield (
                f"{name} made {made.late} of its {made.pictures} pictures 30 ms late or later: "
                f"{_NO_PROCESSOR}; {_LESS_LOAD}."
            )
        elif client.facts.publishes and _is_silent(client):
            # What it sent in these seconds is unknown. For an audio-only publisher this is the only sign.
            yield (
                f"{name}, which publishes, reported on less than {_TOLD_RATIO:.0%} of the measured seconds: "
                f"{_NO_PROCESSOR}; {_LESS_LOAD}."
            )


def _codecs_did_not_keep_up(clients: Sequence[JudgedClient]) -> Iterator[str]:
    """Pictures are captured in time beside an encoder that leaves out most of them, and tells nobody."""
    for client in clients:
        facts = client.facts
        # A viewer whose video stood still is a finding about the server; its decoder may have stopped, too.
        if client.result.outcome is not Outcome.FINISHED or _told_seconds(client) < _TOLD_RATIO:
            continue
        coming_per_s = max((picture.camera.fps for picture in facts.pictures), default=0)
        for what, took_ms, per_s in (
            ("encode", facts.own.encode_ms, facts.sent_fps),
            ("decode", facts.own.decode_ms, coming_per_s),
        ):
            if took_ms is not None and took_ms * per_s > 1000:
                yield (
                    f"{client.result.name} took {took_ms:.0f} ms to {what} a picture, of {per_s} "
                    f"each second: {_NO_PROCESSOR}; {_LESS_LOAD}."
                )


def _clients_did_not_tell(clients: Sequence[JudgedClient]) -> Iterator[str]:
    """Whether most clients are silent, which is the machine's fault.

    One silent viewer is a finding about the server, because all others got their media. One silent publisher
    makes the run invalid: see `_publishers_did_not_keep_up`.
    """
    there = [
        client
        for client in clients
        if client.result.outcome is Outcome.FINISHED and not client.facts.comes_and_goes
    ]
    silent = [client.result.name for client in there if _is_silent(client)]
    if len(there) > 1 and len(silent) > len(there) / 2:
        yield (
            f"{len(silent)} of {len(there)} clients told of less than {_TOLD_RATIO:.0%} of the measured "
            f"seconds ({', '.join(silent[:3])}{', …' if len(silent) > 3 else ''}): {_LESS_LOAD}."
        )


def _is_silent(client: JudgedClient) -> bool:
    """Whether a client that is connected all the time left out reports."""
    return not client.facts.comes_and_goes and _told_seconds(client) < _TOLD_RATIO


def _told_seconds(client: JudgedClient) -> float:
    """The share of the window's whole seconds that it told of; one may fall on either edge."""
    window = client.facts.window
    told = sum(second.at_s in window for second in client.result.seconds)
    return (told + 1) / max(1.0, window.seconds)


def _requests_were_late(api: ApiResult | None) -> Iterator[str]:
    late = api.late_ms if api is not None else None
    if late is not None and late.p99 > _LATE_REQUESTS_MS:
        yield (
            f"1 % of the requests to the API were sent {late.p99:.0f} ms after they were due or later, and "
            f"{_LATE_REQUESTS_MS:g} ms are allowed: lower the rate, or use a machine with more processors."
        )


def _clocks_disagree(clients: Sequence[JudgedClient]) -> Iterator[str]:
    for client in clients:
        try:
            difference = measure(Metric.CLOCK_DIFFERENCE_MS, client)
        except NotMeasured:
            difference = 0.0
        if difference > _CLOCKS_MS:
            yield (
                f"The two latency clocks of {client.result.name} differ by {difference:.0f} ms, and "
                f"{_CLOCKS_MS:g} ms are allowed: one is wrong, and no latency of this run can be trusted."
            )
        earliest = min(
            (track.latency_ms.minimum for track in client.result.video if track.latency_ms is not None),
            default=0.0,
        )
        if earliest < _EARLIEST_LATENCY_MS:
            yield (
                f"{client.result.name} got a picture {-earliest:.0f} ms before it was captured: "
                "its clock is not its publisher's. Run all clients on one machine, or synchronise the clocks."
            )


def _too_little(evidence: Evidence) -> Iterator[str]:
    seconds = min((c.facts.window.seconds for c in evidence.clients), default=evidence.window.seconds)
    if evidence.interrupted_s is not None:
        return
    pictures = [picture for client in evidence.clients for picture in client.facts.pictures]
    if evidence.clients and seconds < _SHORTEST_S:
        yield f"Only {seconds:.1f} s were measured: set {_DURATION} to {_SHORTEST_S:g} or more."
    elif (
        pictures and (slowest := min(picture.camera.fps for picture in pictures)) * seconds < _FEWEST_PICTURES
    ):
        yield (
            f"{slowest} pictures per s are {slowest * seconds:.0f} in the measured {seconds:.0f} s, too few"
            f" for a 95th percentile: set {_DURATION} to {_FEWEST_PICTURES / slowest:.0f} or more."
        )
    if evidence.api is not None and evidence.api.requests < _FEWEST_REQUESTS:
        yield (
            f"{evidence.api.requests} requests are too few for a 99th percentile: set api.duration_s or "
            f"api.per_s so that they are {_FEWEST_REQUESTS} or more."
        )
