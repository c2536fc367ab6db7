"""What the marker and the tones in a file tell about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.marker.video import FRAME_MODULUS
from loadtest.recorded.media import NotMedia, evaluate
from tests.unit.loadtest.recorded.media_file import HEIGHT, WIDTH, doubled, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.mp4"


def test_a_whole_recording(path: Path) -> None:
    write(path, doubled(range(7, 67)), start_ms=5000)
    media = evaluate(path)
    assert media.duration_s == pytest.approx(4, abs=0.1)
    assert (media.width, media.height, media.size_bytes) == (WIDTH, HEIGHT, path.stat().st_size)
    assert media.first_captured_ms == 5000 + 7 * 1000 // 15
    assert (media.delivered, media.sent) == (60, 60)
    assert (media.unreadable, media.out_of_order, media.freezes) == (0, 0, ())
    # A tenth of the windows hold the change from one tone to the next.
    assert media.tones_ratio > 0.8


def test_missing_frames_a_freeze_and_silence(path: Path) -> None:
    # Every fourth frame is missing in the first two seconds; then frame 40 is shown for a second.
    shown = [number for number in range(30) if number % 4 != 1] + list(range(30, 41))
    write(path, [*doubled(shown), *[40] * 30, *doubled(range(56, 70))], tones_s=1.5)
    media = evaluate(path)
    assert (media.delivered, media.sent) == (len(shown) + 14, 70)
    [freeze] = media.freezes
    assert freeze.lasted_ms == pytest.approx(1067, abs=50)
    assert 0.3 < media.tones_ratio < 0.5


def test_frames_without_a_marker_and_out_of_order(path: Path) -> None:
    write(path, doubled([0, 1, None, 4, 3, 5]))
    media = evaluate(path)
    assert (media.unreadable, media.out_of_order) == (2, 1)
    assert (media.delivered, media.sent) == (5, 6)


def test_the_publishers_counter_wraps(path: Path) -> None:
    write(path, doubled(range(FRAME_MODULUS - 5, FRAME_MODULUS + 5)))
    media = evaluate(path)
    assert (media.delivered, media.sent, media.out_of_order) == (10, 10, 0)


def test_a_file_that_is_no_media(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(NotMedia, match=r"recording\.mp4 cannot be decoded"):
        evaluate(path)
