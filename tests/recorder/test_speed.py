"""What a recording costs, compared with decoding and encoding alone, and how soon it begins and is saved."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import Marked, watch
from tests.recorder.worker import Worker, handlers

pytestmark = [pytest.mark.long, pytest.mark.alone]

_FPS = 30
_SECONDS = 20.0
_REFERENCE_SECONDS = 4
# In kbit/s, as `Marked` publishes.
_CAMERA_BITRATE = 2000


@dataclass(frozen=True)
class _Size:
    """Of both cameras and of the recording, in pixels. `bitrate` in kbit/s is the recording's.

    `most_ratio`: the highest allowed ratio of the CPU time to that of decoding the tracks and encoding the
    output alone. Receiving, mixing sound and Python cost nearly the same at each size.
    """

    width: int
    height: int
    bitrate: int
    most_ratio: float

    def __str__(self) -> str:
        return f"{self.height}p"

    @property
    def encoding(self) -> proto.EncodingOptions:
        return proto.EncodingOptions(
            width=self.width, height=self.height, framerate=_FPS, video_bitrate=self.bitrate
        )


@pytest.mark.parametrize("size", [_Size(1280, 720, 3000, 2.0), _Size(640, 360, 800, 4.0)], ids=str)
async def test_the_cost_of_a_room_of_two(
    size: _Size,
    *,
    studio: Studio,
    worker: Worker,
    egresses: Egresses,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    people = [Marked(studio.livekit.url, name, room) for name in ("alice", "bob")]
    for person in people:
        await person.join()
        await person.publish_camera(size.width, size.height, fps=_FPS)
        await person.publish_microphone()
    try:
        asked = time.time_ns()
        info = await egresses.record_room(room, advanced=size.encoding)
        active = await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        (pid,) = handlers(worker)
        await asyncio.sleep(3)
        before = _cpu_seconds(pid)
        await asyncio.sleep(_SECONDS)
        cores = (_cpu_seconds(pid) - before) / _SECONDS
        memory = _memory(pid)
        stopped = time.monotonic()
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
        saved = time.monotonic() - stopped
    finally:
        for person in people:
            await person.leave()
    assert ended.status == proto.EGRESS_COMPLETE
    least = await asyncio.to_thread(_least_cores, size)
    began = (active.file_results[0].started_at - asked) / 1e9
    seen = watch(studio.fetch(f"{room}.mp4", tmp_path))
    for name, value in (
        ("cores", cores),
        ("least_cores", least),
        ("ratio", cores / least),
        ("memory_mib", memory),
        ("seconds_to_begin", began),
        ("seconds_to_save", saved),
    ):
        record_property(name, round(value, 3))
        print(f"{size} {name}: {value:.3f}")
    assert seen.duration >= _SECONDS
    assert cores <= size.most_ratio * least


def _least_cores(size: _Size) -> float:
    """Cores that it takes to decode both tracks and to encode the output, in this process."""
    pictures = [_picture(size, number) for number in range(_REFERENCE_SECONDS * _FPS)]
    coded = _vp8(size, pictures)
    begin = time.process_time()
    for _ in range(2):
        decoder = av.CodecContext.create("vp8", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        for packet in coded:
            decoder.decode(av.Packet(packet))
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    _configure(encoder, size, size.bitrate)
    encoder.options = {"preset": "veryfast", "profile": "main"}
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, _FPS)
        encoder.encode(frame)
    encoder.encode(None)
    return (time.process_time() - begin) / _REFERENCE_SECONDS


def _picture(size: _Size, number: int) -> npt.NDArray[np.uint8]:
    """Two pictures beside each other that change as the publishers' do: a marker on grey."""
    picture = np.full((size.height * 3 // 2, size.width), 128, np.uint8)
    picture[: size.height] = 90
    squares = np.random.default_rng(number).integers(0, 2, (4, 10)).astype(np.uint8) * 219 + 16
    side = size.width // 20
    marker = squares.repeat(side, axis=0).repeat(side, axis=1)
    for left in (0, size.width // 2):
        picture[side : 5 * side, left : left + 10 * side] = marker
    return picture


def _vp8(size: _Size, pictures: list[npt.NDArray[np.uint8]]) -> list[bytes]:
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    _configure(encoder, size, _CAMERA_BITRATE)
    encoder.options = {"deadline": "realtime", "cpu-used": "8"}
    packets: list[bytes] = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, _FPS)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def _configure(encoder: av.VideoCodecContext, size: _Size, bitrate: int) -> None:
    encoder.width, encoder.height, encoder.pix_fmt = size.width, size.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, _FPS), Fraction(_FPS, 1)
    encoder.bit_rate = bitrate * 1000


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """MiB that only this process uses, and its part of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    pss = next(line for line in lines if line.startswith("Pss:"))
    return int(pss.split()[1]) / 1024
