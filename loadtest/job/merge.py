"""One result of the pods' parts. Pure functions; what is judged on the whole is judged elsewhere."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from loadtest.definition.scenario import Scenario
from loadtest.job import distributions, shares
from loadtest.result import (
    ApiResult,
    ApiSecond,
    CapacityChange,
    ClientResult,
    Distribution,
    Environment,
    Freeze,
    GeneratorSample,
    LinkResult,
    Outcome,
    RunResult,
    Second,
    Verdict,
)

# Samples of generators that are this close are of one time; each generator takes one every 2 s.
_TOGETHER_S = 2.0
# As the engine names them: the group and a number.
_CLIENT = re.compile(r"\b[a-z][a-z0-9-]*-[0-9]+\b")


class NoParts(ValueError):
    """No pod gave a part."""


@dataclass(frozen=True)
class PodPart:
    """What one pod gave.

    Attributes:
        result: its part of the run; None where it died, or its report did not come whole.
        reason: why there is none, or only one of a run that broke off; else empty.
        node: where it ran.
        measured_from: when its measured time began; None where it did not.
        seconds: what it told of its clients while it ran, by their names within the pod.
    """

    index: int
    result: RunResult | None
    reason: str = ""
    node: str = ""
    measured_from: datetime | None = None
    seconds: Mapping[str, tuple[Second, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"pod {self.index}"


def merge(scenario: Scenario, profile: str, parts: Sequence[PodPart], *, image: str) -> RunResult:
    """The run as one: clients under the names that they have in the whole, times since the first start.

    Without checks, metrics, SFU samples and a verdict, which are the caller's.

    Args:
        image: what the pods ran; it stands in place of a commit, which nobody in a pod knows.

    Raises:
        NoParts: there is no result at all.
    """
    given = [(part, part.result) for part in parts if part.result is not None]
    if not given:
        raise NoParts("; ".join(f"{part.name}: {part.reason}" for part in parts) or "there were no pods")
    started = min(result.started for _, result in given)
    ended = max(result.started + timedelta(seconds=result.lasted_s) for _, result in given)
    return RunResult(
        scenario=scenario,
        profile=profile,
        started=started,
        lasted_s=(ended - started).total_seconds(),
        verdict=Verdict.INVALID,
        interrupted=any(result.interrupted for part, result in given if not part.reason),
        # That a pod broke off is a failed check of the whole, as a client's end is.
        invalid=_sentences(
            scenario, len(parts), ((part, result.invalid) for part, result in given if not part.reason)
        ),
        notes=_sentences(scenario, len(parts), ((part, result.notes) for part, result in given)),
        problem="",
        command="",
        environment=_environment(given, len(parts), image),
        checks=(),
        metrics={},
        clients=tuple(sorted(_clients(scenario, parts, started), key=_in_the_order_of(scenario))),
        links=_links(given, started),
        sfu=(),
        generator=_generators((result, _late(result, started)) for _, result in given),
        api=_api([(result.api, _late(result, started)) for _, result in given if result.api is not None]),
        ramp=None,
    )


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A sentence of a pod about its clients, with the names that they have in the whole."""
    return _CLIENT.sub(lambda found: names.get(found[0], found[0]), text)


def _sentences(
    scenario: Scenario, pods: int, of: Iterable[tuple[PodPart, tuple[str, ...]]]
) -> tuple[str, ...]:
    return tuple(
        f"{part.name}: {renamed(sentence, shares.clients(scenario, pods, part.index))}"
        for part, sentences in of
        for sentence in sentences
    )


def starts_apart_s(parts: Iterable[PodPart]) -> float:
    """Seconds between the first pod's start and the last one's."""
    starts = [part.result.started for part in parts if part.result is not None]
    return (max(starts) - min(starts)).total_seconds() if starts else 0.0


def _late(result: RunResult, started: datetime) -> float:
    return (result.started - started).total_seconds()


def _clients(scenario: Scenario, parts: Sequence[PodPart], started: datetime) -> Iterable[ClientResult]:
    for part in parts:
        names = shares.clients(scenario, len(parts), part.index)
        if part.result is None:
            yield from (_lost(part, local, names[local]) for local in names)
            continue
        late_s = _late(part.result, started)
        yield from (_in_the_whole(client, names, late_s) for client in part.result.clients)


def _in_the_order_of(scenario: Scenario) -> Callable[[ClientResult], tuple[int, int]]:
    """As one generator lists them: by group, and by number within it."""
    groups = [group.name for group in scenario.groups]
    return lambda client: (groups.index(client.group), int(client.name.rpartition("-")[2]))


def _lost(part: PodPart, local: str, name: str) -> ClientResult:
    """A client of which only is known what its pod told before it was gone."""
    return ClientResult(
        name=name,
        group=name.rpartition("-")[0],
        room="",
        profile="ideal",
        outcome=Outcome.DIED,
        reason=f"{part.name} is lost: {part.reason}",
        seconds=part.seconds.get(local, ()),
    )


def _in_the_whole(client: ClientResult, names: Mapping[str, str], late_s: float) -> ClientResult:
    def later(gaps: Iterable[Freeze]) -> tuple[Freeze, ...]:
        return tuple(gap.model_copy(update={"at_s": gap.at_s + late_s}) for gap in gaps)

    return client.model_copy(
        update={
            "name": names.get(client.name, client.name),
            "video": tuple(
                video.model_copy(
                    update={
                        "publisher": names.get(video.publisher, video.publisher),
                        "freezes": later(video.freezes),
                        "layers": tuple(
                            layer.model_copy(update={"at_s": layer.at_s + late_s}) for layer in video.layers
                        ),
                    }
                )
                for video in client.video
            ),
            "audio": tuple(
                audio.model_copy(
                    update={
                        "publisher": names.get(audio.publisher, audio.publisher),
                        "gaps": later(audio.gaps),
                    }
                )
                for audio in client.audio
            ),
            "interruptions": tuple(
                each.model_copy(update={"at_s": each.at_s + late_s}) for each in client.interruptions
            ),
            "seconds": tuple(each.model_copy(update={"at_s": each.at_s + late_s}) for each in client.seconds),
        }
    )


def _links(given: Sequence[tuple[PodPart, RunResult]], started: datetime) -> tuple[LinkResult, ...]:
    """One of each group: pods have no emulation, so that they differ in nothing but changes of capacity."""
    links: dict[str, LinkResult] = {}
    changes: defaultdict[str, list[CapacityChange]] = defaultdict(list)
    for _, result in given:
        late_s = _late(result, started)
        for link in result.links:
            links.setdefault(link.group, link)
            changes[link.group] += [
                change.model_copy(update={"at_s": change.at_s + late_s}) for change in link.capacity
            ]
    return tuple(link.model_copy(update={"capacity": tuple(changes[group])}) for group, link in links.items())


def _generators(given: Iterable[tuple[RunResult, float]]) -> tuple[GeneratorSample, ...]:
    """Together: the busiest machine, and the sum of what our own processes used."""
    by_time: defaultdict[int, list[GeneratorSample]] = defaultdict(list)
    for result, late_s in given:
        # One of each generator in each interval: two samples of one must not be added.
        own = {int((sample.at_s + late_s) // _TOGETHER_S): sample for sample in result.generator}
        for interval, sample in own.items():
            by_time[interval].append(sample)
    return tuple(
        GeneratorSample(
            at_s=interval * _TOGETHER_S,
            cpu_ratio=max(sample.cpu_ratio for sample in samples),
            own_cores=sum(sample.own_cores for sample in samples),
            stolen_ratio=max(sample.stolen_ratio for sample in samples),
        )
        for interval, samples in sorted(by_time.items())
    )


def _api(given: Sequence[tuple[ApiResult, float]]) -> ApiResult | None:
    parts = [part for part, _ in given]
    if not parts:
        return None
    errors: Counter[str] = Counter()
    for part in parts:
        errors.update(part.errors)
    return parts[0].model_copy(
        update={
            "offered_per_s": sum(part.offered_per_s for part in parts),
            "achieved_per_s": sum(part.achieved_per_s for part in parts),
            "requests": sum(part.requests for part in parts),
            "latency_ms": _together([part.latency_ms for part in parts]),
            "service_ms": _together([part.service_ms for part in parts]),
            "late_ms": _together([part.late_ms for part in parts]),
            "errors": dict(errors),
            "seconds": _api_seconds(second for part, late_s in given for second in _later(part, late_s)),
        }
    )


def _later(part: ApiResult, late_s: float) -> Iterable[ApiSecond]:
    return (second.model_copy(update={"at_s": second.at_s + late_s}) for second in part.seconds)


def _api_seconds(seconds: Iterable[ApiSecond]) -> tuple[ApiSecond, ...]:
    """Of each second the sums; the median of all is not known, and is no higher than the highest one's."""
    by_time: defaultdict[int, list[ApiSecond]] = defaultdict(list)
    for second in seconds:
        by_time[int(second.at_s)].append(second)
    return tuple(
        ApiSecond(
            at_s=at_s,
            answers=sum(each.answers for each in together),
            errors=sum(each.errors for each in together),
            latency_p50_ms=max(
                (s.latency_p50_ms for s in together if s.latency_p50_ms is not None), default=None
            ),
            latency_max_ms=max(
                (s.latency_max_ms for s in together if s.latency_max_ms is not None), default=None
            ),
        )
        for at_s, together in sorted(by_time.items())
    )


def _together(parts: Sequence[Distribution | None]) -> Distribution | None:
    there = [part for part in parts if part is not None]
    return distributions.merged(there) if there else None


def _environment(given: Sequence[tuple[PodPart, RunResult]], pods: int, image: str) -> Environment:
    """The first pod's; its machine with how many pods there were, and on how many nodes."""
    nodes = len({part.node for part, _ in given})
    machines = sorted({result.environment.machine for _, result in given})
    first = given[0][1].environment
    where = f"{pods} pods on {nodes} {'node' if nodes == 1 else 'nodes'}: {', '.join(machines)}"
    return first.model_copy(update={"machine": where, "commit": f"image {image.rpartition('/')[2]}"})
