"""A call of two clients, each in a network namespace of its own, and what is true of every good one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadtest.client.process import client_process
from loadtest.client.protocol import ClientConfig, Finished, FirstAudio, FirstVideo, Joined
from loadtest.client.samples import now_ms
from loadtest.definition.scenario import Camera, Publish
from loadtest.figures import Window, audio_results, video_results
from loadtest.marker.audio import STEP_SECONDS
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import OPEN, Firewall
from loadtest.net.namespace import client_namespace
from loadtest.result import AudioResult, Distribution, VideoResult
from loadtest.targets.tokens import Admission

MAX_LATENCY_MS = 3000  # the mission's cap, at the 95th percentile

_MEASURED_SECONDS = 6.0
_FPS = 15
MARKED_MEDIA = Publish(camera=Camera(width=640, height=360, fps=_FPS), microphone=True)
_JOIN_SECONDS = 30.0
_SAY_SO_SECONDS = 10.0  # past its own limit a client says what kept it; better than our giving up first
_FIRST_MEDIA_SECONDS = 30.0
# Two cores carry the cluster, the encoder and the decoder: some frames may be lost to that.
_LEAST_DELIVERED = 0.8
# The marker counts whole milliseconds, the timestamp beside it microseconds.
_CLOCKS_AGREE_MS = 2.0


@dataclass(frozen=True)
class Network:
    """How one end of a call is connected.

    Attributes:
        transport: which ICE candidates the client is told to use.
    """

    firewall: Firewall = OPEN
    transport: Literal["all", "relay"] = "all"


@dataclass(frozen=True)
class CallResult:
    """What both ends measured.

    Attributes:
        join_ms: the slower end's time to join.
        first_video_ms: from the subscriber's start to its first readable frame.
        seconds: for how long the call was held after media flowed.
    """

    publisher: Finished
    subscriber: Finished
    video: VideoResult
    audio: AudioResult
    join_ms: float
    first_video_ms: float
    seconds: float

    @property
    def latency_ms(self) -> Distribution:
        assert self.video.latency_ms, f"no picture came: {self.video}"
        return self.video.latency_ms

    @property
    def age_ms(self) -> Distribution:
        assert self.video.age_ms, f"no picture came: {self.video}"
        return self.video.age_ms

    @property
    def ends(self) -> tuple[tuple[str, Finished], tuple[str, Finished]]:
        return ("publisher", self.publisher), ("subscriber", self.subscriber)


def room_name() -> str:
    """A room of its own for each call; token-api leaves rooms alone whose names begin so."""
    return f"test_call_{secrets.token_hex(6)}"


def hold_call(
    network: ClientNetwork,
    *,
    publisher: Admission,
    subscriber: Admission,
    through: Network,
    logs: Path,
) -> CallResult:
    """Hold a call for some seconds, both ends connected in the same way, and measure it.

    Args:
        logs: directory for the clients' logs.

    Raises:
        ClientDied, NeverHappened: a client failed, or no marked video or audio came.
    """
    with (
        client_namespace(network, firewall=through.firewall) as publisher_at,
        client_namespace(network, firewall=through.firewall) as subscriber_at,
        client_process(
            "publisher",
            _config(publisher, through, publish=MARKED_MEDIA),
            namespace=publisher_at,
            log=logs / "publisher.log",
        ) as sending,
        client_process(
            "subscriber",
            _config(subscriber, through, subscribe=True),
            namespace=subscriber_at,
            log=logs / "subscriber.log",
        ) as receiving,
    ):
        joins = [
            client.wait_for(Joined, timeout=_JOIN_SECONDS + _SAY_SO_SECONDS)
            for client in (sending, receiving)
        ]
        first_video = receiving.wait_for(FirstVideo, timeout=_FIRST_MEDIA_SECONDS)
        receiving.wait_for(FirstAudio, timeout=_FIRST_MEDIA_SECONDS)
        started_ms = now_ms()
        receiving.run_for(_MEASURED_SECONDS)
        window = Window(started_ms, now_ms(), run_start_ms=started_ms)
        received, sent = receiving.finish(), sending.finish()
        recording = receiving.recording
    videos, audios = video_results(recording, window), audio_results(recording, window)
    assert len(videos) == len(audios) == 1, "one publisher has one track of each kind"
    return CallResult(
        publisher=sent,
        subscriber=received,
        video=videos[0],
        audio=audios[0],
        join_ms=max(join.join_ms for join in joins),
        first_video_ms=first_video.since_start_ms,
        seconds=_MEASURED_SECONDS,
    )


def assert_media_arrived(call: CallResult) -> None:
    """Marked video and audio came, nearly whole, in order and in time."""
    video, audio, latency_ms, age_ms = call.video, call.audio, call.latency_ms, call.age_ms
    assert video.delivered >= 0.5 * _FPS * call.seconds, f"too few frames: {video}"
    assert video.delivered >= _LEAST_DELIVERED * video.sent, f"frames were lost: {video}"
    # A negative latency would mean that the two ends do not read the same clock.
    assert latency_ms.minimum > -2, f"captured after it was decoded: {latency_ms}"
    assert latency_ms.p95 < MAX_LATENCY_MS, latency_ms
    assert age_ms.p95 < MAX_LATENCY_MS, f"the picture stood still: {age_ms}"
    assert video.second_clock, "pictures came without the timestamp beside their pixels"
    assert video.second_clock.p95_absolute_difference_ms < _CLOCKS_AGREE_MS, video.second_clock
    assert audio.marked_ratio >= 0.7, f"much of the sound was not the marker: {audio}"
    assert audio.steps_in_order >= 0.7 * call.seconds / STEP_SECONDS, f"too few changes of tone: {audio}"
    assert audio.steps_out_of_order <= 0.1 * audio.steps_in_order, f"tones out of order: {audio}"


def _config(
    admission: Admission,
    through: Network,
    *,
    publish: Publish | None = None,
    subscribe: bool = False,
) -> ClientConfig:
    return ClientConfig(
        url=admission.url,
        token=admission.token,
        transport=through.transport,
        join_timeout=_JOIN_SECONDS,
        publish=publish,
        subscribe=subscribe,
    )
