"""All that a run has found so far, and the one result that it makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import RunMetric, Scenario
from loadtest.judging.facts import JudgedClient, RunFacts, Window
from loadtest.judging.run_metrics import run_metrics
from loadtest.judging.thresholds import check, check_ends, check_recording
from loadtest.judging.validity import Evidence, notes, reasons
from loadtest.net.calibration import Calibration
from loadtest.result import (
    ApiResult,
    CapacityChange,
    Check,
    LinkResult,
    RampResult,
    RampStep,
    RecordingResult,
    RunResult,
)
from loadtest.run.actions import Actions
from loadtest.run.clock import RunClock
from loadtest.run.collecting import Setting, judged_clients
from loadtest.run.crew import Crew
from loadtest.run.ending import verdict
from loadtest.run.environment import environment
from loadtest.run.linking import capacity_changes, link_result
from loadtest.run.ramping import ramp_result
from loadtest.run.recording import RoomRecording
from loadtest.run.sampler import Sampler
from loadtest.run.server import UNKNOWN
from loadtest.targets.target import Target


@dataclass(frozen=True)
class Step:
    """One size of a ramp, with what it was judged by."""

    result: RampStep
    window: Window
    judged: tuple[JudgedClient, ...]
    api: ApiResult | None


@dataclass
class Found:
    """What the phases of a run have found. It is filled as they go on, and read at the end.

    Attributes:
        seed: of all random numbers of the links.
        profiles: of each group, by its name.
        calibrations: by the profile's name.
        interrupted_s: when it was told to stop; None where it was not.
        problem: what kept it from running; empty where nothing did.
        ramp_steps: None unless the scenario ramps.
    """

    scenario: Scenario
    profile: NetworkProfile
    target: Target
    seed: int
    clock: RunClock = field(default_factory=RunClock)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    server: str = UNKNOWN
    profiles: dict[str, NetworkProfile] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    crew: Crew | None = None
    actions: Actions | None = None
    sampler: Sampler | None = None
    recorder: RoomRecording | None = None
    links: tuple[LinkResult, ...] = ()
    api: ApiResult | None = None
    ramp_steps: list[Step] = field(default_factory=list)
    interrupted_s: float | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    _from_s: float | None = None
    _window: Window | None = None

    def begin_window(self) -> None:
        """The measured time, or a ramp's step of it, begins."""
        self._from_s, self._window = self.clock.now_s, None

    def end_window(self) -> Window:
        """It is over."""
        now_s = self.clock.now_s
        self._window = Window(self._from_s if self._from_s is not None else now_s, now_s)
        return self._window

    @property
    def window(self) -> Window:
        """What the figures are over: the measured time, of a ramp the last size that held or else the
        first; of a run that ended early what there was of it, or all of the run."""
        if self.ramp_steps:
            return self.decisive_step.window
        if self._window is not None:
            return self._window
        end_s = self.interrupted_s if self.interrupted_s is not None else self.clock.now_s
        return Window(self._from_s or 0.0, max(end_s, (self._from_s or 0.0) + 0.001))

    @property
    def measured(self) -> Window | None:
        """The same, but None where nothing was measured."""
        return self.window if self.ramp_steps or self._from_s is not None else None

    @property
    def decisive_step(self) -> Step:
        """Of a ramp: the last size that held, or the first one where none did."""
        held = [step for step in self.ramp_steps if not step.result.broke]
        return held[-1] if held else self.ramp_steps[0]

    @property
    def ramp(self) -> RampResult | None:
        ramp = self.scenario.ramp
        if ramp is None or not self.ramp_steps:
            return None
        return ramp_result(ramp, [step.result for step in self.ramp_steps])

    @property
    def recording(self) -> RecordingResult | None:
        return self.recorder.result if self.recorder else None

    @property
    def capacity(self) -> tuple[CapacityChange, ...]:
        """The changes of all groups' links."""
        groups = self.crew.links.items() if self.crew else ()
        return tuple(change for name, links in groups for change in capacity_changes(name, links, self.clock))

    def judged(self, window: Window) -> tuple[JudgedClient, ...]:
        """All clients so far, with their figures in this window."""
        if self.crew is None:
            return ()
        taken = self.actions.taken if self.actions else ()
        return judged_clients(self.crew.clients, Setting(window, taken, self.capacity, self.clock))

    def look_at_links(self) -> None:
        """Ask the links what they did, while they are there."""
        crew = self.crew
        if crew is None:
            return
        self.links = tuple(
            link_result(
                name, profile, crew.links.get(name, []), self.calibrations.get(profile.name), self.clock
            )
            for name, profile in self.profiles.items()
        )

    def facts(self, window: Window, judged: tuple[JudgedClient, ...], api: ApiResult | None) -> RunFacts:
        return RunFacts(
            window=window,
            clients=tuple(client.result for client in judged),
            sfu=tuple(self.sampler.sfu) if self.sampler else (),
            api=api,
            ramp=self.ramp,
            recording=self.recording,
        )


def step_checks(found: Found, judged: tuple[JudgedClient, ...], window: Window) -> tuple[Check, ...]:
    """What one size of a ramp is judged by: all thresholds but that on what held, and every client's end."""
    thresholds = [each for each in found.scenario.thresholds if each.metric is not RunMetric.HELD]
    facts = found.facts(window, judged, found.api)
    ends = [each for each in check_ends([client.result for client in judged]) if not each.passed]
    return (*check(thresholds, judged, facts, found.profile.name), *ends)


def run_result(found: Found) -> RunResult:
    """The result; its `command` is the caller's to fill in. Clients must have come to their end."""
    lasted_s = found.clock.now_s
    step = found.decisive_step if found.ramp_steps else None
    # A ramp stands for the size that held: what broke above it was wanted, and is in the steps.
    window, api = found.window, step.api if step else found.api
    judged = step.judged if step else found.judged(window)
    facts = found.facts(window, judged, api)
    # What a ramp added later is shown too, but nothing of it is judged.
    shown = found.judged(window) if step else judged
    measured_all = (
        Window(found.ramp_steps[0].window.from_s, found.ramp_steps[-1].window.to_s) if step else window
    )
    evidence = Evidence(
        window=measured_all,
        clients=judged,
        links=found.links,
        generator=tuple(found.sampler.generator) if found.sampler else (),
        api=api,
        ramp=found.ramp,
        sfu_shares_machine=found.target.network is not None,
        interrupted_s=found.interrupted_s,
    )
    checks: tuple[Check, ...] = ()
    invalid: tuple[str, ...] = ()
    if not found.problem:
        checks = check(found.scenario.thresholds, judged, facts, found.profile.name)
        if judged:
            checks += check_ends([client.result for client in judged])
        if found.recording is not None:
            checks += (check_recording(found.recording),)
        invalid = (*reasons(evidence), *(found.actions.problems if found.actions else ()))
    return RunResult(
        scenario=found.scenario,
        profile=found.profile.name,
        started=found.started,
        lasted_s=lasted_s,
        measured_from_s=found.measured.from_s if found.measured else None,
        measured_to_s=found.measured.to_s if found.measured else None,
        seed=found.seed,
        verdict=verdict(problem=found.problem, invalid=invalid, checks=checks),
        interrupted=found.interrupted_s is not None,
        invalid=invalid,
        notes=(*notes(evidence), *found.notes, *(found.sampler.problems if found.sampler else ())),
        problem=found.problem,
        command="",
        environment=environment(server=found.server, target=found.target.description),
        checks=checks,
        metrics=run_metrics(facts),
        clients=tuple(client.result for client in shown),
        links=found.links,
        sfu=facts.sfu,
        generator=evidence.generator,
        api=api,
        ramp=found.ramp,
        recording=found.recording,
    )
