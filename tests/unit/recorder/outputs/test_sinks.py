"""Files of the outputs, from the packets of the real encoders."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from livekit.protocol import egress as proto

from recorder.media.sounds import SAMPLE_RATE
from recorder.outputs.file import FileSink
from recorder.outputs.images import ImageSink
from recorder.outputs.playlist import Segment
from recorder.outputs.segments import SegmentSink
from recorder.requests.encoding import AudioCodec, Container
from recorder.requests.names import ImageNames, SegmentNames
from recorder.requests.outputs import ImageOutput, SegmentOutput
from tests.unit.recorder.outputs.encoded import RATE, new_encoders, packets

_BEGAN = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)


def _segments(
    directory: Path, seconds: float, *, video: bool = True, timestamps: bool = False
) -> list[tuple[Segment, Path]]:
    encoders = new_encoders(video=video)
    names = SegmentNames(directory="", playlist="all.m3u8", live_playlist=None, prefix="sub/part")
    closed: list[tuple[Segment, Path]] = []
    sink = SegmentSink(
        directory,
        SegmentOutput(names, seconds=2, timestamps=timestamps),
        encoders,
        _BEGAN,
        lambda segment, path: closed.append((segment, path)),
    )
    for packet in packets(encoders, seconds):
        sink.write(packet)
    sink.close()
    return closed


def test_segments_begin_with_key_frames_and_have_the_wanted_duration(tmp_path: Path) -> None:
    closed = _segments(tmp_path, 7)
    assert [segment.name for segment, _ in closed] == [f"sub/part_0000{number}.ts" for number in range(4)]
    assert [round(segment.duration, 2) for segment, _ in closed[:3]] == [2, 2, 2]
    assert closed[3][0].duration == pytest.approx(1, abs=0.1)
    assert [(segment.began_at - _BEGAN).total_seconds() for segment, _ in closed] == [0, 2, 4, 6]
    times = []
    for _, path in closed:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        assert frames[0].key_frame
        times += [float(frame.time) for frame in frames]
    # One time line over all segments, without a gap.
    assert len(times) == 7 * RATE
    assert np.diff(times) == pytest.approx(1 / RATE, abs=0.001)


def test_segments_of_sound_alone(tmp_path: Path) -> None:
    closed = _segments(tmp_path, 7, video=False)
    assert [round(segment.duration, 1) for segment, _ in closed[:3]] == [2, 2, 2]
    for _, path in closed:
        with av.open(str(path)) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) > 0.9 * SAMPLE_RATE


def test_segments_may_be_named_by_their_time(tmp_path: Path) -> None:
    closed = _segments(tmp_path, 3, timestamps=True)
    assert [segment.name for segment, _ in closed] == [
        "sub/part_20261130120000250.ts",
        "sub/part_20261130120002250.ts",
    ]


@pytest.mark.parametrize(
    ("container", "codec", "video"),
    [
        (Container.MP4, AudioCodec.AAC, True),
        (Container.MP4, AudioCodec.OPUS, True),
        (Container.OGG, AudioCodec.OPUS, False),
        (Container.MP3, AudioCodec.MP3, False),
    ],
)
def test_a_file_has_everything(tmp_path: Path, container: Container, codec: AudioCodec, video: bool) -> None:
    encoders = new_encoders(video=video, codec=codec)
    path = tmp_path / "recording"
    sink = FileSink(path, container, encoders)
    for packet in packets(encoders, 3):
        sink.write(packet)
    sink.close()
    with av.open(str(path)) as read:
        assert float(read.duration or 0) / 1e6 == pytest.approx(3, abs=0.06)
        if video:
            times = [float(frame.time or 0) for frame in read.decode(video=0)]
            assert times == pytest.approx([index / RATE for index in range(3 * RATE)], abs=0.001)
    with av.open(str(path)) as read:
        heard = sum(frame.samples for frame in read.decode(audio=0))
    assert heard == pytest.approx(3 * SAMPLE_RATE, abs=0.06 * SAMPLE_RATE)


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        (proto.IMAGE_SUFFIX_INDEX, ["image_00000.jpeg", "image_00001.jpeg", "image_00002.jpeg"]),
        (
            proto.IMAGE_SUFFIX_TIMESTAMP,
            ["image_20261130120000250.jpeg", "image_20261130120002250.jpeg", "image_20261130120004250.jpeg"],
        ),
        (proto.IMAGE_SUFFIX_NONE_OVERWRITE, ["image.jpeg"] * 3),
    ],
)
def test_images_come_at_their_interval(
    tmp_path: Path, suffix: proto.ImageFileSuffix, names: list[str]
) -> None:
    written: list[tuple[str, Path]] = []
    output = ImageOutput(ImageNames("", "image"), seconds=2, width=32, height=24, suffix=suffix)
    sink = ImageSink(tmp_path, output, _BEGAN, lambda name, _moment, path: written.append((name, path)))
    for index in range(5 * RATE):
        grey = np.full((72, 64), 40 + index, np.uint8)
        sink.show(av.VideoFrame.from_ndarray(grey, format="yuv420p"), index / RATE)
    assert [name for name, _ in written] == names
    levels = []
    for _, path in written:
        with av.open(str(path)) as image:
            frame = next(image.decode(video=0))
        assert (frame.width, frame.height) == (32, 24)
        levels.append(int(frame.to_ndarray(format="gray").mean()))
    assert levels == sorted(set(levels))
