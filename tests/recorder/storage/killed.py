"""Recordings whose process was killed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.target import S3Target
from tests.recorder.storage import recording_process

ROOT = Path(__file__).parents[3]


def killed_recording(
    spool: Path, container: str, target: S3Target | None, enough: Callable[[float], bool]
) -> tuple[EgressDirectory, float]:
    """Record until there is enough, by the recorded seconds, and kill the process.

    Returns:
        The directory, which this process owns now, and the seconds that the muxer was given.
    """
    fields = None if target is None else dataclasses.asdict(target)
    process = subprocess.Popen(
        [sys.executable, recording_process.__file__, str(spool), container, json.dumps(fields)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "services" / "recorder")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seconds = 0.0
    try:
        for line in process.stdout:
            seconds = float(line)
            if enough(seconds):
                break
    finally:
        process.kill()
        rest = process.communicate()[0]
    # Lines in the pipe were printed before the process was killed.
    seconds = max([seconds, *(float(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))])
    directory = Spool(spool).open(recording_process.EGRESS)
    assert directory is not None
    return directory, seconds


@dataclass(frozen=True)
class Decoded:
    """What a recording has, decoded: frames per kind, and the end of its last frame in seconds."""

    frames: dict[str, int]
    end: float


def decode(recording: Path) -> Decoded:
    """Decode a recording to its end; any error is raised."""
    frames: dict[str, int] = {}
    end = 0.0
    with av.open(str(recording)) as container:
        for stream in container.streams:
            stream.codec_context.options = {"err_detect": "explode"}
        for frame in container.decode():
            kind = "video" if isinstance(frame, av.VideoFrame) else "audio"
            frames[kind] = frames.get(kind, 0) + 1
            length = 1 / 30 if isinstance(frame, av.VideoFrame) else frame.samples / frame.sample_rate
            assert frame.time is not None
            end = max(end, frame.time + length)
    return Decoded(frames, end)
