"""A known sequence of tones, by which a subscriber knows that it hears a publisher, and hears it now.

One steady tone would prove little: a decoder that conceals lost packets repeats the last sound it
had. So the tone changes every step, in a fixed order, and a listener counts the changes that come in
that order. Opus carries single tones well at every bitrate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 48_000  # Hz, mono
STEP_SECONDS = 0.2

# Multiples of 50 Hz, so that each is orthogonal to the others over a window of 20 ms; no one a
# multiple of another, so that distortion of one is not taken for the next.
TONES_HZ = (650, 900, 1250, 1700)

_STEP_SAMPLES = int(SAMPLE_RATE * STEP_SECONDS)
WINDOW_MS = 20
_WINDOW_SAMPLES = SAMPLE_RATE * WINDOW_MS // 1000
_AMPLITUDE = 8000  # of 32767
_LEAST_SHARE = 0.7  # of a window's energy that one tone must have
_LEAST_RMS = 200.0  # below it a window is silence, whatever its spectrum


def tone_samples(start: int, count: int) -> npt.NDArray[np.int16]:
    """Samples `start` to `start + count` of the endless sequence, as 16-bit mono at 48 kHz."""
    positions = np.arange(start, start + count)
    frequencies = np.array(TONES_HZ)[(positions // _STEP_SAMPLES) % len(TONES_HZ)]
    # A step holds a whole number of periods of every tone, so the phase is continuous across steps.
    phases = 2 * np.pi * frequencies * (positions % SAMPLE_RATE) / SAMPLE_RATE
    return np.round(_AMPLITUDE * np.sin(phases)).astype(np.int16)


@dataclass(frozen=True)
class AudioTally:
    """What was heard, in windows of 20 ms and in changes of tone.

    Attributes:
        windows: windows heard in all.
        marked: windows in which one of the marker's tones was nearly all there was.
        steps_in_order: changes from one tone to the one that follows it in the sequence.
        steps_out_of_order: changes to any other tone: a gap of a step or more, or another sound.
    """

    windows: int = 0
    marked: int = 0
    steps_in_order: int = 0
    steps_out_of_order: int = 0


class ToneListener:
    """Takes samples as they come, in pieces of any length, and keeps the tally."""

    def __init__(self, tally: AudioTally | None = None) -> None:
        self._pending = np.empty(0, dtype=np.int16)
        self._tone: int | None = None
        self.tally = tally or AudioTally()

    def hear(self, samples: npt.NDArray[np.int16]) -> list[bool]:
        """Take the next samples: 16-bit mono at 48 kHz. Says of each window that is now whole whether it
        was marked."""
        joined = np.concatenate((self._pending, samples))
        whole = len(joined) - len(joined) % _WINDOW_SAMPLES
        windows = joined[:whole].reshape(-1, _WINDOW_SAMPLES)
        tones = [_dominant_tone(window) for window in windows]
        for tone in tones:
            self._count(tone)
        self._pending = joined[whole:]
        return [tone is not None for tone in tones]

    def _count(self, tone: int | None) -> None:
        tally = self.tally
        changed = tone is not None and self._tone is not None and tone != self._tone
        in_order = changed and tone == (self._tone + 1) % len(TONES_HZ) if self._tone is not None else False
        self.tally = AudioTally(
            windows=tally.windows + 1,
            marked=tally.marked + (tone is not None),
            steps_in_order=tally.steps_in_order + in_order,
            steps_out_of_order=tally.steps_out_of_order + (changed and not in_order),
        )
        if tone is not None:
            self._tone = tone


# One complex exponential per tone: the product with a window is that tone's bin of its Fourier
# transform, which is what the Goertzel algorithm computes where multiplication is dear.
_BINS = np.exp(-2j * np.pi * np.outer(TONES_HZ, np.arange(_WINDOW_SAMPLES)) / SAMPLE_RATE)


def _dominant_tone(window: npt.NDArray[np.int16]) -> int | None:
    """Index in TONES_HZ of the tone that nearly all of the window's energy is in, if there is one."""
    values = window.astype(np.float64)
    energy = float(np.sum(values**2))
    if energy < _LEAST_RMS**2 * len(values):
        return None
    # A pure tone of amplitude a has the energy n·a²/2 and a bin of magnitude n·a/2.
    shares = 2 * np.abs(_BINS @ values) ** 2 / (len(values) * energy)
    best = int(np.argmax(shares))
    return best if shares[best] >= _LEAST_SHARE else None
