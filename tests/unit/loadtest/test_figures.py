import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.protocol import FrameSample, VideoReceived
from loadtest.figures import NoSamples, distribution, video_figures


def _frames(*numbers: int) -> tuple[FrameSample, ...]:
    return tuple(
        FrameSample(
            received_ms=n * 66.0, latency_ms=20.0 + n, frame=n, width=640, height=180 if n < 5 else 360
        )
        for n in numbers
    )


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_samples_and_in_order(samples: list[float]) -> None:
    found = distribution(samples)
    assert {found.p50, found.p95, found.p99} <= set(samples)
    assert (
        min(samples) == found.minimum <= found.p50 <= found.p95 <= found.p99 <= found.maximum == max(samples)
    )


def test_a_percentile_is_never_better_than_it_was() -> None:
    found = distribution([float(n) for n in range(1, 11)])
    assert (found.count, found.p50, found.p95, found.p99) == (10, 6, 10, 10)


def test_no_samples_have_no_distribution() -> None:
    with pytest.raises(NoSamples):
        distribution([])


def test_frames_are_counted_against_what_was_sent_between_the_first_and_the_last() -> None:
    received = VideoReceived(publisher="p", frames=_frames(3, 4, 4, 6, 10), unreadable=2, ages_ms=(30, 90))
    found = video_figures(received)
    assert (found.delivered, found.sent, found.delivered_ratio, found.unreadable) == (4, 8, 0.5, 2)
    assert (found.latency_ms.minimum, found.latency_ms.maximum) == (23, 30)
    assert found.age_ms.maximum == 90
    assert found.height == 360


def test_a_track_without_a_readable_frame_says_so() -> None:
    with pytest.raises(NoSamples, match="no frame of p could be read; 7 came"):
        video_figures(VideoReceived(publisher="p", frames=(), unreadable=7, ages_ms=()))
