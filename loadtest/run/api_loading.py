"""The load on the API as a part of a run: in a thread, on the run's clock, and told of as it goes."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

from loadtest.api_load.process import GeneratorDied, NoTokenApi, run_api_load
from loadtest.definition.scenario import ApiLoad
from loadtest.result import ApiResult, ApiSecond
from loadtest.run.announcing import Announcer
from loadtest.run.beat import Beat
from loadtest.run.clock import RunClock
from loadtest.run.observer import ApiSecondOver
from loadtest.run.problems import CouldNotRun
from loadtest.targets.target import Target

_SPARE_SECONDS = 60.0


class ApiLoading:
    """Runs the load, in one of `threads`."""

    def __init__(
        self,
        target: Target,
        threads: Executor,
        clock: RunClock,
        announce: Announcer,
        stop: threading.Event,
    ) -> None:
        self._target = target
        self._threads = threads
        self._clock = clock
        self._announce = announce
        self._stop = stop

    def begin(self, load: ApiLoad) -> Future[ApiResult]:
        """Start it; what it gives is its result, of what was done where the run is told to stop."""
        begun_s = self._clock.now_s

        def on_the_runs_clock(second: ApiSecond) -> ApiSecond:
            return second.model_copy(update={"at_s": begun_s + second.at_s})

        def work() -> ApiResult:
            result = run_api_load(
                self._target,
                load,
                on_second=lambda second: self._announce(ApiSecondOver(on_the_runs_clock(second))),
                stop=self._stop,
            )
            return result.model_copy(update={"seconds": tuple(map(on_the_runs_clock, result.seconds))})

        return self._threads.submit(work)

    def end(self, future: Future[ApiResult], load: ApiLoad, beat: Beat) -> ApiResult:
        """Wait for the result.

        Raises:
            CouldNotRun: the target has no token API, or the generator died.
            Interrupted: the run was told to stop.
        """
        limit = load.duration_s + load.timeout_s + _SPARE_SECONDS
        beat.until(future.done, timeout=limit, what="the load on the API to end")
        try:
            return future.result()
        except (NoTokenApi, GeneratorDied) as error:
            raise CouldNotRun(str(error)) from error
