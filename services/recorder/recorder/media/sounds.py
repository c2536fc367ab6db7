"""Decoded audio of one track on the recording's time line, and the mix of all tracks.

libwebrtc's jitter buffer gives 10 ms of audio every 10 ms and aligns a participant's audio and video when it
gives them out. So the time of arrival places audio as exactly as video. Arrivals jitter by some milliseconds,
therefore consecutive frames are joined, and only a lasting difference is corrected: a small one by
resampling, a large one (after an interruption) by silence or by leaving out what is late.

A program that was busy reads several frames at once, and the first of them seems to come after an
interruption. So the sound after a gap is held back for a moment. If what follows makes up for the gap, the
sound was delayed, and it is joined. If not, sound was lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 48_000
CHANNELS = 2
Samples = NDArray[np.int16]

# A longer difference between arrival and time line is an interruption.
_JUMP_SECONDS = 0.15
# For how long sound after a gap is held back. It is mixed later than this: `pipeline.LATENESS_SECONDS`.
_HELD_SECONDS = 0.15
# What follows has made up for a gap when this is left of it.
_MADE_UP_SECONDS = 0.05
# A lasting difference of more than this is corrected until it is below the second one.
_DRIFT_SECONDS = 0.02
_ALIGNED_SECONDS = 0.004
# How fast: 0.5 % is 8 cents of pitch, which nobody hears.
_MOST_STRETCH = 0.005
# The mean difference follows the last second or so (100 frames of 10 ms).
_SMOOTHING = 0.02
# In samples.
_MOST_KEPT = 5 * SAMPLE_RATE


class AudioTrack:
    """Samples of one track. One thread pushes, another one reads.

    Samples are int16 of shape (count, 2) at 48 kHz. Sample numbers count from time 0 of CLOCK_MONOTONIC.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: _Line | None = None

    def push(self, samples: Samples, at: float) -> None:
        """Add samples that arrived at `at` (seconds on CLOCK_MONOTONIC): their end is then."""
        begin = round(at * SAMPLE_RATE) - len(samples)
        with self._lock:
            if self._line is None or begin - self._line.end > _MOST_KEPT:
                self._line = _Line(begin)
            self._line.add(samples, begin)

    def read(self, begin: int, count: int) -> Samples | None:
        """`count` samples from sample number `begin` on; what is missing is silent. None: nothing is there.

        Earlier samples are forgotten.
        """
        with self._lock:
            return self._line.take(begin, count) if self._line is not None else None


class _Line:
    """Samples without a gap, from the sample number `begin` on."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self._samples: Samples = np.zeros((0, CHANNELS), np.int16)
        # Samples after a gap, where the first of them should begin, and what is left of the gap.
        self._held: list[Samples] = []
        self._held_from = 0
        self._gap = 0
        # By how many seconds arrivals lag behind the line, smoothed.
        self._lag = 0.0
        self._correcting = False

    @property
    def end(self) -> int:
        return self.begin + len(self._samples)

    def add(self, samples: Samples, begin: int) -> None:
        """Add samples that should begin at `begin`."""
        if not self._held:
            if begin - self.end <= _JUMP_SECONDS * SAMPLE_RATE:
                self._append(samples, begin)
                return
            self._held_from = begin
        self._held.append(samples)
        self._gap = begin + len(samples) - self.end - sum(map(len, self._held))
        made_up = self._gap <= _MADE_UP_SECONDS * SAMPLE_RATE
        if made_up or begin - self._held_from > _HELD_SECONDS * SAMPLE_RATE:
            self._release()

    def take(self, begin: int, count: int) -> Samples | None:
        """Give `count` samples from `begin` on, and forget what is before them."""
        if self._held and begin + count > self._held_from:
            self._release()
        self._forget(begin)
        offset = max(self.begin - begin, 0)
        found = self._samples[: max(count - offset, 0)]
        if not len(found):
            return None
        if len(found) == count:
            return found
        whole = np.zeros((count, CHANNELS), np.int16)
        whole[offset : offset + len(found)] = found
        return whole

    def _release(self) -> None:
        """Add what is held back, after what is left of the gap."""
        held = np.concatenate(self._held)
        self._held.clear()
        self._append(held, self.end + self._gap)

    def _append(self, samples: Samples, begin: int) -> None:
        gap = begin - self.end
        if abs(gap) > _JUMP_SECONDS * SAMPLE_RATE:
            self._lag, self._correcting = 0.0, False
            if gap > 0:
                samples = np.concatenate((np.zeros((gap, CHANNELS), np.int16), samples))
            else:
                samples = samples[min(-gap, len(samples)) :]
        else:
            samples = self._aligned(samples, gap)
        self._samples = np.concatenate((self._samples, samples))
        self._forget(self.end - _MOST_KEPT)

    def _forget(self, before: int) -> None:
        surplus = min(max(before - self.begin, 0), len(self._samples))
        if surplus:
            self._samples = self._samples[surplus:]
            self.begin += surplus

    def _aligned(self, samples: Samples, gap: int) -> Samples:
        """Stretch or shrink samples a little while arrivals lastingly differ from the line."""
        self._lag += _SMOOTHING * (gap / SAMPLE_RATE - self._lag)
        limit = _ALIGNED_SECONDS if self._correcting else _DRIFT_SECONDS
        self._correcting = abs(self._lag) > limit
        if not self._correcting or len(samples) < 2:
            return samples
        change = max(1, round(_MOST_STRETCH * len(samples))) * (1 if self._lag > 0 else -1)
        self._lag -= change / SAMPLE_RATE
        return _resampled(samples, len(samples) + change)


def _resampled(samples: Samples, count: int) -> Samples:
    """The same sound in `count` samples, by linear interpolation."""
    places = np.linspace(0, len(samples) - 1, count)
    columns = [np.interp(places, np.arange(len(samples)), samples[:, side]) for side in range(CHANNELS)]
    return np.rint(np.stack(columns, axis=1)).astype(np.int16)


@dataclass(frozen=True)
class Heard:
    """A track in the mix, with its gain on the left and on the right channel."""

    track: AudioTrack
    left: float = 1.0
    right: float = 1.0


def mix(tracks: Iterable[Heard], begin: int, count: int) -> Samples:
    """The sum of all tracks from sample `begin` on: int16 of shape (count, 2), limited to the range."""
    total = np.zeros((count, CHANNELS), np.float32)
    heard = False
    for each in tracks:
        samples = each.track.read(begin, count)
        if samples is not None:
            total += samples * np.array((each.left, each.right), np.float32)
            heard = True
    if not heard:
        return np.zeros((count, CHANNELS), np.int16)
    return np.clip(np.rint(total), -32768, 32767).astype(np.int16)
