"""How much may still be written into the spool."""

from __future__ import annotations

import pytest

from recorder.storage.spool import free_bytes


@pytest.mark.parametrize(
    ("used", "available", "max_bytes", "reserve", "free"),
    [
        (30, 100, 0, 0, 100),
        (30, 100, 0, 20, 80),
        # The limit of the spool is closer than that of the volume, and the other way round.
        (30, 100, 50, 0, 20),
        (30, 10, 50, 0, 10),
        (30, 100, 50, 15, 5),
        (30, 100, 50, 25, 0),
        # Limits were lowered.
        (30, 100, 20, 0, 0),
    ],
)
def test_the_closer_limit_counts_and_the_reserve_stays_free(
    used: int, available: int, max_bytes: int, reserve: int, free: int
) -> None:
    assert free_bytes(used=used, available=available, max_bytes=max_bytes, reserve=reserve) == free
