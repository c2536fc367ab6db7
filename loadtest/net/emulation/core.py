"""What a link does with a packet: lose it, or release it at a time. Seeded and without any I/O.

Times are nanoseconds of one clock that never goes back. The same seed and the same arrivals give
the same answers, on every machine: `random.Random` is the Mersenne Twister everywhere.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

from loadtest.definition.profile import Direction

_NS_PER_MS = 1_000_000
_OLDEST_NS = 5_000_000_000


class Lane:
    """One direction of one client's link, before its bottleneck.

    It does what netem does with `delay D J loss gemodel …`: loss by the present state, then the
    state's change, then a delay uniform within D ± J. Without `reorder` it is netem with a `rate`:
    a packet never passes its predecessor.
    """

    def __init__(self, direction: Direction, *, reorder: bool, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - a link's luck, and no secret
        self._loss = direction.loss
        self._loses = direction.loss.ratio > 0
        self._bad = False
        self._delay_ns = round(direction.delay_ms * _NS_PER_MS)
        self._jitter_ns = round(direction.jitter_ms * _NS_PER_MS)
        self._reorder = reorder
        self._last_release_ns = 0

    def arrive(self, at_ns: int) -> int | None:
        """When the packet that arrives now is released; None where it is lost."""
        if self._loses and self._lost():
            return None
        delay_ns = self._delay_ns
        if self._jitter_ns:
            delay_ns += round(self._random.uniform(-self._jitter_ns, self._jitter_ns))
        release_ns = at_ns + max(0, delay_ns)
        if not self._reorder:
            release_ns = max(release_ns, self._last_release_ns)
            self._last_release_ns = release_ns
        return release_ns

    def _lost(self) -> bool:
        loss = self._loss
        lost = self._random.random() < (loss.lost_in_bad if self._bad else loss.lost_in_good)
        changes = self._random.random() < (loss.bad_to_good if self._bad else loss.good_to_bad)
        self._bad ^= changes
        return lost


@dataclass
class Waiting:
    """Packets that wait for their release, over all lanes; those of one time leave as they came."""

    _heap: list[tuple[int, int, int]] = field(default_factory=list)
    _count: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, packet: int, release_ns: int) -> None:
        self._count += 1
        heapq.heappush(self._heap, (release_ns, self._count, packet))

    def next_release_ns(self) -> int | None:
        """When the next one leaves; None where none waits."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """Those whose time has come, in order, as packet and release time. They wait no longer."""
        due = []
        while self._heap and self._heap[0][0] <= now_ns:
            release_ns, _, packet = heapq.heappop(self._heap)
            due.append((packet, release_ns))
        return due


def believable_age_ns(age_ns: int) -> int | None:
    """How long ago a packet came, by the kernel's time stamp; None if the clock was set meanwhile.

    An age of up to five seconds is accepted: such a packet waited because the emulator got no processor
    time, and this lateness must be counted.
    """
    return age_ns if 0 <= age_ns <= _OLDEST_NS else None


class Lateness:
    """How much later than its release time a packet was let go: percentiles by bins of 10 µs."""

    _BIN_NS = 10_000
    _BINS = 10_000  # up to 100 ms; what is later counts as the last

    def __init__(self) -> None:
        self._counts = [0] * self._BINS
        self._total = 0
        self._max_ns = 0

    def add(self, late_ns: int) -> None:
        late_ns = max(0, late_ns)
        self._counts[min(late_ns // self._BIN_NS, self._BINS - 1)] += 1
        self._total += 1
        self._max_ns = max(self._max_ns, late_ns)

    @property
    def max_ms(self) -> float:
        return self._max_ns / _NS_PER_MS

    def percentile_ms(self, percent: float) -> float:
        """The upper edge of the bin that holds it, at most the maximum; 0 where nothing was counted."""
        wanted, seen = self._total * percent / 100, 0
        if not self._total:
            return 0.0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min((index + 1) * self._BIN_NS / _NS_PER_MS, self.max_ms)
        return self.max_ms
