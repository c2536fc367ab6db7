"""Durations as Go's programs write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30s", 30),
        ("+5s", 5),
        ("1h30m", 5400),
        ("1m30.5s", 90.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("5us", 5e-6),
        ("5\u00b5s", 5e-6),
        ("5\u03bcs", 5e-6),
        ("1500000000ns", 1.5),
        # YAML numbers are nanoseconds, as with gopkg.in/yaml.v3.
        (1_500_000_000, 1.5),
        (0, 0),
    ],
)
def test_durations_are_read_as_go_reads_them(text: object, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "given", ["", "5", "s", ".s", "5x", "5 s", "1h 30m", "-5s", "5s ", "٥s", -1, 1.5, True, None]
)
def test_other_values_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match="allowed is a duration such as 500ms, 30s, 1h30m"):
        seconds_of(given)


@given(st.integers(0, 10_000), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_what_go_prints_is_read_again(hours: int, minutes: int, seconds: int, millis: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert seconds_of(f"{hours}h{minutes}m{seconds}.{millis:03d}s") == pytest.approx(total)
