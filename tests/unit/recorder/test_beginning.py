"""What another process needs to make the plan of an egress again."""

from __future__ import annotations

from datetime import UTC, datetime

from recorder.requests.beginning import Beginning, decode
from recorder.requests.plan import RoomFacts


def test_it_survives_the_spool() -> None:
    known = Beginning(
        datetime(2026, 11, 30, 15, 4, 5, 678_901, UTC),
        RoomFacts("ada", {"publisher_identity": "ädä", "track_type": "video"}, is_video=True),
    )
    assert decode(known.encode()) == known
