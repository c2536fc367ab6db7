"""From when to when a run was measured, as its result says it."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from loadtest.definition.profile import builtin_profiles
from loadtest.definition.scenario_file import builtin_scenarios
from loadtest.judging.facts import Window
from loadtest.result import RampStep
from loadtest.run.assembling import Found, Step, run_result
from loadtest.targets.target import target_of_url


def found(**more: Any) -> Found:
    with target_of_url("wss://sfu.example.com", key="key", secret=SecretStr("s" * 32)) as target:
        return Found(
            scenario=builtin_scenarios()["find-the-limit"],
            profile=builtin_profiles()["wifi"],
            target=target,
            seed=7,
            **more,
        )


def step(size: int, at_s: float, *broke: str) -> Step:
    window = Window(at_s, at_s + 10)
    return Step(RampStep(size=size, at_s=at_s, lasted_s=10, broke=broke), window, (), None)


def measured(run: Found) -> tuple[float | None, float | None]:
    result = run_result(run)
    return result.measured_from_s, result.measured_to_s


def test_a_run_that_did_not_come_to_measuring_says_so_and_has_its_seed() -> None:
    run = found(problem="no server")
    assert measured(run) == (None, None)
    assert run_result(run).seed == 7


def test_the_measured_time_is_the_windows() -> None:
    run = found()
    run.begin_window()
    window = run.end_window()
    assert measured(run) == (window.from_s, window.to_s)


def test_of_a_run_that_was_interrupted_it_is_what_there_was() -> None:
    run = found()
    run.begin_window()
    run.interrupted_s = run.clock.now_s + 3
    begin, end = measured(run)
    assert begin is not None
    assert end == run.interrupted_s > begin


def test_of_a_ramp_it_is_the_last_size_that_held() -> None:
    run = found(ramp_steps=[step(1, 20), step(2, 40), step(3, 60, "viewers: pictures ≥ 1")])
    assert measured(run) == (40, 50)
    run = found(ramp_steps=[step(1, 20, "viewers: pictures ≥ 1")])
    assert measured(run) == (20, 30)
