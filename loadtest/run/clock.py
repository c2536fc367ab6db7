"""The run's clock: seconds since it began, on the same CLOCK_MONOTONIC that clients and links tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.client.samples import now_ms


@dataclass(frozen=True)
class RunClock:
    """Since when times called `at_s` count.

    Attributes:
        start_ms: CLOCK_MONOTONIC when the run began.
    """

    start_ms: float = field(default_factory=now_ms)

    @property
    def now_s(self) -> float:
        return (now_ms() - self.start_ms) / 1000

    def at_s(self, monotonic_ms: float) -> float:
        """A time of CLOCK_MONOTONIC on this clock."""
        return (monotonic_ms - self.start_ms) / 1000

    def monotonic_ms(self, at_s: float) -> float:
        """The other way round."""
        return self.start_ms + at_s * 1000
