"""What is kept of pictures and samples as they come, and of WebRTC's totals."""

import numpy as np
import pytest
from livekit import rtc
from livekit.rtc import stats

from loadtest.client.bitrates import layer_heights, makes_simulcast, usual_kbps
from loadtest.client.hearing import HeardTrack
from loadtest.client.picture import Scenery, Text
from loadtest.client.seeing import SeenTrack
from loadtest.client.statistics import TransportMeter
from loadtest.marker.audio import SAMPLE_RATE, tone_samples
from loadtest.marker.video import FRAME_MODULUS, TIME_MODULUS, Plane, Stamp, paint, read

_SAMPLES_MS = SAMPLE_RATE // 1000


def _picture(time_ms: int, frame: int) -> Plane:
    luma = np.full((180, 320), 118, dtype=np.uint8)
    paint(luma, Stamp(time_ms % TIME_MODULUS, frame % FRAME_MODULUS))
    return luma


def test_both_clocks_are_kept_and_the_counter_is_unwrapped_in_either_direction() -> None:
    seen = SeenTrack("p", "camera")
    for number in (65_534, 65_537, 65_536):
        assert seen.take(_picture(1000, number), 1020.5, 1_000_250)
    second = seen.take_second()
    assert [frame.frame for frame in second.frames] == [65_534, 65_537, 65_536]
    assert second.frames[0].latency_ms == pytest.approx(20.5)
    assert second.frames[0].metadata_latency_ms == pytest.approx(20.25)
    assert (second.frames[0].width, second.frames[0].height) == (320, 180)
    assert seen.take_second().frames == ()


def test_a_picture_without_a_marker_or_from_an_impossible_time_is_unreadable() -> None:
    seen = SeenTrack("p", "screen")
    assert not seen.take(np.full((180, 320), 118, dtype=np.uint8), 1000, None)
    assert not seen.take(_picture(1000, 1), 2_000_000, None)
    assert (seen.take_second().unreadable, seen.take_second().unreadable) == (2, 0)


def _hear(track: HeardTrack, from_ms: int, to_ms: int, *, silent: bool = False, late_ms: float = 0) -> None:
    """10 ms at a time, as the SDK gives them."""
    for at_ms in range(from_ms, to_ms, 10):
        samples = tone_samples(at_ms * _SAMPLES_MS, 10 * _SAMPLES_MS)
        track.take(samples * (0 if silent else 1), at_ms + 10 + late_ms)


def test_silence_of_60_ms_is_a_gap_and_less_is_none() -> None:
    track = HeardTrack("p")
    _hear(track, 0, 1000)
    _hear(track, 1000, 1040, silent=True)
    _hear(track, 1040, 2000)
    _hear(track, 2000, 2300, silent=True)
    _hear(track, 2300, 3000)
    second = track.take_second()
    [gap] = second.gaps
    assert gap.to_ms - gap.from_ms == pytest.approx(300, abs=40)
    assert gap.to_ms == pytest.approx(2320, abs=40)
    assert second.last_marked_ms == 3000
    assert (second.windows, track.take_second().windows) == (150, 0)


def test_samples_that_stop_are_a_gap_and_samples_that_are_a_little_late_are_none() -> None:
    track = HeardTrack("p")
    _hear(track, 0, 1000)
    _hear(track, 1000, 1400, late_ms=100)
    _hear(track, 1400, 2000)
    assert track.take_second().gaps == ()
    _hear(track, 2000, 3000, late_ms=800)
    [gap] = track.take_second().gaps
    assert gap.to_ms - gap.from_ms > 700


def test_a_stream_that_begins_anew_is_heard_only_by_tones_of_its_own() -> None:
    track = HeardTrack("p")
    _hear(track, 0, 1000)
    track.restart()
    assert not track.take(tone_samples(0, 20 * _SAMPLES_MS), 1020)


@pytest.mark.parametrize("painted", [Scenery(1280, 720), Text(1280, 720)])
def test_pictures_move_and_leave_the_marker_readable(painted: Scenery | Text) -> None:
    first, later = (np.zeros((720, 1280), dtype=np.uint8) for _ in range(2))
    painted.paint(first, 0)
    painted.paint(later, 20)
    assert np.mean(first != later) > 0.05
    paint(later, Stamp(5, 6))
    assert read(later) == Stamp(5, 6)
    painted.paint(later, 1_000_000)  # a soak's last


def test_bitrates_and_layers_are_those_of_the_sdk() -> None:
    assert [usual_kbps(height) for height in (180, 360, 720, 1080, 100, 2160)] == [
        160,
        450,
        1700,
        3000,
        160,
        3000,
    ]
    assert usual_kbps(720, "screen") == 1000
    assert layer_heights(1280, 720, simulcast=True) == (180, 360, 720)
    assert layer_heights(1280, 720, simulcast=False) == (720,)
    assert layer_heights(640, 360, simulcast=True) == (360,)
    assert makes_simulcast(960, 540)
    assert not makes_simulcast(640, 360)


def _report(received: int, lost: int, sent: int) -> rtc.RtcStats:
    inbound, outbound = stats.RtcStats(), stats.RtcStats()
    inbound.inbound_rtp.rtc.id = "in"
    inbound.inbound_rtp.stream.kind = "video"
    inbound.inbound_rtp.received.packets_received = received
    inbound.inbound_rtp.received.packets_lost = lost
    inbound.inbound_rtp.received.jitter = 0.004
    inbound.inbound_rtp.inbound.bytes_received = received * 1000
    inbound.inbound_rtp.inbound.jitter_buffer_delay = received * 0.05
    inbound.inbound_rtp.inbound.jitter_buffer_emitted_count = received
    inbound.inbound_rtp.inbound.total_decode_time = received * 0.006
    inbound.inbound_rtp.inbound.frames_decoded = received
    outbound.outbound_rtp.rtc.id = "out"
    outbound.outbound_rtp.stream.kind = "video"
    outbound.outbound_rtp.sent.bytes_sent = sent
    outbound.outbound_rtp.outbound.frame_height = 720
    outbound.outbound_rtp.outbound.total_encode_time = sent * 0.02
    outbound.outbound_rtp.outbound.frames_encoded = sent
    return rtc.RtcStats(publisher_stats=[outbound], subscriber_stats=[inbound])


def test_totals_become_what_was_counted_in_a_second() -> None:
    meter = TransportMeter()
    meter.read(_report(100, 5, 1_000), 0)
    second = meter.read(_report(180, 4, 126_000), 1000)
    assert (second.packets_received, second.packets_lost, second.received_bytes) == (80, -1, 80_000)
    assert second.sent_bytes == 125_000
    assert second.jitter_ms == pytest.approx(4)
    assert (second.jitter_buffer_ms, second.decode_ms) == pytest.approx((50, 6))
    [layer] = second.layers
    assert layer.height == 720
    assert (layer.kbps, layer.encode_ms) == pytest.approx((1000, 20))


def test_totals_that_begin_anew_after_a_reconnect_count_from_there() -> None:
    meter = TransportMeter()
    meter.read(_report(1000, 0, 9_000), 0)
    second = meter.read(_report(30, 0, 500), 1000)
    assert (second.packets_received, second.sent_bytes) == (30, 500)
