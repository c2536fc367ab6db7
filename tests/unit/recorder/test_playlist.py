"""HLS playlists, as RFC 8216 wants them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.outputs.playlist import LIVE_SEGMENTS, Segment, event_playlist, live_playlist

BEGIN = datetime(2026, 11, 30, 23, 59, 58, 7_999, UTC)


def segments(*durations: float) -> list[Segment]:
    found, at = [], BEGIN
    for number, duration in enumerate(durations):
        found.append(Segment(f"x_{number:05d}.ts", at, duration))
        at += timedelta(seconds=duration)
    return found


def test_the_event_playlist_has_all_segments() -> None:
    assert event_playlist(segments(4, 2.5), 4, ended=True) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:4\n"
        "#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-PLAYLIST-TYPE:EVENT\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-30T23:59:58.007Z\n"
        "#EXTINF:4.000,\n"
        "x_00000.ts\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-12-01T00:00:02.007Z\n"
        "#EXTINF:2.500,\n"
        "x_00001.ts\n"
        "#EXT-X-ENDLIST\n"
    )


def test_the_live_playlist_has_the_last_segments() -> None:
    text = live_playlist(segments(*[4.0] * 7), 4, ended=False)
    assert text.count("#EXTINF") == LIVE_SEGMENTS
    assert "#EXT-X-MEDIA-SEQUENCE:2\n" in text
    assert "x_00001.ts" not in text
    assert "x_00006.ts" in text
    assert "PLAYLIST-TYPE" not in text
    assert "ENDLIST" not in text


@given(st.lists(st.floats(0.5, 4.4), min_size=1, max_size=20))
def test_an_event_playlist_only_grows(durations: list[float]) -> None:
    before = event_playlist(segments(*durations[:-1]), 4, ended=False)
    after = event_playlist(segments(*durations), 4, ended=False)
    assert after.startswith(before)
    assert event_playlist(segments(*durations), 4, ended=True).startswith(after)


@given(st.lists(st.floats(0.01, 12), max_size=20), st.integers(1, 6))
def test_no_segment_is_longer_than_the_target(durations: list[float], target: int) -> None:
    text = live_playlist(segments(*durations), target, ended=True)
    said = int(text.partition("#EXT-X-TARGETDURATION:")[2].partition("\n")[0])
    shown = [float(line[8:-1]) for line in text.splitlines() if line.startswith("#EXTINF:")]
    assert all(duration < said + 0.5 for duration in shown)
    assert said >= target


@pytest.mark.parametrize(
    "name", ["a b_0.ts", "#1_0.ts", "sub/ö?x=1_0.ts", "100%_0.ts", "a:b_0.ts", "a+b_0.ts"]
)
def test_keys_become_uris(name: str) -> None:
    line = event_playlist([Segment(name, BEGIN, 1)], 4, ended=True).splitlines()[-2]
    url = urlsplit(urljoin("https://s3/calls/index.m3u8", line))
    assert unquote(url.path) == f"/calls/{name}"
    assert (url.query, url.fragment) == ("", "")
