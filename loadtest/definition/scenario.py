"""What a run does and what it must show: scenarios, as their YAML says them.

The built-in ones are in `loadtest/scenarios/`; anyone's own is a file of the same form, and
`loadtest.definition.scenario_file` reads both. Rules within one part are here; those that look at several
parts are in `loadtest.definition.scenario_rules`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

# A group whose profile is this one has the run's, chosen on the command line.
PROFILE_OF_THE_RUN: Final = "run"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, given: Any) -> Any:
        # YAML has `yes` and `on` for it, and pydantic takes it for 1.
        for name, value in given.items() if isinstance(given, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"given {str(value).lower()} for {name}; allowed: no truth value there")
        return given


class Metric(StrEnum):
    """What is measured of each client. Units are in the names; `METRICS` says what each one means."""

    JOIN_MS = "join_ms"
    TOKEN_MS = "token_ms"  # noqa: S105 - a time, no secret
    SIGNALLING_MS = "signalling_ms"
    ICE_MS = "ice_ms"
    FIRST_VIDEO_MS = "first_video_ms"
    FIRST_AUDIO_MS = "first_audio_ms"
    LATENCY_P50_MS = "latency_p50_ms"
    LATENCY_P95_MS = "latency_p95_ms"
    LATENCY_P99_MS = "latency_p99_ms"
    AGE_P95_MS = "age_p95_ms"
    AGE_MAX_MS = "age_max_ms"
    DELIVERED_RATIO = "delivered_ratio"
    PICTURES = "pictures"
    FROZEN_RATIO = "frozen_ratio"
    LONGEST_FREEZE_MS = "longest_freeze_ms"
    RECEIVED_KBPS = "received_kbps"
    SETTLED_HEIGHT = "settled_height"
    TOP_LAYER_S = "top_layer_s"
    ADAPT_S = "adapt_s"
    LAYER_SWITCHES = "layer_switches"
    LOST_RATIO = "lost_ratio"
    JITTER_MS = "jitter_ms"
    ROUND_TRIP_MS = "round_trip_ms"
    AUDIO_MARKED_RATIO = "audio_marked_ratio"
    LONGEST_AUDIO_GAP_MS = "longest_audio_gap_ms"
    RECOVERY_MS = "recovery_ms"
    CLOCK_DIFFERENCE_MS = "clock_difference_ms"
    ENCODE_MS = "encode_ms"
    JITTER_BUFFER_MS = "jitter_buffer_ms"
    DECODE_MS = "decode_ms"


METRICS: Final[dict[Metric, str]] = {
    Metric.JOIN_MS: "token, signalling and ICE together",
    Metric.TOKEN_MS: "asking the token-api for a token",
    Metric.SIGNALLING_MS: "from connecting to the server's join answer",
    Metric.ICE_MS: "from the join answer until a media connection is up",
    Metric.FIRST_VIDEO_MS: "from connecting to the first readable picture",
    Metric.FIRST_AUDIO_MS: "from connecting to the first tones in order",
    Metric.LATENCY_P50_MS: "capture to decoded, median over the pictures; the slowest track",
    Metric.LATENCY_P95_MS: "the same, 95th percentile",
    Metric.LATENCY_P99_MS: "the same, 99th percentile",
    Metric.AGE_P95_MS: "age of the newest picture at each tick, 95th percentile: grows in a stall",
    Metric.AGE_MAX_MS: "the same, the worst",
    Metric.DELIVERED_RATIO: "pictures that came, of those captured meanwhile; the worst track",
    Metric.PICTURES: "pictures that came and could be read; the worst track, 0 where one is missing",
    Metric.FROZEN_RATIO: "of the time, how much the picture stood still; the worst track",
    Metric.LONGEST_FREEZE_MS: "the longest gap between two pictures",
    Metric.RECEIVED_KBPS: "media received, mean over the measured time",
    Metric.SETTLED_HEIGHT: "height that came for most of the measured time's last half; the tallest track",
    Metric.TOP_LAYER_S: "from connecting until pictures came in the publisher's own height; the last one",
    Metric.ADAPT_S: "from a step down of capacity until pictures flow again within it; the worst step",
    Metric.LAYER_SWITCHES: "changes of the picture's size, over all tracks",
    Metric.LOST_RATIO: "RTP packets lost, of those sent to the client",
    Metric.JITTER_MS: "interarrival jitter as WebRTC measures it, the worst second",
    Metric.ROUND_TRIP_MS: "as ICE measures it, mean",
    Metric.AUDIO_MARKED_RATIO: "of the time, how much was the marker's sound; the worst track",
    Metric.LONGEST_AUDIO_GAP_MS: "the longest time without it",
    Metric.RECOVERY_MS: "last good picture before an action to the first after it; the worst action",
    Metric.CLOCK_DIFFERENCE_MS: "between the latency clocks, median, absolute; the worst track",
    Metric.ENCODE_MS: "encoding a picture that it sends, in its largest layer; the median second",
    Metric.JITTER_BUFFER_MS: "a picture's wait for its decoder, from its first packet on; the median second",
    Metric.DECODE_MS: "decoding a picture; the median second",
}


class RunMetric(StrEnum):
    """What is measured of the whole run."""

    API_P50_MS = "api_p50_ms"
    API_P95_MS = "api_p95_ms"
    API_P99_MS = "api_p99_ms"
    API_ERROR_RATIO = "api_error_ratio"
    API_ACHIEVED_RATIO = "api_achieved_ratio"
    API_REQUESTS_PER_S = "api_requests_per_s"
    HELD = "held"
    SFU_PACKETS_PER_BUSY_CORE = "sfu_packets_per_busy_core"
    SFU_CORES_MAX = "sfu_cores_max"
    SFU_MEMORY_GROWTH_RATIO = "sfu_memory_growth_ratio"
    LATENCY_GROWTH_RATIO = "latency_growth_ratio"
    RECORDING_START_MS = "recording_start_ms"
    RECORDING_SAVE_MS = "recording_save_ms"
    RECORDING_LENGTH_RATIO = "recording_length_ratio"
    RECORDING_DELIVERED_RATIO = "recording_delivered_ratio"
    RECORDING_LONGEST_FREEZE_MS = "recording_longest_freeze_ms"
    RECORDING_AUDIO_MARKED_RATIO = "recording_audio_marked_ratio"


RUN_METRICS: Final[dict[RunMetric, str]] = {
    RunMetric.API_P50_MS: "from when a request was due to its answer, median",
    RunMetric.API_P95_MS: "the same, 95th percentile",
    RunMetric.API_P99_MS: "the same, 99th percentile",
    RunMetric.API_ERROR_RATIO: "requests without the wanted answer, of all",
    RunMetric.API_ACHIEVED_RATIO: "answers per second, of the requests per second that were due",
    RunMetric.API_REQUESTS_PER_S: "answers per second",
    RunMetric.HELD: "the largest size of the ramp that missed no threshold",
    RunMetric.SFU_PACKETS_PER_BUSY_CORE: "RTP packets sent per second and busy processor",
    RunMetric.SFU_CORES_MAX: "processors that the busiest SFU node used",
    RunMetric.SFU_MEMORY_GROWTH_RATIO: "memory of the SFUs in the last quarter, of that in the second one",
    RunMetric.LATENCY_GROWTH_RATIO: "median latency in the last quarter, of that in the second one",
    RunMetric.RECORDING_START_MS: "from the request to record to the capture of the file's first frame",
    RunMetric.RECORDING_SAVE_MS: "from the request to stop to the complete file in the bucket",
    RunMetric.RECORDING_LENGTH_RATIO: "duration of the file, of the time that was recorded",
    RunMetric.RECORDING_DELIVERED_RATIO: "frames in the file, of those captured from its first to its last",
    RunMetric.RECORDING_LONGEST_FREEZE_MS: "the longest time in the file without a new frame",
    RunMetric.RECORDING_AUDIO_MARKED_RATIO: "of the file's sound, how much was the marker's tones",
}


class NamedLimit(StrEnum):
    """Limits that depend on the run.

    LATENCY_OBJECTIVE: delay and jitter of the publisher's link up and the client's link down, three
        times of one that loses packets (for what is sent again); what the client's own jitter buffer and
        decoder took in this run; and 100 ms, or a quarter of that, for encoding and the SFU.
    LINK_HEIGHT: the tallest of the publisher's layers whose usual bitrate fits the client's link.
    TOP_HEIGHT: the publisher's own height.
    """

    LATENCY_OBJECTIVE = "latency-objective"
    LINK_HEIGHT = "link-height"
    TOP_HEIGHT = "top-height"


Limit: TypeAlias = float | NamedLimit


class Threshold(_Part):
    """What must hold. Exactly one of `max` and `min`; each client of the group must keep it.

    Attributes:
        metric: of each client (with `group`) or of the whole run (without).
        profiles: judged only where the group's profile is one of these; empty: always.
    """

    metric: Metric | RunMetric
    group: str = ""
    max: Limit | None = None
    min: Limit | None = None
    profiles: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_one_limit(self) -> Threshold:
        if (self.max is None) == (self.min is None):
            given = "neither max nor min" if self.max is None else "both max and min"
            raise ValueError(f"given {given}; allowed: exactly one of them")
        return self

    def __str__(self) -> str:
        """As reports show it, such as `viewers: latency_p95_ms ≤ 3000`."""
        limit = f"≤ {_shown(self.max)}" if self.max is not None else f"≥ {_shown(self.min)}"
        return f"{self.group}: {self.metric} {limit}" if self.group else f"{self.metric} {limit}"


def _shown(limit: Limit | None) -> str:
    return limit if isinstance(limit, NamedLimit) else f"{limit:g}"


class Camera(_Part):
    """Marked video with the noise that makes an encoder use its bitrate.

    Attributes:
        width, height: pixels. From a width of 960 on, the SDK sends 360p and 180p beside it.
        fps: frames per second.
        simulcast: whether the smaller layers are sent too.
    """

    width: int = Field(default=1280, ge=160, le=1920, multiple_of=2)
    height: int = Field(default=720, ge=90, le=1080, multiple_of=2)
    fps: int = Field(default=15, ge=1, le=60)
    simulcast: bool = True
    codec: Literal["vp8", "h264"] = "vp8"


class Publish(_Part):
    """What each client of a group sends; at least one of them."""

    camera: Camera | None = None
    screen: Camera | None = None
    microphone: bool = False

    @model_validator(mode="after")
    def _sends_something(self) -> Publish:
        if self.camera is None and self.screen is None and not self.microphone:
            raise ValueError("given nothing; allowed: at least one of camera, screen, microphone: true")
        return self


class Arrival(_Part):
    """How a group comes in: `per_s` of them a second (None: all at once), from `after_s` on."""

    after_s: float = Field(default=0, ge=0)
    per_s: float | None = Field(default=None, gt=0)


class Group(_Part):
    """Clients that are alike.

    Attributes:
        count: how many.
        profile: of the link that each of them has; `run` for the run's own.
        subscribe: whether each takes in everything that its room has.
        transport: which ICE candidates they may use.
        stay_s: each leaves after so long and comes again, until the run ends; None: they stay.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$")
    count: int = Field(ge=0, le=500)
    profile: str = PROFILE_OF_THE_RUN
    publish: Publish | None = None
    subscribe: bool = False
    transport: Literal["all", "relay"] = "all"
    arrival: Arrival = Arrival()
    stay_s: float | None = Field(default=None, gt=0)


class ActionKind(StrEnum):
    """What may be done to a group while it runs. The first four are the SDK's own simulations."""

    RECONNECT_SIGNAL = "reconnect-signal"
    RECONNECT_FULL = "reconnect-full"
    SERVER_LEAVE = "server-leave"
    MIGRATE = "migrate"
    BLOCK_UDP = "block-udp"  # what is left is ICE-TCP and TURN
    BLOCK_ALL_BUT_TURN = "block-all-but-turn"
    KILL_NODE = "kill-node"  # the pod of the SFU that carries the group's room
    CAPACITY = "capacity"


class Action(_Part):
    """Something done at `at_s` of the measured time.

    Attributes:
        down_kbps, up_kbps: of a capacity action: from then on.
    """

    at_s: float = Field(ge=0)
    kind: ActionKind
    group: str
    down_kbps: int | None = Field(default=None, ge=8)
    up_kbps: int | None = Field(default=None, ge=8)

    @model_validator(mode="after")
    def _has_a_capacity_where_it_sets_one(self) -> Action:
        given = self.down_kbps is not None or self.up_kbps is not None
        if self.kind is ActionKind.CAPACITY and not given:
            raise ValueError("given neither down_kbps nor up_kbps; allowed: one of them, or both")
        if self.kind is not ActionKind.CAPACITY and given:
            raise ValueError(f"given a capacity for {self.kind}; allowed: only for {ActionKind.CAPACITY}")
        return self


class Ramp(_Part):
    """A search for the limit: the group (or the API's rate) grows until a threshold breaks.

    Attributes:
        group: whose count grows; empty: the rate of `api`.
        start, step, most: clients, or requests per second.
        hold_s: each size is measured for so long.
    """

    group: str = ""
    start: int = Field(ge=1)
    step: int = Field(ge=1)
    most: int = Field(ge=1)
    hold_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _goes_up(self) -> Ramp:
        if self.most < self.start:
            raise ValueError(f"given most {self.most}; allowed: at least start, {self.start}")
        return self


class ApiLoad(_Part):
    """Requests for tokens at a constant rate, open loop."""

    per_s: float = Field(gt=0)
    duration_s: float = Field(gt=0)
    timeout_s: float = Field(default=10, gt=0)


class Recording(_Part):
    """A room-composite recording of the room, to MP4, while it is measured.

    Attributes:
        layout: of LiveKit's Egress API. One participant fills the frame in each.
    """

    layout: Literal["speaker", "grid", "single-speaker"] = "speaker"


class Scenario(_Part):
    """One kind of load and what must hold under it.

    Attributes:
        duration_s: measured time; it begins when every client has arrived and had time to settle.
        settle_s: that time, after the last client has its first media or has missed it.
        first_media_s: a client that has no media after so long has missed it.
        rooms: over how many rooms the groups are spread, round robin: the first clients of all groups
            share the first room.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    title: str
    duration_s: float = Field(gt=0)
    settle_s: float = Field(default=5, ge=0)
    first_media_s: float = Field(default=30, gt=0)
    rooms: int = Field(default=1, ge=1)
    groups: tuple[Group, ...] = ()
    actions: tuple[Action, ...] = ()
    ramp: Ramp | None = None
    api: ApiLoad | None = None
    recording: Recording | None = None
    thresholds: tuple[Threshold, ...]
