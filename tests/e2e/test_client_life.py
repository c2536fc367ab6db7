"""What clients tell of a call that does not go on quietly: churn, reconnects, a frozen and a dead end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.client.process import ClientDied, ClientProcess, client_process
from loadtest.client.protocol import (
    ClientConfig,
    Event,
    FirstAudio,
    FirstVideo,
    Join,
    Leave,
    Left,
    Ready,
    Simulate,
    SimulatedAction,
)
from loadtest.client.recording import Recording
from loadtest.client.samples import now_ms
from loadtest.definition.scenario import ActionKind, Camera, Publish
from loadtest.figures import (
    Expected,
    Window,
    audio_results,
    join_times,
    presence,
    recovery,
    seconds,
    transport_totals,
    video_results,
)
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.tokens import make_admission
from tests.e2e.call import room_name

pytestmark = pytest.mark.alone

_SECONDS = 30.0
_BACK_SECONDS = 20.0
_STILL_MS = 2500.0  # for so long an end is frozen or dead
_SMALL = Publish(camera=Camera(width=320, height=180), microphone=True)


class Call:
    """A publisher and a watcher, ready in networks of their own, in one room when told to join.

    Attributes:
        heard: what the watcher's `on_event` was called with.
    """

    def __init__(
        self,
        outputs: StackOutputs,
        sender: ClientProcess,
        watcher: ClientProcess,
        heard: Sequence[Event],
    ) -> None:
        self.sender, self.watcher = sender, watcher
        self.heard = heard
        self._outputs = outputs
        self._room = room_name()

    def join(self, client: ClientProcess) -> None:
        """Let it join, and wait until it has."""
        admission = make_admission(
            self._outputs, url=self._outputs.signal_url, room=self._room, identity=client.name
        )
        before = len(client.recording.joined)
        client.tell(Join(url=admission.url, token=admission.token))
        _wait(client, lambda told: len(told.joined) > before, "to join")

    def leave(self, client: ClientProcess) -> None:
        before = len(client.recording.left)
        client.tell(Leave())
        _wait(client, lambda told: len(told.left) > before, "to leave")

    def start(self) -> None:
        """Both join, and media flows."""
        self.join(self.sender)
        self.join(self.watcher)
        self.watcher.wait_for(FirstVideo, timeout=_SECONDS)
        self.watcher.wait_for(FirstAudio, timeout=_SECONDS)


@pytest.fixture
def call(outputs: StackOutputs, client_network: ClientNetwork, tmp_path: Path) -> Iterator[Call]:
    heard: list[Event] = []
    with ExitStack() as held:

        def start(name: str, *, publish: Publish | None) -> ClientProcess:
            return held.enter_context(
                client_process(
                    name,
                    ClientConfig(wait_for_join=True, publish=publish, subscribe=publish is None),
                    namespace=held.enter_context(client_namespace(client_network)),
                    log=tmp_path / f"{name}.log",
                    on_event=None if publish else heard.append,
                )
            )

        clients = start("sender", publish=_SMALL), start("watcher", publish=None)
        for client in clients:
            client.wait_for(Ready, timeout=_SECONDS)
        yield Call(outputs, *clients, heard)


def test_what_a_client_has_seen_is_told_every_second_and_split_where_joining_took_its_time(
    call: Call,
) -> None:
    call.start()
    call.watcher.run_for(4)
    live = call.watcher.recording
    assert live.measured, "nothing was told before the end"
    assert live.measured[-1].video, "the second has no video"
    call.watcher.finish()
    recording = call.watcher.recording
    assert tuple(call.heard) == recording.events

    [times] = join_times(recording)
    [joined] = recording.joined
    assert times.signalling_ms is not None, "the SDK's log did not say when the answer came"
    assert times.ice_ms is not None
    assert times.signalling_ms > 0
    assert times.ice_ms > 0
    assert times.signalling_ms + times.ice_ms == pytest.approx(joined.join_ms)
    assert times.first_video_ms is not None
    assert times.first_video_ms > 0

    window = Window(joined.at_ms, recording.left[0].at_ms, run_start_ms=joined.at_ms)
    totals = transport_totals(recording, window)
    assert totals.lost_ratio is not None
    assert totals.received_kbps > 50, totals
    each = seconds(recording, joined.at_ms)
    assert sum(second.pictures for second in each) >= 40
    assert {second.height for second in each if second.pictures} == {180}


def test_a_client_leaves_and_comes_again_in_one_process(call: Call) -> None:
    call.start()
    call.watcher.run_for(2)
    call.leave(call.watcher)
    call.watcher.run_for(3)
    call.join(call.watcher)
    _wait(call.watcher, lambda told: len(told.first_video) == 2, "to see again")
    _wait(call.watcher, lambda told: len(told.first_audio) == 2, "to hear again")
    call.watcher.run_for(2)
    call.watcher.finish()

    recording = call.watcher.recording
    assert len(join_times(recording)) == 2
    spans = presence(recording, now_ms())
    assert len(spans) == 2
    away_ms = spans[1].from_ms - spans[0].to_ms
    assert away_ms > 2500
    window = Window(spans[0].from_ms, spans[1].to_ms, run_start_ms=0)
    [video] = video_results(recording, window)
    assert video.age_ms is not None
    assert video.age_ms.maximum < away_ms, "the time away was counted against the stack"
    assert video.sent < 15 * (window.length_ms - away_ms + 1000) / 1000
    [audio] = audio_results(recording, window)
    assert all(gap.lasted_ms < away_ms / 2 for gap in audio.gaps), audio.gaps


@pytest.mark.parametrize(
    "kind",
    [ActionKind.RECONNECT_SIGNAL, ActionKind.RECONNECT_FULL, ActionKind.SERVER_LEAVE, ActionKind.MIGRATE],
)
def test_a_broken_connection_comes_back_and_its_gap_is_measured(call: Call, kind: SimulatedAction) -> None:
    call.start()
    call.watcher.run_for(2)
    at_ms = now_ms()
    call.watcher.tell(Simulate(kind=kind))
    _wait(call.watcher, lambda told: bool(told.reconnecting), "to notice")
    _wait(call.watcher, lambda told: len(told.joined) + len(told.reconnected) > 1, "to come back")
    call.watcher.run_for(3)
    until_ms = now_ms()
    call.watcher.finish()
    took_ms = recovery(call.watcher.recording, at_ms, until_ms)
    assert took_ms is not None, "no picture came again"
    assert took_ms < 5000


def test_a_frozen_watcher_tells_no_seconds_and_then_of_old_pictures(call: Call) -> None:
    call.start()
    call.watcher.run_for(2)
    stopped_ms = now_ms()
    os.kill(call.watcher.pid, signal.SIGSTOP)
    try:
        call.sender.run_for(_STILL_MS / 1000)
        frozen = call.watcher.recording
        window = Window(stopped_ms, now_ms(), run_start_ms=stopped_ms)
    finally:
        os.kill(call.watcher.pid, signal.SIGCONT)
    assert all(second.to_ms < stopped_ms + 500 for second in frozen.measured)
    [video] = video_results(frozen, window)
    assert video.age_ms is not None
    assert video.age_ms.maximum > _STILL_MS - 500, "a frozen watcher looks as if it saw"
    assert sum(freeze.lasted_ms for freeze in video.freezes) > _STILL_MS - 500

    call.watcher.run_for(3)
    call.watcher.finish()
    longest_ms = max(second.to_ms - second.from_ms for second in call.watcher.recording.measured)
    assert longest_ms > _STILL_MS - 500
    [video] = video_results(call.watcher.recording, window)
    assert video.freezes, "once it runs again its freeze is forgotten"


def test_a_dead_publisher_is_an_old_picture_until_the_end(call: Call) -> None:
    call.start()
    call.watcher.run_for(2)
    from_ms = now_ms()
    os.kill(call.sender.pid, signal.SIGKILL)
    call.watcher.run_for(_STILL_MS / 1000)
    window = Window(from_ms, now_ms(), run_start_ms=from_ms)
    call.watcher.finish()
    with pytest.raises(ClientDied, match="exit code -9"):
        call.sender.run_for(1)
    assert "exit code -9" in call.sender.death()
    assert call.watcher.death() == ""
    present = presence(call.sender.recording, window.to_ms)
    [video] = video_results(call.watcher.recording, window, [Expected(publisher="sender", present=present)])
    assert video.age_ms is not None
    assert video.age_ms.maximum > _STILL_MS - 500, video
    assert max(freeze.lasted_ms for freeze in video.freezes) > _STILL_MS - 500
    [audio] = audio_results(call.watcher.recording, window)
    assert audio.marked_ratio < 0.5
    assert max(gap.lasted_ms for gap in audio.gaps) > _STILL_MS - 1000
    assert recovery(call.watcher.recording, window.from_ms, window.to_ms) is None


def test_leaving_a_room_that_one_is_not_in_is_an_error_of_the_caller(call: Call) -> None:
    call.watcher.tell(Leave())
    with pytest.raises(
        ClientDied, match="UnexpectedCommand: told to leave while in no room; allowed is join"
    ):
        call.watcher.wait_for(Left, timeout=_SECONDS)


def _wait(client: ClientProcess, happened: Callable[[Recording], bool], what: str) -> None:
    def looked() -> bool:
        assert not client.death()
        return happened(client.recording)

    wait_until(looked, timeout=_BACK_SECONDS, describe=f"{client.name} {what}", interval=0.05)
