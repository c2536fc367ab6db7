"""The recording loop: composes frames, mixes sound, encodes both, and feeds the outputs. One thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import av
import structlog
from av.error import FFmpegError

from recorder.errors import Code, EgressError
from recorder.media.encoders import EncodedPacket, Encoders, VideoEncoder
from recorder.media.sounds import SAMPLE_RATE, Heard, mix
from recorder.requests.encoding import VideoEncoding

# How far the recording is behind the room. Frames and sound must have arrived by then.
LATENESS_SECONDS = 0.2
# A loop that is this late leaves out video frames, so that sound stays complete.
_TOO_LATE_SECONDS = 1.0
_AUDIO_ONLY_RATE = 50

log = structlog.get_logger()


class Sink(Protocol):
    """An output that takes encoded packets."""

    def write(self, packet: EncodedPacket) -> None:
        """Take a packet. Raises FFmpegError, OSError."""


class Scene(Protocol):
    """The room as the loop sees it. Times are seconds on CLOCK_MONOTONIC."""

    def draw(self, at: float, interval: float) -> av.VideoFrame:
        """The composed picture of the moment `at`, where `interval` seconds lie between pictures."""

    def heard(self) -> Sequence[Heard]:
        """The audio tracks that are in the mix now."""


@dataclass
class Progress:
    """How far a recording is. `seconds` is the length of its media."""

    seconds: float = 0.0
    frames: int = 0
    frames_left_out: int = 0


class Pipeline:
    """Records a scene from `begin` until it is ended.

    Args:
        scene: what is recorded.
        encoders: made for the outputs.
        video: None for a recording without pictures.
        sinks: outputs by name; a failing one ends the pipeline.
        pictures: called with each composed frame and its time in the recording.
        ended: called once from the loop's thread when it has ended, with the error if there is one.
    """

    def __init__(
        self,
        *,
        scene: Scene,
        encoders: Encoders,
        video: VideoEncoding | None,
        sinks: Mapping[str, Sink],
        pictures: Sequence[Callable[[av.VideoFrame, float], None]],
        ended: Callable[[EgressError | None], None],
    ) -> None:
        self._scene = scene
        self._encoders = encoders
        self._rate = video.framerate if video is not None else _AUDIO_ONLY_RATE
        self._sinks: dict[str, Sink] = dict(sinks)
        self._sinks_lock = threading.Lock()
        self._pictures = tuple(pictures)
        self._ended = ended
        self._end_at: float | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._begin = 0.0
        self._samples = 0
        self.progress = Progress()

    def start(self, begin: float) -> None:
        """Record from the moment `begin` on."""
        self._begin = begin
        self._thread.start()

    def end(self, at: float) -> None:
        """End the recording with what was to be seen and heard at the moment `at`."""
        self._end_at = at
        self._wake.set()

    def add(self, name: str, sink: Sink) -> None:
        """Feed one more sink."""
        with self._sinks_lock:
            self._sinks[name] = sink

    def remove(self, name: str) -> None:
        """Feed a sink no longer."""
        with self._sinks_lock:
            self._sinks.pop(name, None)

    def _run(self) -> None:
        error: EgressError | None = None
        try:
            self._record()
            self._write(self._encoders.finish())
        except OSError as problem:
            # FFmpegError is one: a full disk arrives here, too.
            error = EgressError(Code.INTERNAL, f"recording ended early: {problem.strerror or problem}")
        except FFmpegError as problem:
            error = EgressError(Code.INTERNAL, f"recording ended early: {problem}")
        except Exception as problem:
            log.exception("pipeline_failed")
            error = EgressError(Code.INTERNAL, f"recording ended early: {problem}")
        self._ended(error)

    def _record(self) -> None:
        interval = 1 / self._rate
        index = 0
        while True:
            at = self._begin + index * interval
            if self._end_at is not None and at >= self._end_at:
                return
            self._wait_until(at + LATENESS_SECONDS)
            late = time.monotonic() - at - LATENESS_SECONDS
            if self._encoders.video is not None:
                if late < _TOO_LATE_SECONDS:
                    self._show(self._encoders.video, index, at, interval)
                else:
                    self.progress.frames_left_out += 1
            index += 1
            self._hear(round(index * SAMPLE_RATE / self._rate))
            self.progress.seconds = index * interval

    def _wait_until(self, moment: float) -> None:
        while (remaining := moment - time.monotonic()) > 0:
            if self._end_at is not None and self._wake.is_set():
                # What is left until the end still has to arrive.
                time.sleep(remaining)
                return
            self._wake.wait(remaining)

    def _show(self, encoder: VideoEncoder, index: int, at: float, interval: float) -> None:
        frame = self._scene.draw(at, interval)
        for take in self._pictures:
            take(frame, index * interval)
        self._write(encoder.encode(frame, index))
        self.progress.frames += 1

    def _hear(self, until: int) -> None:
        """Mix and encode the samples up to `until`, counted from the begin."""
        count = until - self._samples
        samples = mix(self._scene.heard(), round(self._begin * SAMPLE_RATE) + self._samples, count)
        if self._encoders.audio is not None:
            self._write(self._encoders.audio.encode(samples, self._samples))
        self._samples = until

    def _write(self, packets: Iterable[EncodedPacket]) -> None:
        for packet in packets:
            with self._sinks_lock:
                sinks = list(self._sinks.values())
            for sink in sinks:
                sink.write(packet)
