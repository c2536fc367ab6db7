"""What each client has told, as its result in one window of the run, with all that judges it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.client.path import TransportPath
from loadtest.client.recording import Recording
from loadtest.definition.scenario import ActionKind
from loadtest.figures import (
    Expected,
    Span,
    audio_results,
    join_times,
    presence,
    recovery,
    seconds,
    transport_totals,
    video_results,
    worst_join,
)
from loadtest.figures import Window as FiguresWindow
from loadtest.judging.facts import JudgedClient, OwnTimes, Window, captured_in, facts_of
from loadtest.judging.metrics import client_metrics
from loadtest.result import (
    CapacityChange,
    ClientResult,
    Interruption,
    JoinTimes,
    NoSamples,
    Outcome,
    VideoResult,
)
from loadtest.run.actions import INTERRUPTING, Taken, in_words
from loadtest.run.clock import RunClock
from loadtest.run.plan import PlannedClient


class Told(Protocol):
    """A client as it is judged: `RunningClient`."""

    @property
    def plan(self) -> PlannedClient: ...
    @property
    def recording(self) -> Recording: ...
    @property
    def last_paths(self) -> tuple[TransportPath, ...]: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def reason(self) -> str: ...
    @property
    def token_ms(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Setting:
    """What all clients are judged in.

    Attributes:
        window: the measured time.
        taken: the actions that were taken, in order.
        capacity: the changes of all groups' links.
    """

    window: Window
    taken: Sequence[Taken]
    capacity: Sequence[CapacityChange]
    clock: RunClock

    @property
    def figures(self) -> FiguresWindow:
        """The window as figures take it."""
        return self._span(self.window.from_s)

    @property
    def life(self) -> FiguresWindow:
        """From the start of the run to the window's end: layers matter from the first picture on."""
        return self._span(0)

    def _span(self, from_s: float) -> FiguresWindow:
        from_ms, to_ms = self.clock.monotonic_ms(from_s), self.clock.monotonic_ms(self.window.to_s)
        return FiguresWindow(from_ms, to_ms, run_start_ms=self.clock.start_ms)


def judged_clients(clients: Sequence[Told], setting: Setting) -> tuple[JudgedClient, ...]:
    """All clients, each with its figures in the window, and with its seconds of the whole run."""
    return tuple(_judged(client, clients, setting) for client in clients)


def _judged(client: Told, everybody: Sequence[Told], setting: Setting) -> JudgedClient:
    recording, plan, window = client.recording, client.plan, setting.figures
    pictures, voices = _expected(client, everybody, setting)
    joins = join_times(recording)
    measured = recording.measured
    result = ClientResult(
        name=plan.name,
        group=plan.group.name,
        room=plan.room,
        profile=plan.profile.name,
        outcome=client.outcome,
        reason=client.reason,
        join=worst_join([*joins, JoinTimes(token_ms=max(client.token_ms, default=None))]),
        paths=client.last_paths,
        video=_with_layers_of_its_life(
            video_results(recording, window, pictures), video_results(recording, setting.life, pictures)
        ),
        audio=audio_results(recording, window, voices),
        interruptions=tuple(_interruptions(client, everybody, setting)),
        seconds=seconds(recording, setting.clock.start_ms),
        pictures_captured=sum(second.captured for second in measured),
        cpu_s=measured[-1].cpu_s if measured else 0.0,
    )
    joined, counted = recording.joined, transport_totals(recording, window)
    publish = plan.group.publish
    makes_pictures = publish is not None and (publish.camera or publish.screen)
    facts = facts_of(
        plan,
        [other.plan for other in everybody],
        window=setting.window,
        capacity=setting.capacity,
        connected_s=setting.clock.at_s(joined[0].at_ms - joined[0].join_ms) if joined else None,
        captured=captured_in(recording, window.from_ms, window.to_ms)
        if makes_pictures and plan.group.stay_s is None
        else None,
        lost_ratio=counted.lost_ratio,
        own=OwnTimes(counted.encode_ms, counted.jitter_buffer_ms, counted.decode_ms),
    )
    metrics = client_metrics(JudgedClient(result, facts))
    return JudgedClient(result.model_copy(update={"metrics": metrics}), facts)


def _expected(
    client: Told, everybody: Sequence[Told], setting: Setting
) -> tuple[list[Expected], dict[str, tuple[Span, ...] | None]]:
    """The tracks that a client should see and hear, each for as long as its publisher was in the room."""
    pictures: list[Expected] = []
    voices: dict[str, tuple[Span, ...] | None] = {}
    for other in everybody:
        publish = other.plan.group.publish
        if (
            publish is None
            or not client.plan.group.subscribe
            or other.plan.name == client.plan.name
            or other.plan.room != client.plan.room
        ):
            continue
        present = presence(other.recording, setting.figures.to_ms)
        if publish.camera:
            pictures.append(Expected(other.plan.name, "camera", present))
        if publish.screen:
            pictures.append(Expected(other.plan.name, "screen", present))
        if publish.microphone:
            voices[other.plan.name] = present
    return pictures, voices


def _with_layers_of_its_life(
    tracks: Sequence[VideoResult], lives: Sequence[VideoResult]
) -> tuple[VideoResult, ...]:
    layers = {(life.publisher, life.source): life.layers for life in lives}
    return tuple(
        track.model_copy(update={"layers": layers.get((track.publisher, track.source), track.layers)})
        for track in tracks
    )


def _interruptions(client: Told, everybody: Sequence[Told], setting: Setting) -> Iterator[Interruption]:
    """What each action did to what this client sees."""
    if not client.plan.group.subscribe:
        return
    felt = [taken for taken in setting.taken if _is_felt(taken, client.plan, [o.plan for o in everybody])]
    ends = [*(taken.at_ms for taken in felt[1:]), setting.figures.to_ms]
    for taken, until_ms in zip(felt, ends, strict=False):
        try:
            took_ms = recovery(client.recording, taken.at_ms, until_ms)
        except NoSamples:  # it saw nothing before: there was nothing to interrupt
            continue
        yield Interruption(
            action=in_words(taken.action),
            at_s=setting.clock.at_s(taken.at_ms),
            recovery_ms=took_ms,
            detail=_transport(client.recording, until_ms),
        )


def _is_felt(taken: Taken, me: PlannedClient, everybody: Sequence[PlannedClient]) -> bool:
    """Whether an action is to a client itself, to somebody it sees, or to its room's node."""
    action = taken.action
    if action.kind not in INTERRUPTING:
        return False
    if me.group.name == action.group:
        return True
    return any(
        other.group.name == action.group
        and other.room == me.room
        and (other.group.publish is not None or action.kind is ActionKind.KILL_NODE)
        for other in everybody
    )


def _transport(recording: Recording, until_ms: float) -> str:
    """Which way the media went at the end, such as `relay udp`; empty where nobody knows."""
    for second in reversed(recording.measured):
        if second.to_ms <= until_ms and second.transport is not None and second.transport.paths:
            local = second.transport.paths[-1].local
            return f"{local.type} {local.relay_protocol or local.protocol}"
    return ""
