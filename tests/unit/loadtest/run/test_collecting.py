"""From what clients told to their results: who should have seen whom, and whom an action hurt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.client.path import TransportPath
from loadtest.client.protocol import Event, Joined, Measured
from loadtest.client.recording import Recording
from loadtest.client.samples import FrameSample, VideoSecond
from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Action, ActionKind, Camera, Group, Metric, Publish
from loadtest.judging.facts import Window
from loadtest.result import Outcome
from loadtest.run.actions import Taken
from loadtest.run.clock import RunClock
from loadtest.run.collecting import Setting, judged_clients
from loadtest.run.plan import PlannedClient

IDEAL = NetworkProfile(name="ideal", title="nothing")
CREATOR = Group(name="creator", count=1, publish=Publish(camera=Camera()))
VIEWERS = Group(name="viewers", count=1, subscribe=True)
CLOCK = RunClock(start_ms=100_000)
FRAME_MS = 100
# Pictures stand still from here to there, in seconds of the run.
GAP_S = (12.0, 14.0)


@dataclass(frozen=True)
class Told:
    """A client that is over, as `judged_clients` sees one."""

    plan: PlannedClient
    recording: Recording = field(default_factory=Recording)
    last_paths: tuple[TransportPath, ...] = ()
    outcome: Outcome = Outcome.FINISHED
    reason: str = ""
    token_ms: Sequence[float] = field(default_factory=list)


def planned(group: Group, number: int = 1, room: str = "a") -> PlannedClient:
    return PlannedClient(f"{group.name}-{number}", number, group, room, IDEAL, 0)


def joined(name: str, at_s: float) -> Joined:
    return Joined(
        identity=name,
        room="a",
        at_ms=CLOCK.monotonic_ms(at_s),
        join_ms=500,
        signalling_ms=300,
        ice_ms=200,
    )


def second(at_s: int) -> Measured:
    """A second of pictures, small ones up to the fourth second; none in the gap."""
    start_ms = CLOCK.monotonic_ms(at_s)
    frames = tuple(
        FrameSample(
            received_ms=start_ms + offset,
            latency_ms=50,
            frame=round((start_ms + offset) / FRAME_MS),
            width=320 if at_s < 4 else 1280,
            height=180 if at_s < 4 else 720,
        )
        for offset in range(0, 1000, FRAME_MS)
        if not GAP_S[0] <= at_s + offset / 1000 < GAP_S[1]
    )
    return Measured(
        from_ms=start_ms,
        to_ms=start_ms + 1000,
        video=(VideoSecond(publisher="creator-1", source="camera", frames=frames),),
        cpu_s=at_s / 10,
    )


def everybody(*, sees_until_s: int = 20) -> list[Told]:
    """One sends, one watches what comes until then, one is in another room."""
    events: list[Event] = [joined("viewers-1", 2)]
    events += [second(at_s) for at_s in range(2, sees_until_s)]
    return [
        Told(planned(CREATOR), Recording((joined("creator-1", 1),))),
        Told(planned(VIEWERS), Recording(tuple(events)), token_ms=[7, 9]),
        Told(planned(VIEWERS, 2, room="b")),
    ]


def setting(*actions: Action) -> Setting:
    taken = [Taken(action, CLOCK.monotonic_ms(10 + action.at_s)) for action in actions]
    return Setting(Window(10, 20), taken, (), CLOCK)


def test_a_track_that_never_came_is_there_with_no_picture() -> None:
    creator, viewer, elsewhere = judged_clients(everybody(sees_until_s=0), setting())
    [track] = viewer.result.video
    assert (track.publisher, track.source, track.delivered) == ("creator-1", "camera", 0)
    assert viewer.result.metrics[Metric.PICTURES] == 0
    # Another room's, and the publisher's own, are nobody's to see.
    assert creator.result.video == elsewhere.result.video == ()


def test_a_viewer_that_stops_before_the_measured_time_was_frozen_for_all_of_it() -> None:
    _, viewer, _ = judged_clients(everybody(sees_until_s=9), setting())
    assert viewer.result.metrics[Metric.LONGEST_FREEZE_MS] == 10_000
    assert viewer.result.metrics[Metric.AGE_MAX_MS] > 10_000
    assert viewer.result.metrics[Metric.PICTURES] == 0
    assert Metric.LATENCY_P50_MS not in viewer.result.metrics


def test_joining_counts_its_worst_part_and_layers_count_from_the_first_picture_on() -> None:
    _, viewer, _ = judged_clients(everybody(), setting())
    assert viewer.result.join.token_ms == 9
    assert viewer.result.join.signalling_ms == 300
    [track] = viewer.result.video
    assert [layer.height for layer in track.layers] == [180, 720], "the first layer came before the window"
    assert viewer.facts.connected_s == 1.5
    assert viewer.result.metrics[Metric.TOP_LAYER_S] == 2.5


def test_an_action_on_the_publisher_is_felt_by_who_watches_it() -> None:
    action = Action(at_s=2, kind=ActionKind.RECONNECT_FULL, group="creator")
    creator, viewer, elsewhere = judged_clients(everybody(), setting(action))
    [felt] = viewer.result.interruptions
    assert (felt.action, felt.at_s) == ("reconnect-full of creator", 12)
    assert felt.recovery_ms is not None
    assert 2000 <= felt.recovery_ms <= 2000 + 2 * FRAME_MS
    assert creator.result.interruptions == elsewhere.result.interruptions == ()


def test_a_change_of_capacity_is_no_interruption() -> None:
    action = Action(at_s=2, kind=ActionKind.CAPACITY, group="viewers", down_kbps=600)
    _, viewer, _ = judged_clients(everybody(), setting(action))
    assert viewer.result.interruptions == ()
