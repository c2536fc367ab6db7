"""Durations as Go's programs write them. Pure. Facts: Go's `time.ParseDuration`; gopkg.in/yaml.v3."""

from __future__ import annotations

import re

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,  # micro sign
    "\u03bcs": 1e-6,  # Greek mu
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_SECONDS)})"
_WHOLE = re.compile(rf"\+?(?:{_PART})+")


def seconds_of(given: object) -> float:
    """Seconds of a duration in YAML: a text such as `1h30m`, or a whole number of nanoseconds.

    Raises:
        ValueError: it is neither, or it is negative. The text names what is allowed.
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given / 1e9
    if isinstance(given, str):
        if given == "0":
            return 0.0
        if _WHOLE.fullmatch(given):
            return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, given))
    raise ValueError("allowed is a duration such as 500ms, 30s, 1h30m")
