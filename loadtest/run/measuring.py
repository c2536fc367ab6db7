"""The heart of a run: clients come, settle, and are measured; a ramp does so once for each size."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor

from loadtest.definition.scenario import ApiLoad, Group, Ramp
from loadtest.judging.facts import Window
from loadtest.result import RampStep
from loadtest.run.actions import Actions
from loadtest.run.announcing import Announcer
from loadtest.run.api_loading import ApiLoading
from loadtest.run.assembling import Found, Step, step_checks
from loadtest.run.beat import Beat
from loadtest.run.clients import RunningClient
from loadtest.run.crew import Crew
from loadtest.run.joining import Joining, all_wanted, has_arrived
from loadtest.run.observer import ActionTaken, PhaseStarted
from loadtest.run.plan import starting_groups
from loadtest.run.ramping import broken, next_size


class Measuring:
    """Fills `found` with windows, steps and what was done in them."""

    def __init__(
        self,
        found: Found,
        crew: Crew,
        *,
        beat: Beat,
        threads: Executor,
        announce: Announcer,
        stop: threading.Event,
    ) -> None:
        self._found = found
        self._crew = crew
        self._beat = beat
        self._announce = announce
        self._joining = Joining(found.target, threads, found.clock)
        self._actions = Actions(found.target, crew, threads, found.clock, announce)
        self._api = ApiLoading(found.target, threads, found.clock, announce, stop)
        found.actions = self._actions
        beat.chores += [self._joining.tend, self._actions.tend]

    def go(self) -> None:
        """From the first client's start to the end of the measured time.

        Raises:
            Interrupted: the run was told to stop. What was found by then is in `found`.
        """
        scenario = self._found.scenario
        clients = self._start(starting_groups(scenario))
        self._arrive(clients)
        ramp = scenario.ramp
        if ramp is None:
            self._measure()
        elif ramp.group:
            self._ramp_clients(ramp, next(g for g in scenario.groups if g.name == ramp.group))
        else:
            self._ramp_api(ramp)
        self._joining.end()

    def _start(self, groups: Sequence[Group]) -> list[RunningClient]:
        if not any(group.count for group in groups):
            return []
        self._phase("starting clients")
        return [client for group in groups for client in self._crew.add(group, group.count, self._beat)]

    def _arrive(self, clients: Sequence[RunningClient]) -> None:
        """Let them join, and wait until each has its first media or has missed it; then let it settle."""
        if not clients:
            return
        scenario = self._found.scenario
        wanted = all_wanted(clients, self._crew.plans, scenario.first_media_s)
        longest = max(each.by_s for _, each in wanted)
        self._phase("joining")
        begun_s = self._joining.begin(clients)
        self._beat.until(
            lambda: all(
                has_arrived(client, media, self._found.clock.now_s - begun_s) for client, media in wanted
            ),
            timeout=longest + 10,
            what="the clients to arrive",
        )
        self._phase("settling", scenario.settle_s)
        self._beat.hold(scenario.settle_s, what="settling")

    def _measure(self) -> None:
        scenario, recorder = self._found.scenario, self._found.recorder
        if recorder is not None and scenario.recording is not None:
            self._phase("starting the recording")
            recorder.begin(self._crew.plans[0].room, scenario.recording)
        seconds = scenario.duration_s if self._crew.clients else (scenario.api or scenario).duration_s
        self._phase("measuring", seconds)
        self._found.begin_window()
        self._crew.start_clocks()
        self._actions.begin(scenario.actions)
        load = scenario.api
        requests = self._api.begin(load) if load is not None else None
        if self._crew.clients:
            self._beat.hold(scenario.duration_s, what="measuring")
        if requests is not None and load is not None:
            self._found.api = self._api.end(requests, load, self._beat)
        self._found.end_window()
        if recorder is not None:
            self._phase("saving and evaluating the recording")
            recorder.end()

    def _ramp_clients(self, ramp: Ramp, group: Group) -> None:
        self._crew.start_clocks()
        size = ramp.start
        while True:
            window = self._hold(ramp, size)
            self._take_step(size, window)
            bigger = next_size(ramp, [step.result for step in self._found.ramp_steps])
            if bigger is None:
                return
            self._phase(f"growing {group.name} from {size} to {bigger}")
            self._arrive(self._crew.add(group, bigger - size, self._beat))
            size = bigger

    def _ramp_api(self, ramp: Ramp) -> None:
        load = self._found.scenario.api
        if load is None:
            return
        size: int | None = ramp.start
        while size is not None:
            at_this_rate: ApiLoad = load.model_copy(update={"per_s": size, "duration_s": ramp.hold_s})
            self._phase(f"measuring {size} requests per second", ramp.hold_s)
            self._found.begin_window()
            self._found.api = self._api.end(self._api.begin(at_this_rate), at_this_rate, self._beat)
            self._take_step(size, self._found.end_window())
            size = next_size(ramp, [step.result for step in self._found.ramp_steps])

    def _hold(self, ramp: Ramp, size: int) -> Window:
        self._phase(f"measuring {size} {ramp.group}", ramp.hold_s)
        self._found.begin_window()
        self._beat.hold(ramp.hold_s, what=f"measuring {size} {ramp.group}")
        return self._found.end_window()

    def _take_step(self, size: int, window: Window) -> None:
        judged = self._found.judged(window)
        missed = broken(step_checks(self._found, judged, window))
        result = RampStep(size=size, at_s=window.from_s, lasted_s=window.seconds, broke=missed)
        self._found.ramp_steps.append(Step(result, window, judged, self._found.api))
        said = f"broke {'; '.join(missed)}" if missed else "held"
        self._announce(ActionTaken(window.to_s, f"step of {size}: {said}"))

    def _phase(self, name: str, seconds: float | None = None) -> None:
        self._announce(PhaseStarted(name, seconds))
