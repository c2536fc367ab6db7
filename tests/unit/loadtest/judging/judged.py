"""Clients of a run, as judging them takes them: a good one, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.definition.profile import Direction
from loadtest.definition.scenario import Camera
from loadtest.judging.facts import Captured, ClientFacts, JudgedClient, OwnTimes, Picture, Window
from loadtest.result import (
    AudioResult,
    ClientResult,
    ClockComparison,
    Distribution,
    JoinTimes,
    LayerChange,
    Outcome,
    Second,
    VideoResult,
    distribution,
)

WINDOW = Window(10, 40)
CAMERA = Picture(
    publisher="creator-1", source="camera", camera=Camera(), up=Direction(delay_ms=1, jitter_ms=2)
)


def milliseconds(*samples: float) -> Distribution:
    return distribution(samples)


def seconds(begin: int = 5, end: int = 40, **of_each: Any) -> tuple[Second, ...]:
    """One for each whole second."""
    usual = {"pictures": 15, "age_max_ms": 150, "latency_p50_ms": 60, "height": 720, "received_kbps": 1700}
    return tuple(Second(at_s=at, **{**usual, **of_each}) for at in range(begin, end))


def track(**changed: Any) -> VideoResult:
    usual: dict[str, Any] = {
        "publisher": "creator-1",
        "source": "camera",
        "latency_ms": milliseconds(50, 60, 90),
        "age_ms": milliseconds(80, 100, 150),
        "delivered": 440,
        "sent": 450,
        "unreadable": 0,
        "freezes": (),
        "layers": (LayerChange(at_s=6, width=640, height=360), LayerChange(at_s=9, width=1280, height=720)),
        "second_clock": ClockComparison(count=440, median_difference_ms=-0.4, p95_absolute_difference_ms=1),
    }
    return VideoResult(**{**usual, **changed})


def sound(**changed: Any) -> AudioResult:
    usual: dict[str, Any] = {
        "publisher": "creator-1",
        "marked_ratio": 0.99,
        "steps_in_order": 100,
        "steps_out_of_order": 0,
        "gaps": (),
    }
    return AudioResult(**{**usual, **changed})


def result(name: str = "viewers-1", **changed: Any) -> ClientResult:
    usual: dict[str, Any] = {
        "name": name,
        "group": name.rpartition("-")[0],
        "room": "load_test_1",
        "profile": "wifi",
        "outcome": Outcome.FINISHED,
        "join": JoinTimes(signalling_ms=40, ice_ms=100, first_video_ms=300, first_audio_ms=250),
        "video": (track(),),
        "audio": (sound(),),
        "seconds": seconds(),
    }
    return ClientResult(**{**usual, **changed})


def facts(**changed: Any) -> ClientFacts:
    usual: dict[str, Any] = {
        "window": WINDOW,
        "pictures": (CAMERA,),
        "voices": ("creator-1",),
        "sent_fps": 0,
        "down": Direction(rate_kbps=30000, delay_ms=1, jitter_ms=2),
        "connected_s": 5.0,
        "lost_ratio": 0.01,
        "own": OwnTimes(jitter_buffer_ms=40, decode_ms=6),
    }
    return ClientFacts(**{**usual, **changed})


def viewer(
    name: str = "viewers-1", *, facts_of_it: ClientFacts | None = None, **changed: Any
) -> JudgedClient:
    return JudgedClient(result(name, **changed), facts_of_it or facts())


def publisher(
    name: str = "creator-1",
    *,
    captured: Captured | None = Captured(pictures=450, due=450),  # noqa: B008 - frozen
    **changed: Any,
) -> JudgedClient:
    own = facts(pictures=(), voices=(), publishes=True, sent_fps=15, captured=captured)
    return JudgedClient(result(name, video=(), audio=(), **changed), own)


def replaced(base: Sequence[Second], *others: Second) -> tuple[Second, ...]:
    """The seconds, with others in the place of those of the same time."""
    by_time = {second.at_s: second for second in (*base, *others)}
    return tuple(by_time[at] for at in sorted(by_time))
