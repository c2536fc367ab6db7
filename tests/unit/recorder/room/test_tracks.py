"""Frames on their way out of the SDK."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from livekit import rtc

from recorder.media.pictures import VideoTrack
from recorder.media.sounds import AudioTrack
from recorder.room import tracks


class _Stream:
    """A stream of the SDK without frames, which notes how it was made."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, _track: object, **options: Any) -> None:
        self.made.append(options)

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> None:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        pass


async def test_a_program_that_is_too_slow_does_not_collect_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's queues have no end by default."""
    monkeypatch.setattr(rtc, "VideoStream", _Stream)
    monkeypatch.setattr(rtc, "AudioStream", _Stream)
    monkeypatch.setattr(_Stream, "made", [])
    track: Any = object()
    await tracks._show(track, VideoTrack())
    await tracks._hear(track, AudioTrack())
    video, audio = (options.get("capacity", 0) for options in _Stream.made)
    assert 1 <= video <= 30
    # A frame of sound has 10 ms.
    assert 100 <= audio <= 1000
