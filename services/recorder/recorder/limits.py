"""Limits of one egress: the shortest duration of its outputs, and the size of its files. Pure.

Facts: livekit/egress v1.14, `pkg/pipeline/controller.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recorder.requests.outputs import FileOutput, ImageOutput, Output, SegmentOutput, StreamOutput
from recorder.requests.plan import Plan
from recorder.settings import SessionLimits

_SHORT_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """`seconds` and `size` (bytes) of an egress; None: no limit."""

    seconds: float | None = None
    size: int | None = None

    def reached(self, seconds: float, size: Callable[[], int]) -> bool:
        """Whether an egress that has lasted `seconds` must end. `size` measures its files."""
        if self.seconds is not None and seconds >= self.seconds:
            return True
        return self.size is not None and size() >= self.size

    @property
    def interval(self) -> float:
        """Seconds between two checks: a short limit needs them more often."""
        return 0.1 if self.seconds is not None and self.seconds < _SHORT_SECONDS else 1.0


def limits_of(plan: Plan, limits: SessionLimits) -> Limits:
    """The limits that concern the plan's outputs."""
    durations = [seconds for each in plan.outputs if (seconds := _seconds(each.output, limits)) > 0]
    size = limits.file_output_max_size if plan.file is not None else 0
    return Limits(min(durations, default=None), size or None)


def _seconds(output: Output, limits: SessionLimits) -> float:
    match output:
        case FileOutput():
            return limits.file_output_max_duration
        case SegmentOutput():
            return limits.segment_output_max_duration
        case ImageOutput():
            return limits.image_output_max_duration
        case StreamOutput():
            return limits.stream_output_max_duration
