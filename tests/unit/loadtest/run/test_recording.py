"""A run's recording, with stand-ins for the Egress API and for the process that evaluates the file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from pydantic import SecretStr

from common.commands import Completed
from loadtest.client.samples import now_ms
from loadtest.definition.scenario import Recording
from loadtest.marker.video import TIME_MODULUS
from loadtest.recorded.protocol import Order, Report
from loadtest.result import RecordedMedia
from loadtest.run import recording
from loadtest.run.announcing import Announcer
from loadtest.run.beat import Beat
from loadtest.run.clock import RunClock
from loadtest.run.problems import Interrupted
from loadtest.run.recording import RoomRecording
from loadtest.targets.bucket import Bucket
from loadtest.targets.egress import Egress, EgressRefused, EgressState

_KEY = "loadtest/room.mp4"
_BUCKET = Bucket(
    endpoint="https://s3.example.com",
    name="recordings",
    access_key=SecretStr("key"),
    secret_key=SecretStr("secret"),
    names={},
    ca_certificate="",
)


class _Server:
    """An Egress API that reports these statuses, one for each question; the last one again and again."""

    def __init__(self, *statuses: str, error: str = "", refuses: bool = False) -> None:
        self._statuses = list(statuses)
        self._error = error
        self._refuses = refuses
        self.stopped = 0

    def start(self, room: str, *, layout: str, key: str) -> EgressState:
        assert (room, layout, key) == ("room", "grid", _KEY)
        if self._refuses:
            raise EgressRefused("no response from servers")
        return EgressState("EG_1", "EGRESS_STARTING", "")

    def read(self, egress_id: str) -> EgressState:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return EgressState(egress_id, status, self._error)

    def stop(self, egress_id: str) -> EgressState:
        self.stopped += 1
        return EgressState(egress_id, "EGRESS_ENDING", "")


class _Made:
    """A recording of a stand-in's, and the orders that its evaluating process got."""

    def __init__(self, server: _Server, threads: ThreadPoolExecutor) -> None:
        self.stop = threading.Event()
        self.orders: list[Order] = []
        self.report = Report()
        self.recording = RoomRecording(
            cast("Egress", server),
            _BUCKET,
            key=_KEY,
            beat=Beat(self.stop),
            threads=threads,
            clock=RunClock(),
            announce=Announcer(lambda _: None),
        )

    def evaluate(self, argv: list[str], **options: Any) -> Completed:
        self.orders.append(Order.model_validate_json(options["input"]))
        return Completed(tuple(argv), 0, self.report.model_dump_json(), "")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def _media() -> RecordedMedia:
    return RecordedMedia(
        duration_s=5,
        size_bytes=1,
        width=1280,
        height=720,
        first_captured_ms=round(now_ms() + 1500) % TIME_MODULUS,
        delivered=75,
        sent=75,
        unreadable=0,
        out_of_order=0,
        freezes=(),
        tones_ratio=1,
    )


@pytest.fixture
def make(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(server: _Server) -> _Made:
        one = _Made(server, threads)
        monkeypatch.setattr(recording, "run", one.evaluate)
        return one

    return made


def test_a_recording_is_saved_evaluated_and_deleted(make: Any) -> None:
    server = _Server("EGRESS_STARTING", "EGRESS_ACTIVE", "EGRESS_ENDING", "EGRESS_COMPLETE")
    made = make(server)
    made.report = Report(media=_media(), not_deleted="HTTP 503")
    made.recording.begin("room", Recording(layout="grid"))
    made.recording.end()
    found = made.recording.result
    assert (found.status, found.problem, found.egress_id) == ("EGRESS_COMPLETE", "", "EG_1")
    assert found.start_ms == pytest.approx(1500, abs=500)
    assert found.save_ms is not None
    assert found.media is not None
    [order] = made.orders
    assert (order.key, order.delete) == (_KEY, (_KEY,))
    assert made.recording.discard() == "HTTP 503"
    assert (len(made.orders), server.stopped) == (1, 1)


def test_a_refusal_is_the_result(make: Any) -> None:
    made = make(_Server("EGRESS_STARTING", refuses=True))
    made.recording.begin("room", Recording(layout="grid"))
    made.recording.end()
    assert made.recording.result.problem == "the recording did not begin: no response from servers"
    assert made.recording.discard() == ""
    assert made.orders == []


@pytest.mark.parametrize(
    ("statuses", "problem"),
    [
        (["EGRESS_FAILED"], "the recording did not begin: EGRESS_FAILED: disk full"),
        (["EGRESS_ACTIVE", "EGRESS_FAILED"], "the recording ended as EGRESS_FAILED: disk full"),
    ],
)
def test_a_recording_that_fails_says_why_and_leaves_no_file(
    make: Any, statuses: list[str], problem: str
) -> None:
    made = make(_Server(*statuses, error="disk full"))
    made.recording.begin("room", Recording(layout="grid"))
    made.recording.end()
    assert made.recording.result.problem == problem
    assert made.orders == []
    made.recording.discard()
    assert [order.delete for order in made.orders] == [(_KEY,)]


def test_an_interrupted_recording_is_stopped_and_deleted(make: Any) -> None:
    server = _Server("EGRESS_ACTIVE", "EGRESS_COMPLETE")
    made = make(server)
    made.recording.begin("room", Recording(layout="grid"))
    made.stop.set()
    with pytest.raises(Interrupted):
        made.recording.end()
    made.recording.discard()
    assert server.stopped >= 1
    assert [order.delete for order in made.orders] == [(_KEY,)]
