import pytest

from loadtest.client.protocol import Failed, FirstAudio, FirstVideo, Measured
from loadtest.client.samples import AudioGap, AudioSecond, SentLayer, TransportSecond
from loadtest.figures import Span, Window, audio_results, join_times, transport_totals, worst_join
from tests.unit.loadtest.figures.recorded import joined, left, recording, told

WINDOW = Window(1000, 9000, run_start_ms=0)


def _second(number: int, *, marked: int = 45, gaps: tuple[AudioGap, ...] = ()) -> AudioSecond:
    return AudioSecond(
        publisher="p",
        windows=50,
        marked=marked,
        steps_in_order=5 if marked else 0,
        gaps=gaps,
        last_marked_ms=(number + 1) * 1000.0 if marked else 4000.0,
    )


def test_whole_sound_is_marked_for_nine_tenths_and_has_no_gap() -> None:
    [audio] = audio_results(
        recording(joined(), told([], 10_000, audio=[_second(n) for n in range(10)])), WINDOW
    )
    assert audio.marked_ratio == pytest.approx(0.9)
    assert (audio.steps_in_order, audio.gaps) == (40, ())


def test_sound_that_stops_is_a_gap_until_the_windows_end() -> None:
    stopped = [_second(n, marked=45 if n < 4 else 0) for n in range(10)]
    [audio] = audio_results(recording(joined(), told([], 10_000, audio=stopped)), WINDOW)
    assert audio.marked_ratio == pytest.approx(0.9 * 3 / 8)
    [gap] = audio.gaps
    assert (gap.at_s, gap.lasted_ms) == (4.0, 5000)


def test_sound_of_a_client_that_died_is_missing_and_so_is_a_publishers_who_was_never_heard() -> None:
    [audio] = audio_results(recording(joined(), told([], 4000, audio=[_second(n) for n in range(4)])), WINDOW)
    assert audio.marked_ratio == pytest.approx(0.9 * 3 / 8)
    [never] = audio_results(recording(joined()), WINDOW, {"q": None})
    assert (never.publisher, never.marked_ratio, [gap.lasted_ms for gap in never.gaps]) == ("q", 0, [8000])


def test_a_gap_is_told_where_it_was_and_not_where_nobody_listened() -> None:
    inside = AudioGap(from_ms=2100, to_ms=2300)
    away = AudioGap(from_ms=2950, to_ms=6200)
    audio = [_second(n, gaps=(inside,) if n == 2 else (away,) if n == 6 else ()) for n in range(10)]
    seconds = told([], 10_000, audio=audio)
    [heard] = audio_results(recording(joined(), seconds[:3], left(3000), joined(6000), seconds[3:]), WINDOW)
    [gap] = heard.gaps
    assert gap.at_s == 2.1
    assert gap.lasted_ms == pytest.approx(200)


def test_each_join_counts_with_the_first_of_its_tracks() -> None:
    def video(since_ms: float) -> FirstVideo:
        return FirstVideo(publisher="p", source="camera", at_ms=0, since_start_ms=since_ms)

    sound = FirstAudio(publisher="p", at_ms=0, since_start_ms=700)
    first, second = join_times(recording(joined(), video(500), video(900), left(1), joined(2), sound))
    assert (first.signalling_ms, first.ice_ms, first.first_video_ms, first.first_audio_ms) == (
        200,
        100,
        500,
        None,
    )
    assert (second.first_video_ms, second.first_audio_ms) == (None, 700)
    worst = worst_join([first, second])
    assert (worst.token_ms, worst.first_video_ms, worst.first_audio_ms) == (None, 500, 700)


def test_a_join_that_failed_counts_as_far_as_it_came() -> None:
    answered = join_times(recording(Failed(reason="ICE gave it no media connection", signalling_ms=64)))
    assert [(one.signalling_ms, one.ice_ms) for one in answered] == [(64, None)]
    assert join_times(recording(Failed(reason="the server did not let it join"))) == ()


def test_transport_is_summed_over_the_windows_seconds() -> None:
    totals = transport_totals(recording(joined(), told([], 10_000)), WINDOW)
    assert totals.lost_ratio == pytest.approx(0.1)
    assert totals.jitter_ms == 8
    assert totals.received_kbps == pytest.approx(1000)
    nothing = transport_totals(recording(), WINDOW)
    assert (nothing.lost_ratio, nothing.jitter_ms, nothing.received_kbps) == (None, None, 0)


def _own(jitter_buffer_ms: float | None, *encode_ms: float | None) -> TransportSecond:
    """The largest of these layers is the last."""
    return TransportSecond(
        jitter_buffer_ms=jitter_buffer_ms,
        decode_ms=None if jitter_buffer_ms is None else jitter_buffer_ms / 10,
        layers=tuple(
            SentLayer(height=180 * 2**size, kbps=1, fps=15, target_kbps=1, encode_ms=ms, limited_by="none")
            for size, ms in enumerate(encode_ms)
        ),
    )


def test_what_a_picture_took_is_that_of_the_median_second_and_of_the_largest_layer() -> None:
    told_of = [_own(400, 4, 20), _own(None, 4, None), _own(150, 9, 30), _own(420, 9, 40)]
    seconds = [
        Measured(from_ms=at * 1000, to_ms=at * 1000 + 1000, transport=one)
        for at, one in enumerate(told_of, 2)
    ]
    totals = transport_totals(recording(joined(), seconds), WINDOW)
    assert (totals.jitter_buffer_ms, totals.decode_ms) == (400, 40)
    assert totals.encode_ms == 25
    nothing = transport_totals(recording(), WINDOW)
    assert (nothing.encode_ms, nothing.jitter_buffer_ms, nothing.decode_ms) == (None, None, None)


def test_spans_overlap_or_do_not() -> None:
    assert Span(0, 5).overlap(Span(3, 9)) == Span(3, 5)
    assert Span(0, 3).overlap(Span(3, 9)) is None
