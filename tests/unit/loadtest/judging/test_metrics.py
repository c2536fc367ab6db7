from __future__ import annotations

import pytest

from loadtest.definition.profile import Direction
from loadtest.definition.scenario import METRICS, Camera, Metric
from loadtest.judging.facts import JudgedClient, OwnTimes, Picture
from loadtest.judging.metrics import client_metrics, measure
from loadtest.judging.not_measured import NotMeasured
from loadtest.result import (
    ClockComparison,
    Freeze,
    Interruption,
    JoinTimes,
    LayerChange,
    Outcome,
)
from tests.unit.loadtest.judging.judged import (
    CAMERA,
    facts,
    milliseconds,
    result,
    seconds,
    sound,
    track,
    viewer,
)

SCREEN = Picture(
    publisher="creator-1", source="screen", camera=Camera(width=1280, height=720, fps=5), up=Direction()
)
BOTH = facts(pictures=(CAMERA, SCREEN))


def layers(*heights_at: tuple[float, int]) -> tuple[LayerChange, ...]:
    return tuple(LayerChange(at_s=at, width=height * 16 // 9, height=height) for at, height in heights_at)


def test_every_metric_says_what_it_means_and_a_good_client_has_all_that_apply() -> None:
    assert set(METRICS) == set(Metric)
    without = {Metric.TOKEN_MS, Metric.ADAPT_S, Metric.RECOVERY_MS, Metric.JITTER_MS, Metric.ROUND_TRIP_MS}
    assert set(client_metrics(viewer())) == set(Metric) - without - {Metric.ENCODE_MS}
    sender = JudgedClient(result(), facts(own=OwnTimes(encode_ms=12)))
    assert measure(Metric.ENCODE_MS, sender) == 12


def test_values() -> None:
    join = JoinTimes(token_ms=10, signalling_ms=40, ice_ms=100, first_video_ms=300, first_audio_ms=250)
    freezes = (Freeze(at_s=12, lasted_ms=600), Freeze(at_s=20, lasted_ms=900))
    client = viewer(join=join, video=(track(freezes=freezes),), seconds=seconds(jitter_ms=3, round_trip_ms=9))
    values = client_metrics(client)
    assert values[Metric.JOIN_MS] == 150
    assert values[Metric.FIRST_VIDEO_MS] == 300
    assert (values[Metric.LATENCY_P50_MS], values[Metric.LATENCY_P99_MS]) == (60, 90)
    assert (values[Metric.AGE_P95_MS], values[Metric.AGE_MAX_MS]) == (150, 150)
    assert values[Metric.DELIVERED_RATIO] == pytest.approx(440 / 450)
    assert values[Metric.PICTURES] == 440
    assert values[Metric.FROZEN_RATIO] == pytest.approx(1.5 / 30)
    assert values[Metric.LONGEST_FREEZE_MS] == 900
    assert values[Metric.RECEIVED_KBPS] == 1700
    assert (values[Metric.JITTER_MS], values[Metric.ROUND_TRIP_MS]) == (3, 9)
    assert values[Metric.AUDIO_MARKED_RATIO] == 0.99
    assert values[Metric.CLOCK_DIFFERENCE_MS] == 0.4
    assert (values[Metric.JITTER_BUFFER_MS], values[Metric.DECODE_MS]) == (40, 6)


def test_of_two_tracks_the_worse_one_counts() -> None:
    screen = track(
        source="screen", latency_ms=milliseconds(500), age_ms=milliseconds(900), delivered=30, sent=60
    )
    client = viewer(video=(track(), screen), facts_of_it=BOTH)
    assert measure(Metric.LATENCY_P50_MS, client) == 500
    assert measure(Metric.AGE_P95_MS, client) == 900
    assert measure(Metric.DELIVERED_RATIO, client) == 0.5
    assert measure(Metric.PICTURES, client) == 30


@pytest.mark.parametrize("metric", [Metric.LATENCY_P50_MS, Metric.AGE_P95_MS, Metric.LONGEST_FREEZE_MS])
def test_a_track_that_did_not_come_leaves_no_figure_that_the_others_could_make_good(metric: Metric) -> None:
    client = viewer("viewers-2", facts_of_it=BOTH)
    assert measure(Metric.PICTURES, client) == 0
    with pytest.raises(NotMeasured, match="viewers-2 got no picture of creator-1's screen"):
        measure(metric, client)


def test_a_track_that_never_gave_a_picture_is_missing_too() -> None:
    silent = track(delivered=0, latency_ms=None, age_ms=None, layers=())
    with pytest.raises(NotMeasured, match="no picture of creator-1's camera"):
        measure(Metric.AGE_P95_MS, viewer(video=(silent,)))


def test_a_track_that_came_before_the_measured_time_and_never_in_it_stood_still_for_all_of_it() -> None:
    stopped = track(
        delivered=0,
        sent=0,
        latency_ms=None,
        age_ms=milliseconds(1000, 31_000),
        freezes=(Freeze(at_s=10, lasted_ms=30_000),),
        second_clock=None,
    )
    client = viewer(video=(stopped,))
    assert measure(Metric.LONGEST_FREEZE_MS, client) == 30_000
    assert measure(Metric.FROZEN_RATIO, client) == 1
    assert measure(Metric.AGE_P95_MS, client) == 31_000
    assert measure(Metric.PICTURES, client) == 0
    for of_pictures in (Metric.LATENCY_P50_MS, Metric.DELIVERED_RATIO, Metric.SETTLED_HEIGHT):
        with pytest.raises(NotMeasured, match="got no picture of creator-1's camera in the measured time"):
            measure(of_pictures, client)


def test_the_reason_of_a_client_that_failed_is_told_with_what_is_missing() -> None:
    client = viewer(join=JoinTimes(), outcome=Outcome.FAILED, reason="could not connect within 30 s")
    with pytest.raises(NotMeasured, match=r"viewers-1 did not join: could not connect within 30 s"):
        measure(Metric.JOIN_MS, client)


def test_it_settles_on_the_height_that_came_longest_in_the_second_half() -> None:
    # The second half is 25 to 40 s: 720 from 25 to 26, 360 to 35, 180 to 40.
    client = viewer(video=(track(layers=layers((6, 720), (26, 360), (35, 180))),))
    assert measure(Metric.SETTLED_HEIGHT, client) == 360


def test_a_size_that_came_before_the_window_lasts_into_it() -> None:
    assert measure(Metric.SETTLED_HEIGHT, viewer(video=(track(layers=layers((6, 180))),))) == 180


def test_the_top_layer_counts_from_connecting() -> None:
    assert measure(Metric.TOP_LAYER_S, viewer()) == 4


def test_a_top_layer_that_never_came() -> None:
    with pytest.raises(
        NotMeasured, match="never came to viewers-1 in its own height 720, but in 360 at most"
    ):
        measure(Metric.TOP_LAYER_S, viewer(video=(track(layers=layers((6, 180), (9, 360))),)))


def test_layer_switches_within_the_window_only() -> None:
    client = viewer(video=(track(layers=layers((6, 180), (9, 360), (12, 720), (30, 360), (41, 720))),))
    assert measure(Metric.LAYER_SWITCHES, client) == 2


def test_a_first_picture_within_the_window_is_no_switch() -> None:
    assert measure(Metric.LAYER_SWITCHES, viewer(video=(track(layers=layers((12, 720))),))) == 0


def test_a_voice_that_is_not_heard() -> None:
    for audio in ((), (sound(marked_ratio=0, steps_in_order=0),)):
        with pytest.raises(NotMeasured, match="viewers-1 heard nothing of creator-1"):
            measure(Metric.LONGEST_AUDIO_GAP_MS, viewer(audio=audio))


def test_the_longest_audio_gap() -> None:
    gaps = (Freeze(at_s=12, lasted_ms=80), Freeze(at_s=14, lasted_ms=200))
    assert measure(Metric.LONGEST_AUDIO_GAP_MS, viewer(audio=(sound(gaps=gaps),))) == 200
    assert measure(Metric.LONGEST_AUDIO_GAP_MS, viewer()) == 0


def test_recovery_is_that_of_the_worst_action() -> None:
    seen = tuple(
        Interruption(action="reconnect-full", at_s=at, recovery_ms=ms) for at, ms in ((5, 800), (20, 1900))
    )
    assert measure(Metric.RECOVERY_MS, viewer(interruptions=seen)) == 1900


def test_a_client_that_never_recovered() -> None:
    seen = (Interruption(action="kill-node", at_s=12, recovery_ms=None),)
    with pytest.raises(NotMeasured, match=r"no picture came to viewers-1 again after kill-node at 12\.0 s"):
        measure(Metric.RECOVERY_MS, viewer(interruptions=seen))


def test_the_clocks_differ_by_the_worst_track() -> None:
    off = track(
        second_clock=ClockComparison(count=9, median_difference_ms=-30, p95_absolute_difference_ms=31)
    )
    assert measure(Metric.CLOCK_DIFFERENCE_MS, viewer(video=(off,))) == 30
    with pytest.raises(NotMeasured, match="metadata"):
        measure(Metric.CLOCK_DIFFERENCE_MS, viewer(video=(track(second_clock=None),)))


def test_a_client_to_whom_nobody_sends() -> None:
    alone = JudgedClient(result(video=(), audio=()), facts(pictures=(), voices=()))
    with pytest.raises(NotMeasured, match="nobody who stays sends a picture"):
        measure(Metric.PICTURES, alone)
