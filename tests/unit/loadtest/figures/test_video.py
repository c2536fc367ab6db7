import pytest

from loadtest.client.protocol import Measured
from loadtest.client.samples import FrameSample, VideoSecond
from loadtest.figures import Expected, Span, Window, presence, recovery, seconds, video_results
from loadtest.figures.pictures import TICK_MS
from loadtest.figures.seconds import LiveAges
from loadtest.result import NoSamples, VideoResult
from tests.unit.loadtest.figures.recorded import FRAME_MS, frame, joined, left, recording, told

WHOLE = Window(1000, 9000, run_start_ms=0)


def _only(frames: list[FrameSample], until_ms: float = 10_000, window: Window = WHOLE) -> VideoResult:
    [result] = video_results(recording(joined(), told(frames, until_ms)), window)
    return result


def test_a_good_track_has_the_latency_and_an_age_of_at_most_a_frame_more() -> None:
    good = _only([frame(n) for n in range(150)])
    assert good.latency_ms is not None
    assert good.age_ms is not None
    assert good.latency_ms.p50 == pytest.approx(50)
    assert 50 <= good.age_ms.minimum <= good.age_ms.maximum <= 50 + FRAME_MS + 1e-6
    assert good.delivered == good.sent == pytest.approx(120, abs=1)
    assert good.freezes == ()
    assert [(change.width, change.height) for change in good.layers] == [(640, 360)]
    assert good.second_clock is not None
    assert good.second_clock.median_difference_ms == pytest.approx(-0.5)


def test_a_picture_that_never_comes_again_grows_old_until_the_windows_end() -> None:
    dead = _only([frame(n) for n in range(60)])  # the last came at 3983 ms
    assert dead.latency_ms is not None
    assert dead.age_ms is not None
    assert dead.latency_ms.maximum == pytest.approx(50)
    assert dead.age_ms.maximum == pytest.approx(9000 - 59 * FRAME_MS, abs=FRAME_MS)
    [freeze] = dead.freezes
    assert freeze.at_s == pytest.approx((59 * FRAME_MS + 50) / 1000)
    assert freeze.lasted_ms == pytest.approx(9000 - 59 * FRAME_MS - 50)


def test_a_client_that_tells_no_more_seconds_is_frozen_and_not_forgiven() -> None:
    frozen = _only([frame(n) for n in range(150)], until_ms=4000)
    assert frozen.age_ms is not None
    assert frozen.age_ms.maximum > 4900


def test_a_second_that_is_yet_to_be_told_is_not_missing() -> None:
    live = _only([frame(n) for n in range(150)], until_ms=8000)
    assert live.age_ms is not None
    assert live.age_ms.maximum < 50 + FRAME_MS + 1e-6
    assert live.freezes == ()


def test_a_track_that_never_gave_a_picture_is_there_and_frozen_all_the_time() -> None:
    silent = _only([])
    assert (silent.delivered, silent.sent, silent.latency_ms, silent.age_ms) == (0, 0, None, None)
    assert [freeze.lasted_ms for freeze in silent.freezes] == [8000]
    [missing] = video_results(recording(joined()), WHOLE, [Expected("nobody", "screen")])
    assert (missing.publisher, missing.source, missing.delivered) == ("nobody", "screen", 0)


@pytest.mark.parametrize(("gap_ms", "is_freeze"), [(210, False), (220, True)])
def test_a_freeze_is_three_average_gaps_or_150_ms_more(gap_ms: float, is_freeze: bool) -> None:
    # At 15 pictures a second the average + 150 ms, 216.7, is the larger.
    late = [frame(n, at_ms=n * FRAME_MS + 50) for n in range(60)]
    late += [frame(n, at_ms=59 * FRAME_MS + 50 + gap_ms + (n - 60) * FRAME_MS) for n in range(60, 150)]
    assert bool(_only(late).freezes) is is_freeze


def test_pictures_are_counted_once_and_against_what_was_sent() -> None:
    some = [frame(n) for n in (20, 21, 21, 23, 40)]
    result = _only(some)
    assert (result.delivered, result.sent) == (4, 21)


def test_sizes_are_told_when_they_change() -> None:
    sizes = [frame(n, height=180 if 60 <= n < 90 else 720) for n in range(150)]
    assert [change.height for change in _only(sizes).layers] == [720, 180, 720]


def test_the_time_between_leaving_and_coming_again_is_nobodys_fault() -> None:
    frames = [frame(n) for n in (*range(45), *range(90, 150))]
    twice = recording(
        joined(), told(frames[:45], 3000), left(3000), joined(6000), told(frames, 10_000, from_ms=3000)
    )
    [result] = video_results(twice, WHOLE)
    assert result.freezes == ()
    assert result.age_ms is not None
    assert result.age_ms.maximum < 50 + FRAME_MS + 1e-6
    assert result.sent < 80
    assert presence(twice, 10_000) == (Span(0, 3000), Span(6000, 10_000))


def test_a_publisher_that_left_is_not_missed_and_one_that_died_is() -> None:
    stopped = recording(joined(), told([frame(n) for n in range(60)], 10_000))
    [gone] = video_results(stopped, WHOLE, [Expected("p", present=(Span(0, 4000),))])
    [dead] = video_results(stopped, WHOLE, [Expected("p", present=(Span(0, 10_000),))])
    assert gone.freezes == ()
    assert len(dead.freezes) == 1


def test_recovery_is_from_the_last_good_picture_to_the_first_good_one() -> None:
    frames = [frame(n) for n in (*range(60), *range(90, 150))]
    broken = recording(joined(), told(frames, 10_000))
    assert recovery(broken, 4100, 9000) == pytest.approx(31 * FRAME_MS)
    assert recovery(broken, 7000, 9000) == pytest.approx(FRAME_MS), "nothing happened then"
    dead = recording(joined(), told(frames[:60], 10_000))
    assert recovery(dead, 4100, 9000) is None
    with pytest.raises(NoSamples):
        recovery(recording(joined(), told([], 10_000)), 4100, 9000)


def test_seconds_show_a_stall_in_the_age_and_not_in_the_latency() -> None:
    each = seconds(recording(joined(), told([frame(n) for n in range(60)], 8000)), run_start_ms=500)
    assert [second.at_s for second in each] == [n + 0.5 for n in range(8)]
    assert [second.pictures for second in each[:3]] == [15, 15, 15]
    assert each[2].age_max_ms == pytest.approx(50 + FRAME_MS, abs=FRAME_MS)
    assert each[7].age_max_ms is not None
    assert each[7].age_max_ms > 3900
    assert each[7].latency_p50_ms is None
    assert (each[0].received_kbps, each[0].lost_packets, each[0].height) == (1000, 10, 360)


def test_a_stall_is_seen_while_it_lasts_and_is_as_long_as_the_whole_recording_says() -> None:
    stalled = told([frame(n) for n in (*range(45), *range(100, 150))], 10_000)
    ages = LiveAges()
    live = [ages.oldest(second) for second in stalled]
    whole = seconds(recording(joined(), stalled), run_start_ms=0)
    for found, second in zip(live, whole, strict=True):
        assert found is not None
        assert second.age_max_ms is not None
        assert second.age_max_ms <= found + 1e-6 <= second.age_max_ms + TICK_MS + 1e-5
    assert max(age for age in live if age is not None) > 3600


def test_a_track_without_a_picture_has_no_age_and_one_that_is_gone_grows_no_older() -> None:
    silent, seen = VideoSecond(publisher="p", source="camera"), [frame(n) for n in range(15)]
    ages = LiveAges()
    assert ages.oldest(Measured(from_ms=0, to_ms=1000, video=(silent,))) is None
    ages.oldest(Measured(from_ms=0, to_ms=1000, video=(silent.model_copy(update={"frames": tuple(seen)}),)))
    assert ages.oldest(Measured(from_ms=1000, to_ms=2000)) is None
    assert ages.oldest(Measured(from_ms=2000, to_ms=3000, video=(silent,))) is None, "it came again"
