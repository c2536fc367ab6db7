"""What a run has found, as one value: thresholds are judged on it, and every report is drawn from it.

`RunResult.model_dump_json()` is the JSON report. Its schema has a version of its own: a field that is
added raises nothing, one that goes or changes its meaning raises `SCHEMA_VERSION`.

Units are in the names: `_ms` milliseconds, `_s` seconds, `_kbps` 1000 bit/s, `_ratio` 0 to 1. Times
called `at_s` are since the start of the run, whose clock is CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from loadtest.client.path import TransportPath
from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Metric, RunMetric, Scenario
from loadtest.net.calibration import Calibration

SCHEMA_VERSION: Final = 1

VideoSource: TypeAlias = Literal["camera", "screen"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Distribution(_Part):
    """Of one quantity, in the unit of its samples: how many, and where they lie.

    Attributes:
        count: samples.
        mean, minimum, maximum: of the samples.
        p50, p95, p99: percentiles; each is a sample that occurred, the next higher one.
        quantiles: 101 values, the quantiles 0 %, 1 %, … 100 %: the line of a CDF.
    """

    count: int = Field(ge=1)
    mean: float
    minimum: float
    p50: float
    p95: float
    p99: float
    maximum: float
    quantiles: tuple[float, ...] = Field(min_length=101, max_length=101)


class NoSamples(Exception):
    """There is nothing to make a figure of."""


def distribution(samples: Sequence[float]) -> Distribution:
    """The distribution of `samples`; a percentile is a sample that occurred, the next higher one.

    Raises:
        NoSamples: there are none.
    """
    if not len(samples):
        raise NoSamples("a distribution needs at least one sample")
    quantiles = tuple(float(q) for q in np.percentile(samples, np.arange(101), method="higher"))
    return Distribution(
        count=len(samples),
        mean=float(np.mean(samples)),
        minimum=quantiles[0],
        p50=quantiles[50],
        p95=quantiles[95],
        p99=quantiles[99],
        maximum=quantiles[100],
        quantiles=quantiles,
    )


class JoinTimes(_Part):
    """Where the time of joining went; None for a part that did not come, or that this target has not.

    Attributes:
        token_ms: asking the token-api; None where tokens were made with the API key.
        signalling_ms: from the start of connecting to the server's join answer.
        ice_ms: from there until a media connection was up (ICE and DTLS).
        first_video_ms, first_audio_ms: from the start of connecting to the first readable one.
    """

    token_ms: float | None = None
    signalling_ms: float | None = None
    ice_ms: float | None = None
    first_video_ms: float | None = None
    first_audio_ms: float | None = None


class Freeze(_Part):
    """A gap between two pictures of max(3 × the average gap, the average + 150 ms) or more (W3C)."""

    at_s: float
    lasted_ms: float


class LayerChange(_Part):
    """From here on pictures came in this size.

    Attributes:
        width, height: pixels.
    """

    at_s: float
    width: int
    height: int


class ClockComparison(_Part):
    """The marker's latency against that of the SDK's frame metadata, of the same pictures.

    Attributes:
        count: pictures that had both.
        median_difference_ms, p95_absolute_difference_ms: marker minus metadata.
    """

    count: int
    median_difference_ms: float
    p95_absolute_difference_ms: float


class VideoResult(_Part):
    """One video track as one subscriber saw it.

    Attributes:
        publisher: the client that it is from.
        source: what it shows.
        latency_ms: capture to decoded, of every picture that came; None where none did.
        age_ms: of the newest picture, looked at on every tick of the frame rate. A track that stalls
            gives no pictures and so no latencies: here it shows.
        delivered: different pictures that came and could be read.
        sent: pictures that the publisher captured between the first and the last of these.
        unreadable: pictures that came, whose marker could not be read.
        second_clock: None where the pictures carried no metadata.
    """

    publisher: str
    source: VideoSource
    latency_ms: Distribution | None
    age_ms: Distribution | None
    delivered: int
    sent: int
    unreadable: int
    freezes: tuple[Freeze, ...]
    layers: tuple[LayerChange, ...]
    second_clock: ClockComparison | None


class AudioResult(_Part):
    """One audio track as one subscriber heard it.

    Attributes:
        publisher: the client that it is from.
        steps_in_order, steps_out_of_order: of the tones, which rise step by step.
        marked_ratio: of the time, how much was the marker's tones.
        gaps: times without them, of 60 ms and more.
    """

    publisher: str
    marked_ratio: float
    steps_in_order: int
    steps_out_of_order: int
    gaps: tuple[Freeze, ...]


class Interruption(_Part):
    """What an action of the scenario did to one client's media.

    Attributes:
        action: the scenario's word for it.
        at_s: when the action was taken.
        recovery_ms: from the last picture before the gap to the first after it; None: never again.
        detail: what the client's transport was afterwards, such as `relay udp`.
    """

    action: str
    at_s: float
    recovery_ms: float | None
    detail: str = ""


class Second(_Part):
    """One second of one client: what plots over time are drawn from.

    Attributes:
        pictures: that were decoded in it, over all its video tracks.
        latency_p50_ms, latency_max_ms: of those.
        age_max_ms: the oldest that the newest picture of any track was.
        height: of the last picture that came; 0 before the first.
        received_kbps, sent_kbps: media, from the WebRTC statistics.
        lost_packets: in this second.
        jitter_ms, round_trip_ms: as WebRTC measured last.
    """

    at_s: float
    pictures: int = 0
    latency_p50_ms: float | None = None
    latency_max_ms: float | None = None
    age_max_ms: float | None = None
    height: int = 0
    received_kbps: float = 0
    sent_kbps: float = 0
    lost_packets: int = 0
    jitter_ms: float | None = None
    round_trip_ms: float | None = None


class Outcome(StrEnum):
    """How a client's process ended."""

    FINISHED = "finished"
    FAILED = "failed"  # it said so, and why
    DIED = "died"  # it was gone


class ClientResult(_Part):
    """One client of the run.

    Attributes:
        name: the group's, and a number.
        group: the scenario's group that it belongs to.
        room: the server's room that it was in.
        profile: of its link.
        paths: which way its media went, at the end.
        pictures_captured: those that it sent, over all its video tracks.
        reason: why it failed or died, in a sentence; else empty.
        metrics: every metric that has a value for this client.
        cpu_s: processor time that its process used.
    """

    name: str
    group: str
    room: str
    profile: str
    outcome: Outcome
    reason: str = ""
    join: JoinTimes = JoinTimes()
    paths: tuple[TransportPath, ...] = ()
    video: tuple[VideoResult, ...] = ()
    audio: tuple[AudioResult, ...] = ()
    interruptions: tuple[Interruption, ...] = ()
    seconds: tuple[Second, ...] = ()
    pictures_captured: int = 0
    cpu_s: float = 0
    metrics: dict[Metric, float] = {}


class CapacityChange(_Part):
    """A link's capacity from `at_s` on, as the profile or an action asked for it.

    Attributes:
        group: whose links.
    """

    at_s: float
    group: str
    down_kbps: int | None
    up_kbps: int | None


class LinkResult(_Part):
    """One group's links: what they claim, what they were measured to be, and how the emulator kept up.

    Attributes:
        group: whose links.
        profile: what the links claim to be, with all its figures.
        calibration: what they were measured to be before use; None where there was nothing to measure.
        backend: netem, nfqueue or none.
        fault: why the links stopped working, such as an emulator that ended; empty if they worked.
        lateness_p50_ms, lateness_p99_ms: how late packets were let go; None without an emulator of our own.
        dropped_by_loss, dropped_by_queue: packets, during the run.
    """

    group: str
    profile: NetworkProfile
    backend: Literal["netem", "nfqueue", "none"]
    calibration: Calibration | None
    fault: str = ""
    lateness_p50_ms: float | None = None
    lateness_p99_ms: float | None = None
    dropped_by_loss: int = 0
    dropped_by_queue: int = 0
    capacity: tuple[CapacityChange, ...] = ()


class SfuSample(_Part):
    """One SFU node over one interval that ends at `at_s`; rates are per second.

    Attributes:
        node: its name or address.
        cpu_cores: processors that the SFU kept busy.
        packets_in, packets_out: packets per second, from and to clients.
        bytes_in, bytes_out: bytes per second, from and to clients.
        rtp_span_s: how long the time before `at_s` is that packets and bytes are over; longer than the
            interval, for a server counts them in bursts.
    """

    at_s: float
    node: str
    cpu_cores: float
    memory_mib: float
    packets_in: float
    packets_out: float
    bytes_in: float
    bytes_out: float
    rtp_span_s: float = 0


class GeneratorSample(_Part):
    """The machine that makes the load, over one interval.

    Attributes:
        cpu_ratio: of all its processors, how much was busy, with whatever, or not to be had.
        own_cores: processors that our own processes kept busy.
        stolen_ratio: of all its processors, how much the machine's host gave to others (steal).
    """

    at_s: float
    cpu_ratio: float
    own_cores: float
    stolen_ratio: float = 0


class ApiSecond(_Part):
    """One second of the load on the API: what ended in it.

    Attributes:
        answers: wanted ones.
        errors: all else.
        latency_p50_ms, latency_max_ms: as `ApiResult.latency_ms`; None where nothing ended.
    """

    at_s: float
    answers: int
    errors: int
    latency_p50_ms: float | None
    latency_max_ms: float | None


class ApiResult(_Part):
    """An open-loop load on the API: requests start when they are due, whatever became of the ones before.

    Attributes:
        offered_per_s, achieved_per_s: requests that were due, and answers that came, per second.
            An answer that came after the last request was due has not kept up, and is not counted here.
        requests: that were due, in all.
        latency_ms: from when a request was due, not from when it could be sent, to its answer. Of wanted
            answers, and of timeouts with their full time; other failures, which may be quick, are not in.
        service_ms: from when it was sent. Where both differ, requests had to wait here: for the generator
            (late_ms), or because earlier ones held all its connections.
        late_ms: how long after it was due the generator got round to a request. That is its own fault:
            where this is much, the rate was not the offered one, and the figures prove nothing.
        errors: answers other than the wanted one, and failures, by their kind.
    """

    offered_per_s: float
    achieved_per_s: float
    requests: int
    latency_ms: Distribution | None
    service_ms: Distribution | None
    errors: dict[str, int]
    late_ms: Distribution | None = None
    seconds: tuple[ApiSecond, ...] = ()


class RampStep(_Part):
    """One step of a search for the limit.

    Attributes:
        size: clients of the ramped group, or requests per second.
        broke: the thresholds that this step missed.
    """

    size: int
    at_s: float
    lasted_s: float
    broke: tuple[str, ...]


class RampResult(_Part):
    """What the search found: the largest size that held, and what broke first above it.

    Attributes:
        group: that grew; empty: the rate of the API's requests.
        held: the largest size that missed nothing; 0 where the first did.
        steps: in their order; the last one is where the search ended.
    """

    group: str
    held: int
    steps: tuple[RampStep, ...]


class RecordedMedia(_Part):
    """A media file, by the marker and the tones in it.

    Attributes:
        size_bytes: of the file.
        width, height: pixels.
        first_captured_ms: when the first frame was captured, on the publisher's CLOCK_MONOTONIC modulo 2**32;
            None if no marker could be read.
        delivered: different frames of the publisher that could be read.
        sent: frames that the publisher captured between the first and the last of these.
        unreadable: frames of the file whose marker could not be read.
        out_of_order: frames that come after a later one.
        freezes: times without a new frame, as of a subscriber. `at_s` counts from the file's start.
        tones_ratio: of the sound, how much was the marker's tones.
    """

    duration_s: float
    size_bytes: int
    width: int
    height: int
    first_captured_ms: int | None
    delivered: int
    sent: int
    unreadable: int
    out_of_order: int
    freezes: tuple[Freeze, ...]
    tones_ratio: float

    @property
    def longest_freeze_ms(self) -> float:
        """0 without a freeze."""
        return max((freeze.lasted_ms for freeze in self.freezes), default=0.0)


class RecordingResult(_Part):
    """The recording of the run's room, from the request to the file in the bucket.

    Attributes:
        egress_id: LiveKit's; empty if the request was refused.
        status: the last one that LiveKit reported, such as `EGRESS_COMPLETE`; empty if it reported none.
        problem: why there is no file, or none that can be evaluated, in a sentence; else empty.
        key: of the file in the bucket.
        start_ms: from the request to the capture of the file's first frame.
        save_ms: from the request to stop to the file in the bucket.
        recorded_s: from the first report that it records to the request to stop.
    """

    egress_id: str = ""
    status: str = ""
    problem: str = ""
    key: str = ""
    start_ms: float | None = None
    save_ms: float | None = None
    recorded_s: float | None = None
    media: RecordedMedia | None = None


class Check(_Part):
    """One threshold, judged.

    Attributes:
        passed: whether it holds.
        limit: what the value was held against, in the metric's unit.
        limit_parts: what a limit that was computed is the sum of, in words; else empty.
        threshold: as written in the scenario, such as `viewers: latency_p95_ms ≤ 3000`.
        value: the worst client's, or the run's; None where there was none to judge.
        worst: the client that it is from; empty for a metric of the whole run.
        reason: why it failed, in a sentence; else empty.
    """

    threshold: str
    passed: bool
    value: float | None
    limit: float
    limit_parts: str = ""
    worst: str = ""
    reason: str = ""


class Verdict(StrEnum):
    """What the run says; its exit code is `EXIT_CODES[verdict]`."""

    PASSED = "passed"
    FAILED = "failed"
    INVALID = "invalid"
    COULD_NOT_RUN = "could-not-run"


EXIT_CODES: Final = {
    Verdict.PASSED: 0,
    Verdict.FAILED: 1,
    Verdict.INVALID: 2,
    Verdict.COULD_NOT_RUN: 3,
}


class Environment(_Part):
    """Where and with what it ran.

    Attributes:
        machine: the processor's model.
        kernel, python: versions.
        processors: how many this machine has.
        sdk: the clients' SDK and its version.
        server: the version that the server says it is.
        commit: of this project, and whether files differed from it.
        target: what was put under load.
    """

    machine: str
    kernel: str
    processors: int
    memory_gib: float
    python: str
    sdk: str
    server: str
    commit: str
    target: str


class RunResult(_Part):
    """Everything about one run.

    Attributes:
        schema_version: of this very form; another one means another form.
        scenario: as it was run, with what the command line changed in it.
        started: date and time, UTC.
        measured_from_s, measured_to_s: the time that the figures are over, on the run's clock; of a ramp
            that of the last size that held, or else of the first. None where nothing was measured.
        seed: of the links' random numbers; None where it is not known.
        checks: the thresholds, judged, and the clients that ended early.
        sfu: samples of all SFU nodes over the run, in the order of time.
        generator: samples of the machine that made the load.
        api: the load on the API; None where the scenario has none.
        ramp: the search for a limit; None where the scenario has none.
        recording: of the room; None where the scenario has none.
        profile: the profile that groups without one of their own had.
        interrupted: it was told to end before it was done; what there is, is here.
        invalid: why the figures prove nothing; empty for a run to trust.
        notes: what to know when reading a run that may well be valid.
        problem: what kept it from running; else empty.
        command: what to type to run it again.
        metrics: those of the whole run.
    """

    schema_version: int = SCHEMA_VERSION
    scenario: Scenario
    profile: str
    started: datetime
    lasted_s: float
    measured_from_s: float | None = None
    measured_to_s: float | None = None
    seed: int | None = None
    verdict: Verdict
    interrupted: bool
    invalid: tuple[str, ...]
    notes: tuple[str, ...] = ()
    problem: str
    command: str
    environment: Environment
    checks: tuple[Check, ...]
    metrics: dict[RunMetric, float]
    clients: tuple[ClientResult, ...]
    links: tuple[LinkResult, ...]
    sfu: tuple[SfuSample, ...]
    generator: tuple[GeneratorSample, ...]
    api: ApiResult | None
    ramp: RampResult | None
    recording: RecordingResult | None = None
