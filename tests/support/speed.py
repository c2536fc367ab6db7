"""Time limits of tests, by how slow this machine is."""

from __future__ import annotations

import time
from functools import cache
from typing import Final

# What the loop below takes on the reference machine (2 cores, 24 GiB) while nothing else runs.
_REFERENCE_SECONDS: Final = 0.05
_ROUNDS: Final = 1_000_000


def scaled(seconds: float) -> float:
    """A time limit, multiplied by how many times slower this machine is than the reference machine (≥ 1)."""
    return seconds * _slowness()


@cache
def _slowness() -> float:
    began = time.perf_counter()
    sum(range(_ROUNDS))
    return max(1.0, (time.perf_counter() - began) / _REFERENCE_SECONDS)
