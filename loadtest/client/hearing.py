"""One audio track as its samples come: tones heard, and the times without them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from loadtest.client.samples import AudioGap, AudioSecond
from loadtest.marker.audio import WINDOW_MS, AudioTally, ToneListener

# Shorter ones are what Opus and its concealment do at each lost packet.
LEAST_GAP_MS: Final = 60.0
# Samples come by a clock, and reach us a little later on a busy machine. Only a stop that is longer than
# that is one of the sound; shorter gaps are told by the samples themselves, which then are silent.
_LEAST_STOP_MS: Final = 300.0


class HeardTrack:
    """Collects the windows and gaps of one track."""

    def __init__(self, publisher: str) -> None:
        self._publisher = publisher
        self._listener = ToneListener()
        self._told = AudioTally()
        self._steps_before = 0
        self._gaps: list[AudioGap] = []
        self._unmarked_ms = 0.0
        self._last_marked_ms: float | None = None

    def restart(self) -> None:
        """The track comes by a new stream: half a window of the old one is no part of it."""
        self._listener = ToneListener(self._listener.tally)
        self._steps_before = self._listener.tally.steps_in_order

    def take(self, samples: npt.NDArray[np.int16], received_ms: float) -> bool:
        """Take samples; says whether two tones in order have been heard in this stream so far."""
        for is_marked in self._listener.hear(samples):
            if is_marked:
                self._mark(received_ms)
            else:
                self._unmarked_ms += WINDOW_MS
        return self._listener.tally.steps_in_order > self._steps_before

    def take_second(self) -> AudioSecond:
        """What came since the last call."""
        tally, told = self._listener.tally, self._told
        second = AudioSecond(
            publisher=self._publisher,
            windows=tally.windows - told.windows,
            marked=tally.marked - told.marked,
            steps_in_order=tally.steps_in_order - told.steps_in_order,
            steps_out_of_order=tally.steps_out_of_order - told.steps_out_of_order,
            gaps=tuple(self._gaps),
            last_marked_ms=self._last_marked_ms,
        )
        self._told, self._gaps = tally, []
        return second

    def _mark(self, received_ms: float) -> None:
        last = self._last_marked_ms
        if last is not None:
            stopped_ms = received_ms - last
            lasted_ms = stopped_ms if stopped_ms >= _LEAST_STOP_MS else self._unmarked_ms
            if lasted_ms >= LEAST_GAP_MS:
                self._gaps.append(AudioGap(from_ms=received_ms - lasted_ms, to_ms=received_ms))
        self._unmarked_ms = 0.0
        self._last_marked_ms = received_ms
