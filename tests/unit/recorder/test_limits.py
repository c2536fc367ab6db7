"""When an egress has lasted long enough, or its files are large enough."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.limits import Limits, limits_of
from recorder.settings import SessionLimits
from tests.unit.recorder.egress_requests import plan, room

LIMITS = SessionLimits.model_validate(
    {
        "file_output_max_duration": "40s",
        "segment_output_max_duration": "30s",
        "image_output_max_duration": "20s",
        "stream_output_max_duration": "10s",
        "file_output_max_size": 1000,
    }
)
FILE = {"file_outputs": [proto.EncodedFileOutput(filepath="x")]}
SEGMENTS = {"segment_outputs": [proto.SegmentedFileOutput()]}
IMAGES = {"image_outputs": [proto.ImageOutput()]}
STREAM = {"stream_outputs": [proto.StreamOutput(urls=["rtmp://host/app/key"])]}


@pytest.mark.parametrize(
    ("outputs", "seconds", "size"),
    [
        (FILE, 40, 1000),
        (SEGMENTS, 30, None),
        (IMAGES, 20, None),
        (STREAM, 10, None),
        (FILE | SEGMENTS, 30, 1000),
        (FILE | SEGMENTS | STREAM, 10, 1000),
    ],
)
def test_the_shortest_limit_of_the_outputs_counts(
    outputs: dict[str, Any], seconds: float, size: int | None
) -> None:
    assert limits_of(plan(room(**outputs)), LIMITS) == Limits(seconds, size)


def test_zero_is_no_limit() -> None:
    assert limits_of(plan(room(**FILE)), SessionLimits()) == Limits()
    only_one = SessionLimits.model_validate({"segment_output_max_duration": "30s"})
    assert limits_of(plan(room(**FILE, **SEGMENTS)), only_one) == Limits(30)


@pytest.mark.parametrize(
    ("limits", "seconds", "size", "reached"),
    [
        (Limits(), 1e6, 10**12, False),
        (Limits(seconds=10), 9.9, 0, False),
        (Limits(seconds=10), 10, 0, True),
        (Limits(size=100), 1e6, 99, False),
        (Limits(size=100), 0, 100, True),
    ],
)
def test_a_limit_is_reached(limits: Limits, seconds: float, size: int, reached: bool) -> None:
    assert limits.reached(seconds, lambda: size) is reached


def test_short_limits_are_checked_more_often() -> None:
    assert Limits(seconds=59).interval < Limits(seconds=60).interval == Limits().interval
