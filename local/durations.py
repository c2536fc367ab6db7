"""How long each step took in the last run on this machine, or else on a reference machine."""

from __future__ import annotations

import json
from pathlib import Path

from common.files import write_whole
from local.paths import cache_dir

# Seconds on a machine with two cores and 24 GiB, with empty caches.
_REFERENCE = Path(__file__).parent / "reference_durations.json"


def known() -> dict[str, float]:
    """Seconds by a step's key: this machine's own durations, or else the reference machine's."""
    return {**json.loads(_REFERENCE.read_text()), **_own()}


def record(key: str, seconds: float) -> None:
    """Record how long a step took, for the next run's estimate. Only one thread calls this."""
    write_whole(_path(), json.dumps({**_own(), key: round(seconds, 1)}, indent=2, sort_keys=True) + "\n")


def spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _path() -> Path:
    return cache_dir() / "durations.json"


def _own() -> dict[str, float]:
    """A damaged file counts as empty."""
    try:
        return {str(key): float(seconds) for key, seconds in json.loads(_path().read_text()).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}
