"""One result of several: everybody in it under one name, on one clock."""

from __future__ import annotations

import pytest

from loadtest.job.merge import NoParts, renamed, starts_apart_s
from loadtest.result import (
    ApiResult,
    ApiSecond,
    GeneratorSample,
    Outcome,
    Second,
    distribution,
)
from tests.unit.loadtest.job.parts import START, client, merged, part, result


def api(latencies: list[float], **errors: int) -> ApiResult:
    return ApiResult(
        offered_per_s=50,
        achieved_per_s=40,
        requests=len(latencies),
        latency_ms=distribution(latencies) if latencies else None,
        service_ms=None,
        late_ms=None,
        errors=errors,
        seconds=(ApiSecond(at_s=1.0, answers=len(latencies), errors=1, latency_p50_ms=5, latency_max_ms=9),),
    )


def test_clients_have_the_names_that_one_generator_would_have_given_them() -> None:
    own = (client("creator-1"), client("viewers-1", publisher="creator-1"), client("viewers-2"))
    whole = merged([part(0, result(clients=own)), part(1, result(clients=own))])
    assert [each.name for each in whole.clients] == [
        *("creator-1", "creator-2"),
        *("viewers-1", "viewers-2", "viewers-3", "viewers-4"),
    ]
    assert [video.publisher for each in whole.clients for video in each.video] == ["creator-1", "creator-2"]


def test_times_are_since_the_first_pod_started() -> None:
    own = (client("viewers-1", at_s=5.0),)
    parts = [part(0, result(late_s=0.5, clients=own)), part(1, result(clients=own))]
    whole = merged(parts)
    assert whole.started == START
    assert whole.lasted_s == 20.5
    assert [second.at_s for each in whole.clients for second in each.seconds] == [5.5, 5.0]
    assert starts_apart_s(parts) == 0.5


def test_a_lost_pod_s_clients_are_there_with_what_they_told_before() -> None:
    told = {"viewers-1": (Second(at_s=1.0), Second(at_s=2.0))}
    parts = [part(0, result()), part(1, None, reason="OOMKilled, exit code 137", seconds=told)]
    lost = {each.name: each for each in merged(parts).clients}
    assert lost.keys() == {"creator-2", "viewers-2", "viewers-4"}
    assert lost["viewers-2"].outcome is Outcome.DIED
    assert lost["viewers-2"].reason == "pod 1 is lost: OOMKilled, exit code 137"
    assert [second.at_s for second in lost["viewers-2"].seconds] == [1.0, 2.0]


def test_no_result_at_all_is_none_of_the_whole() -> None:
    with pytest.raises(NoParts, match=r"pod 0: gone; pod 1: gone too"):
        merged([part(0, None, reason="gone"), part(1, None, reason="gone too")])


def test_why_a_pod_proves_nothing_is_said_with_its_number_and_the_whole_s_names() -> None:
    parts = [part(0, result()), part(1, result(invalid=("viewers-1 made 3 of 90 pictures",)))]
    assert merged(parts).invalid == ("pod 1: viewers-2 made 3 of 90 pictures",)


def test_names_are_replaced_whole() -> None:
    names = {"viewers-1": "viewers-7", "viewers-7": "viewers-9"}
    said = "viewers-1 and viewers-11, viewers-7: my-viewers-1"
    assert renamed(said, names) == "viewers-7 and viewers-11, viewers-9: my-viewers-1"


def test_the_busiest_generator_stands_for_all_and_their_processes_add_up() -> None:
    def samples(*busy: float) -> tuple[GeneratorSample, ...]:
        return tuple(
            GeneratorSample(at_s=2.0 * number + 0.3, cpu_ratio=ratio, own_cores=1)
            for number, ratio in enumerate(busy)
        )

    parts = [part(0, result(generator=samples(0.2, 0.9))), part(1, result(generator=samples(0.5, 0.1)))]
    whole = merged(parts)
    assert [(each.cpu_ratio, each.own_cores) for each in whole.generator] == [(0.5, 2), (0.9, 2)]


def test_requests_add_up_and_their_latencies_are_of_all_of_them() -> None:
    quick, slow = [1.0] * 60, [100.0] * 40
    parts = [part(0, result(api=api(quick, timeout=1))), part(1, result(api=api(slow, timeout=2, refused=1)))]
    whole = merged(parts).api
    assert whole is not None
    assert (whole.offered_per_s, whole.achieved_per_s, whole.requests) == (100, 80, 100)
    assert whole.errors == {"timeout": 3, "refused": 1}
    assert whole.latency_ms == distribution([*quick, *slow])
    assert whole.seconds == (ApiSecond(at_s=1, answers=100, errors=2, latency_p50_ms=5, latency_max_ms=9),)


def test_a_pod_without_an_answer_leaves_the_others_latencies() -> None:
    parts = [part(0, result(api=api([]))), part(1, result(api=api([3.0])))]
    whole = merged(parts).api
    assert whole is not None
    assert whole.latency_ms == distribution([3.0])


def test_the_report_says_from_how_many_pods_and_nodes_it_is() -> None:
    whole = merged([part(0, result()), part(1, result())])
    assert whole.environment.machine == "2 pods on 2 nodes: a processor"
    assert whole.environment.commit == "image loadtest:1"
