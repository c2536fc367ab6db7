from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from loadtest.client.protocol import Measured
from loadtest.client.recording import Recording
from loadtest.definition.profile import Direction, builtin_profiles
from loadtest.definition.scenario import Camera
from loadtest.judging.facts import Captured, JudgedClient, OwnTimes, Picture, Window, captured_in
from loadtest.judging.validity import Evidence, notes, reasons
from loadtest.net.calibration import Calibration
from loadtest.net.emulation.backend import Backend
from loadtest.net.link import LinkStatistics
from loadtest.result import (
    ApiResult,
    ClockComparison,
    GeneratorSample,
    LinkResult,
    Outcome,
    RampResult,
    RampStep,
    Second,
)
from tests.unit.loadtest.judging.judged import WINDOW, facts, milliseconds, publisher, seconds, track, viewer


def machine(busy: float = 0.7, begin: int = 10, end: int = 40) -> tuple[GeneratorSample, ...]:
    return tuple(GeneratorSample(at_s=at, cpu_ratio=busy, own_cores=1.2) for at in range(begin, end, 2))


def link(**changed: Any) -> LinkResult:
    usual: dict[str, Any] = {
        "group": "viewers",
        "profile": builtin_profiles()["4g"],
        "backend": "nfqueue",
        "calibration": None,
        "lateness_p99_ms": 0.4,
    }
    return LinkResult(**{**usual, **changed})


def evidence(*clients: JudgedClient, **changed: Any) -> Evidence:
    usual: dict[str, Any] = {
        "window": WINDOW,
        "clients": clients or (publisher(), viewer(), viewer("viewers-2")),
        "links": (link(),),
        "generator": machine(),
    }
    return Evidence(**{**usual, **changed})


def only_reason(found: Evidence) -> str:
    (reason,) = reasons(found)
    return reason


def test_a_good_run_is_valid() -> None:
    assert reasons(evidence()) == ()
    assert notes(evidence()) == ()


def test_a_link_that_is_not_what_it_claims() -> None:
    calibration = Calibration(
        profile="4g",
        ok=False,
        rows=(),
        reasons=("down: delay_ms 60.1 instead of 30 ± 1.4",),
        links=LinkStatistics(
            backend=Backend.NFQUEUE, lost_down=0, lost_up=0, overflowed_down=0, overflowed_up=0, emulator=None
        ),
    )
    reason = only_reason(evidence(links=(link(calibration=calibration),)))
    assert "viewers are not what profile 4g claims: down: delay_ms 60.1 instead of 30" in reason


def test_links_that_failed_during_the_run() -> None:
    """The links pass no more packets. The media that viewers miss then is not the server's fault."""
    dead = link(fault="the link's emulator ended, exit code -9")
    assert "links of viewers failed during the run: the link's emulator ended" in only_reason(
        evidence(viewer(video=()), links=(dead,))
    )


def test_an_emulator_that_was_late() -> None:
    """4g is delayed by 30 ms each way, ± 5 and ± 15: 0.75 + 0.6 + 5 may one packet of a hundred be late."""
    reason = only_reason(evidence(links=(link(lateness_p99_ms=6.4),)))
    assert reason.startswith(
        "The emulator of the links of viewers let 1 % of the packets go 6.4 ms late or more, "
        "and profile 4g allows 6.3 ms"
    )
    assert reasons(evidence(links=(link(lateness_p99_ms=6.3), link(lateness_p99_ms=None)))) == ()


@pytest.mark.parametrize(
    ("profile", "median_ms", "last_ms"), [("wifi", 0.7, 2.7), ("4g", 1.3, 6.3), ("3g", 2.2, 52.2)]
)
def test_how_late_an_emulator_may_be_is_by_what_its_profile_claims(
    profile: str, median_ms: float, last_ms: float
) -> None:
    def found(p50_ms: float, p99_ms: float) -> Evidence:
        claimed = builtin_profiles()[profile]
        return evidence(links=(link(profile=claimed, lateness_p50_ms=p50_ms, lateness_p99_ms=p99_ms),))

    assert reasons(found(median_ms, last_ms)) == ()
    assert "let half of the packets go" in only_reason(found(median_ms + 0.1, last_ms))
    assert "let 1 % of the packets go" in only_reason(found(median_ms, last_ms + 0.1))


def test_a_machine_that_is_saturated_for_most_of_the_time() -> None:
    reason = only_reason(evidence(generator=(*machine(1.0, 10, 30), *machine(0.6, 30, 40))))
    assert "all processors busy in 67% of the measured time" in reason
    assert "use fewer or smaller clients" in reason


def test_a_machine_that_is_saturated_for_less_or_before_the_window() -> None:
    assert reasons(evidence(generator=(*machine(1.0, 10, 24), *machine(0.6, 24, 40)))) == ()
    assert reasons(evidence(generator=(*machine(1.0, -40, 10), *machine(0.94)))) == ()


def test_a_machine_whose_host_gives_its_processors_to_others() -> None:
    taken = tuple(sample.model_copy(update={"stolen_ratio": 0.25}) for sample in machine())
    assert "gave 25% of its processors' time to others (steal), and 20% are allowed" in only_reason(
        evidence(generator=taken)
    )
    half_of_it = (*taken[:7], *machine()[7:])
    assert reasons(evidence(generator=half_of_it)) == ()


def test_a_machine_that_nobody_looked_at() -> None:
    assert "was not sampled" in only_reason(evidence(generator=()))


def test_a_publisher_that_does_not_make_its_pictures() -> None:
    starved = publisher(captured=Captured(pictures=400, due=450))
    assert only_reason(evidence(starved, viewer())).startswith("creator-1 made 400 of the 450 pictures")
    assert reasons(evidence(publisher(captured=Captured(pictures=406, due=450)), viewer())) == ()


def test_a_publisher_whose_track_the_server_does_not_take_owes_no_pictures() -> None:
    waiting = tuple(Measured(from_ms=at * 1000, to_ms=at * 1000 + 1000) for at in range(40))
    captured = captured_in(Recording(waiting), 10_000, 40_000)
    assert reasons(evidence(publisher(captured=captured), viewer(video=()))) == ()


@pytest.mark.parametrize(
    ("begin_s", "end_s"), [(10, 40), (2, 44), (12, 31)], ids=["window", "around it", "inside it"]
)
def test_a_publisher_without_processor_reports_once_for_all_of_that_time(begin_s: int, end_s: int) -> None:
    reports = (
        *(report(at, at + 1, captured=15) for at in range(begin_s)),
        report(begin_s, end_s, captured=4),
        *(report(at, at + 1, captured=15) for at in range(end_s, 46)),
    )
    captured = captured_in(Recording(reports), 10_000, 40_000)
    assert captured.due == 450
    told = tuple(Second(at_s=each.to_ms / 1000) for each in reports)
    reason = only_reason(evidence(publisher(captured=captured, seconds=told), viewer()))
    assert reason.startswith(f"creator-1 made {captured.pictures} of the 450 pictures that were due")


def test_a_publisher_that_has_not_reported_at_the_end_of_a_ramps_step() -> None:
    """Steps are judged while clients run. A silent client reports the missing time later or never."""
    silent = publisher(captured=captured_in(Recording(), 10_000, 40_000), seconds=seconds(5, 9))
    assert "creator-1, which publishes, reported on less than 90%" in only_reason(evidence(silent, viewer()))


def test_a_publisher_of_sound_alone_that_falls_silent_for_a_part_of_the_time() -> None:
    reported = publisher(captured=None, seconds=seconds(5, 36))
    assert reasons(evidence(reported, viewer())) == ()
    silent = publisher(captured=None, seconds=seconds(5, 35))
    assert "creator-1, which publishes, reported on less than 90%" in only_reason(evidence(silent, viewer()))
    dead = JudgedClient(silent.result.model_copy(update={"outcome": Outcome.DIED}), silent.facts)
    assert reasons(evidence(dead, viewer())) == ()


def test_a_publisher_that_makes_its_pictures_late() -> None:
    """Its encoder is then late too, and drops some: what did not come is not the server's fault."""
    starved = publisher(captured=Captured(pictures=450, due=450, late=46))
    assert only_reason(evidence(starved, viewer())).startswith(
        "creator-1 made 46 of its 450 pictures 30 ms late"
    )
    in_time = publisher(captured=Captured(pictures=450, due=450, late=45))
    assert reasons(evidence(in_time, viewer())) == ()


def test_an_encoder_that_does_not_keep_up_beside_a_capture_that_does() -> None:
    """As measured with 0.15 of a processor: all pictures of 720p in time, and a ninth of them sent."""
    starved = publisher()
    starved = replace(starved, facts=replace(starved.facts, own=OwnTimes(encode_ms=369)))
    assert only_reason(evidence(starved, viewer())).startswith(
        "creator-1 took 369 ms to encode a picture, of 15 each second"
    )
    busy = replace(starved, facts=replace(starved.facts, own=OwnTimes(encode_ms=66)))
    assert reasons(evidence(busy, viewer())) == ()


def test_a_decoder_that_does_not_keep_up() -> None:
    slow = facts(own=OwnTimes(jitter_buffer_ms=40, decode_ms=70))
    assert "viewers-1 took 70 ms to decode" in only_reason(evidence(publisher(), viewer(facts_of_it=slow)))
    stopped = viewer(facts_of_it=slow, seconds=seconds(5, 20))
    assert reasons(evidence(publisher(), stopped)) == (), "one that stood still is the test's finding"


@pytest.mark.parametrize("outcome", [Outcome.DIED, Outcome.FAILED])
def test_a_dead_publisher_is_the_tests_finding_and_no_reason(outcome: Outcome) -> None:
    dead = publisher(captured=Captured(pictures=20, due=450), outcome=outcome, seconds=seconds(5, 12))
    assert reasons(evidence(dead, viewer(video=()))) == ()


def test_a_server_that_forwards_nothing_is_the_tests_finding_and_no_reason() -> None:
    stalled = seconds(pictures=0, age_max_ms=9000, received_kbps=0)
    nothing = [viewer(f"viewers-{n}", video=(), audio=(), seconds=stalled) for n in (1, 2, 3)]
    assert reasons(evidence(publisher(), *nothing)) == ()


def test_one_silent_client_is_the_tests_finding_most_of_them_are_the_machines() -> None:
    frozen = [viewer(f"viewers-{n}", seconds=seconds(5, 20)) for n in (1, 2, 3)]
    awake = [viewer(f"viewers-{n}") for n in (4, 5)]
    assert reasons(evidence(publisher(), frozen[0], *awake)) == ()
    assert "3 of 5 clients told of less than 90%" in only_reason(evidence(*frozen, *awake))


def test_the_only_viewer_frozen_is_no_reason() -> None:
    assert reasons(evidence(publisher(), viewer(seconds=seconds(5, 20)))) == ()


def test_who_comes_and_goes_need_not_tell() -> None:
    guests = [viewer(f"g-{n}", seconds=(), facts_of_it=facts(comes_and_goes=True)) for n in (1, 2, 3)]
    assert reasons(evidence(publisher(), viewer(), *guests)) == ()


def test_clocks_that_disagree() -> None:
    off = track(
        second_clock=ClockComparison(count=9, median_difference_ms=-21, p95_absolute_difference_ms=30)
    )
    assert "clocks of viewers-1 differ by 21 ms" in only_reason(evidence(publisher(), viewer(video=(off,))))


def test_pictures_from_the_future() -> None:
    early = track(latency_ms=milliseconds(-6, 20))
    assert "6 ms before it was captured" in only_reason(evidence(publisher(), viewer(video=(early,))))
    assert reasons(evidence(publisher(), viewer(video=(track(latency_ms=milliseconds(-4, 9)),)))) == ()


def test_too_short() -> None:
    short = Window(10, 14)
    client = viewer(facts_of_it=facts(window=short))
    assert "Only 4.0 s were measured" in only_reason(evidence(client, window=short))


def test_too_few_pictures() -> None:
    slow = Picture(publisher="creator-1", source="camera", camera=Camera(fps=1), up=Direction())
    reason = only_reason(evidence(viewer(facts_of_it=facts(pictures=(slow,)))))
    assert "1 pictures per s are 30 in the measured 30 s" in reason
    assert "to 50 or more" in reason


def api(**changed: Any) -> ApiResult:
    usual: dict[str, Any] = {
        "offered_per_s": 100,
        "achieved_per_s": 100,
        "requests": 1000,
        "latency_ms": milliseconds(9000),
        "service_ms": milliseconds(10),
        "errors": {},
        "late_ms": milliseconds(1),
    }
    return ApiResult(**{**usual, **changed})


def test_an_api_alone() -> None:
    alone = Evidence(window=WINDOW, clients=(), api=api())
    assert reasons(alone) == ()


def test_a_generator_of_requests_that_is_late() -> None:
    late = Evidence(window=WINDOW, clients=(), api=api(late_ms=milliseconds(80)))
    assert "80 ms after they were due" in only_reason(late)


def test_too_few_requests() -> None:
    assert "99 requests are too few" in only_reason(Evidence(window=WINDOW, clients=(), api=api(requests=99)))


def test_interrupted() -> None:
    assert "interrupted after 12 s" in only_reason(evidence(interrupted_s=12, window=Window(10, 12)))


def ramp(*broke: Sequence[str]) -> RampResult:
    steps = tuple(
        RampStep(size=n + 1, at_s=10 + 10 * n, lasted_s=10, broke=tuple(why)) for n, why in enumerate(broke)
    )
    return RampResult(group="viewers", held=2, steps=steps)


def test_a_ramp_may_saturate_the_machine_in_the_step_that_breaks() -> None:
    held = RampStep(size=1, at_s=10, lasted_s=10, broke=())
    broke = RampStep(size=2, at_s=20, lasted_s=20, broke=("viewers: pictures ≥ 1",))
    busy_end = (*machine(0.6, 10, 20), *machine(1.0, 20, 40))
    found = evidence(ramp=RampResult(group="viewers", held=1, steps=(held, broke)), generator=busy_end)
    assert reasons(found) == ()
    (note,) = notes(found)
    assert "saturated in the step that broke" in note


def test_what_happens_between_the_steps_of_a_ramp_is_not_measured() -> None:
    apart = tuple(RampStep(size=n, at_s=10 + 15 * n, lasted_s=5, broke=()) for n in range(2))
    starting = (*machine(0.6, 10, 15), *machine(1.0, 15, 25), *machine(0.6, 25, 30))
    both = RampResult(group="viewers", held=2, steps=apart)
    assert reasons(evidence(ramp=both, generator=starting)) == ()


def test_the_clients_of_a_ramp_need_not_have_been_there_from_its_start() -> None:
    step = facts(window=Window(30, 40))
    late = [viewer(f"viewers-{n}", facts_of_it=step, seconds=seconds(29, 40)) for n in (1, 2, 3)]
    assert reasons(evidence(*late, ramp=ramp((), (), ()))) == ()


def test_a_ramp_that_was_saturated_while_it_held_proves_nothing() -> None:
    found = evidence(ramp=ramp((), (), ("viewers: pictures ≥ 1",)), generator=machine(1.0))
    assert "all processors busy" in only_reason(found)


def test_a_ramp_that_did_not_break_must_have_been_sound_to_its_end() -> None:
    found = evidence(ramp=ramp((), (), ()), generator=(*machine(0.6, 10, 20), *machine(1.0, 20, 40)))
    assert "all processors busy" in only_reason(found)


def test_sharing_the_machine_is_worth_a_note() -> None:
    (note,) = notes(evidence(sfu_shares_machine=True))
    assert "run on the machine that makes the load" in note


def report(from_s: float, to_s: float, *, captured: int, late: int = 0) -> Measured:
    """The report of a publisher with 15 frames per second about this time."""
    due = round(15 * (to_s - from_s))
    return Measured(from_ms=from_s * 1000, to_ms=to_s * 1000, due=due, captured=captured, late=late)


def test_a_report_that_is_partly_inside_counts_by_its_share() -> None:
    reports = (
        report(0, 1, captured=15, late=2),
        report(1, 3, captured=10, late=10),
        report(3, 4, captured=9),
    )
    assert captured_in(Recording(reports), 500, 2000) == Captured(pictures=12, due=22, late=6)
    assert captured_in(Recording(reports), 4000, 9000) == Captured(pictures=0, due=0)
