"""What another process needs to make the plan of an egress again."""

from __future__ import annotations

from datetime import UTC, datetime

from recorder.requests.beginning import Beginning, decode
from recorder.requests.plan import RoomFacts


def test_it_survives_the_spool() -> None:
    known = Beginning(
        datetime(2026, 11, 30, 15, 4, 5, 678_901, UTC),
        RoomFacts(
            "ada",
            {"publisher_identity": "ädä", "track_type": "video"},
            is_video=True,
            width=720,
            height=1280,
        ),
    )
    assert decode(known.encode()) == known


def test_one_of_an_older_version_is_read() -> None:
    """A worker that was updated finds what the one before it left."""
    encoded = (
        b'{"requested_at":"2026-11-30T15:04:05Z","facts":{"identifier":"a","values":{},"is_video":true}}'
    )
    assert decode(encoded).facts == RoomFacts("a", is_video=True)
