"""The recording of a run's room: started before the measured time, ended after it, and evaluated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from common.commands import CommandFailed, run
from common.waiting import NeverHappened, wait_until
from loadtest.client.samples import now_ms
from loadtest.definition.scenario import Recording
from loadtest.marker.video import TIME_MODULUS, elapsed_ms
from loadtest.recorded.protocol import Order, Report
from loadtest.result import RecordingResult
from loadtest.run.announcing import Announcer
from loadtest.run.beat import Beat
from loadtest.run.clock import RunClock
from loadtest.run.observer import ActionTaken
from loadtest.targets.bucket import Bucket
from loadtest.targets.egress import Egress, EgressRefused, EgressState

_START_SECONDS = 60.0
_SAVE_SECONDS = 120.0
_EVALUATE_SECONDS = 600.0
_POLL_SECONDS = 0.25
_COMPLETE = "EGRESS_COMPLETE"

T = TypeVar("T")


@dataclass(frozen=True)
class _Begun:
    """A recording that runs. Times are CLOCK_MONOTONIC in ms."""

    egress_id: str
    asked_ms: float
    active_ms: float


class RoomRecording:
    """Records one room.

    Attributes:
        result: what is known so far.
    """

    def __init__(
        self,
        egress: Egress,
        bucket: Bucket,
        *,
        key: str,
        beat: Beat,
        threads: Executor,
        clock: RunClock,
        announce: Announcer,
    ) -> None:
        self.result = RecordingResult(key=key)
        self._egress = egress
        self._bucket = bucket
        self._key = key
        self._beat = beat
        self._threads = threads
        self._clock = clock
        self._announce = announce
        self._begun: _Begun | None = None
        self._evaluated = False
        self._not_deleted = ""
        self._work: Future[Any] | None = None

    def begin(self, room: str, recording: Recording) -> None:
        """Start it, and wait until LiveKit reports that it records. A refusal is in the result."""
        try:
            self._begun = self._in_thread(
                lambda: self._start(room, recording.layout), "the recording to begin"
            )
        except (EgressRefused, NeverHappened) as error:
            self._change(problem=f"the recording did not begin: {error}")
            self._say(f"FAILED: {self.result.problem}")
            return
        self._say(f"recording began: {self._begun.egress_id}")

    def end(self) -> None:
        """Stop it, wait until the file is in the bucket, and evaluate it. The result has all problems."""
        begun = self._begun
        if begun is None or self.result.problem:
            return
        stopped_ms = now_ms()
        self._change(recorded_s=(stopped_ms - begun.active_ms) / 1000)
        try:
            state = self._in_thread(lambda: self._stop(begun.egress_id), "the recording to be saved")
        except (EgressRefused, NeverHappened) as error:
            self._change(problem=f"the recording did not end: {error}")
            return
        self._change(status=state.status)
        if state.status != _COMPLETE:
            self._change(
                problem=f"the recording ended as {state.status}: {state.error or 'without a reason'}"
            )
            return
        self._change(save_ms=now_ms() - stopped_ms)
        self._say("recording saved")
        report = self._in_thread(self._evaluate, "the recording to be evaluated")
        self._evaluated, self._not_deleted = True, report.not_deleted
        self._change(media=report.media, problem=report.problem)
        if report.media is not None and report.media.first_captured_ms is not None:
            asked = round(begun.asked_ms) % TIME_MODULUS
            self._change(start_ms=elapsed_ms(asked, report.media.first_captured_ms))

    def discard(self) -> str:
        """Stop the recording of a run that ended early, and delete its file.

        Gives a sentence if the file could not be deleted, here or after it was evaluated; else an empty text.
        """
        if self._work is not None:
            # It may have been interrupted while the request was under way.
            wait([self._work], timeout=_START_SECONDS)
        if self._begun is None or self._evaluated:
            return self._not_deleted
        with suppress(EgressRefused, NeverHappened):
            self._stop(self._begun.egress_id)
        try:
            return self._evaluate().not_deleted
        except CommandFailed as error:
            return f"the recording {self._key} could not be deleted: {error}"

    def _start(self, room: str, layout: str) -> _Begun:
        asked_ms = now_ms()
        started = self._egress.start(room, layout=layout, key=self._key)
        self._change(egress_id=started.egress_id, status=started.status)
        # Known from here on, so that `discard` can stop it.
        self._begun = _Begun(started.egress_id, asked_ms, asked_ms)
        state = self._wait(started.egress_id, lambda state: state.is_active or state.is_over, _START_SECONDS)
        self._change(status=state.status)
        if state.is_over:
            raise EgressRefused(f"{state.status}: {state.error or 'without a reason'}")
        return _Begun(started.egress_id, asked_ms, now_ms())

    def _stop(self, egress_id: str) -> EgressState:
        self._egress.stop(egress_id)
        return self._wait(egress_id, lambda state: state.is_over, _SAVE_SECONDS)

    def _wait(self, egress_id: str, wanted: Callable[[EgressState], bool], seconds: float) -> EgressState:
        seen: list[EgressState] = []

        def look() -> bool:
            seen.append(self._egress.read(egress_id))
            return wanted(seen[-1])

        wait_until(
            look,
            timeout=seconds,
            describe=f"egress {egress_id}",
            interval=_POLL_SECONDS,
            tolerate=(EgressRefused,),
        )
        return seen[-1]

    def _evaluate(self) -> Report:
        order = Order(bucket=self._bucket, key=self._key, delete=(self._key,))
        done = run(
            [sys.executable, "-m", "loadtest.recorded"],
            cwd=Path(__file__).parents[2],
            timeout=_EVALUATE_SECONDS,
            input=order.model_dump_json(),
        )
        return Report.model_validate_json(done.stdout)

    def _in_thread(self, work: Callable[[], T], what: str) -> T:
        future = self._threads.submit(work)
        self._work = future
        self._beat.until(future.done, timeout=_EVALUATE_SECONDS + _SAVE_SECONDS, what=what)
        return future.result()

    def _change(self, **changed: object) -> None:
        self.result = self.result.model_copy(update=changed)

    def _say(self, text: str) -> None:
        self._announce(ActionTaken(self._clock.now_s, text))
