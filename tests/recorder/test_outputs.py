"""Kinds of requests and of outputs."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from pathlib import Path
from typing import Any

import av
import pytest
from livekit import rtc
from livekit.api import TwirpError
from livekit.protocol import egress as proto
from livekit.protocol import models

from common.waiting import wait_until
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import MOST_MISSING, last_frame, marked, watch
from tests.recorder.worker import Worker
from tests.support.speed import scaled

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_SECONDS = 3.0


async def _recorded(
    egresses: Egresses, info: proto.EgressInfo, seconds: float = _SECONDS
) -> proto.EgressInfo:
    """Let an egress record for some seconds, and end it."""
    await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
    await asyncio.sleep(seconds)
    await egresses.stop(info.egress_id)
    ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_COMPLETE, ended
    return ended


@pytest.mark.usefixtures("worker")
async def test_one_participant_among_others(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "bob", room), marked(studio.livekit.url, "alice", room) as alice:
        outputs = [proto.EncodedFileOutput(filepath="{publisher_identity}/{room_name}.mp4")]
        info = await egresses.record_participant(room, "alice", file_outputs=outputs, advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        # The egress of a participant ends when the participant leaves.
        await alice.leave()
        ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.details) == (proto.EGRESS_COMPLETE, "End reason: Source closed")
    seen = watch(studio.fetch(f"alice/{room}.mp4", tmp_path))
    assert (seen.width, seen.height) == (320, 180)
    assert seen.missing < MOST_MISSING
    assert len(seen.beeps) >= _SECONDS - 2


@pytest.mark.usefixtures("worker")
async def test_the_file_is_encoded_as_the_options_say(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    options = proto.EncodingOptions(
        width=322,
        height=182,
        framerate=10,
        video_codec=models.VideoCodec.H264_BASELINE,
        video_bitrate=200,
        key_frame_interval=1,
        audio_codec=models.AudioCodec.AAC,
        audio_bitrate=48,
        audio_frequency=44100,
    )
    async with marked(studio.livekit.url, "alice", room):
        await _recorded(egresses, await egresses.record_room(room, advanced=options), seconds=5)
    with av.open(str(studio.fetch(f"{room}.mp4", tmp_path))) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        packets = [packet for packet in container.demux(video) if packet.pts is not None]
        keys = [_seconds(packet) for packet in packets if packet.is_keyframe]
        seconds = _seconds(packets[-1]) - _seconds(packets[0])
        assert (video.width, video.height) == (322, 182)
        assert video.codec_context.profile == "Constrained Baseline"
        assert (len(packets) - 1) / seconds == pytest.approx(10, rel=0.05)
        assert max(after - before for before, after in itertools.pairwise(keys)) <= 1.1
        assert sum(packet.size for packet in packets) * 8 / seconds <= 1.5 * 200_000
        assert (audio.codec_context.name, audio.rate) == ("aac", 44100)
        # Silence between the beeps needs less.
        assert audio.bit_rate
        assert audio.bit_rate <= 1.2 * 48_000


def _seconds(packet: av.Packet[Any]) -> float:
    assert packet.pts is not None
    assert packet.time_base is not None
    return float(packet.pts * packet.time_base)


@pytest.mark.usefixtures("worker")
async def test_a_participants_screen_without_camera_and_microphone(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room, camera=False) as alice:
        camera = await alice.publish_camera(640, 360)
        await alice.publish_camera(360, 360, source=rtc.TrackSource.SOURCE_SCREENSHARE)
        outputs = [proto.EncodedFileOutput(filepath=f"{room}.mp4")]
        info = await egresses.record_participant(
            room, "alice", screen_share=True, file_outputs=outputs, advanced=_SMALL
        )
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        # The screen goes on without the camera.
        await alice.room.local_participant.unpublish_track(camera.sid)
        await _recorded(egresses, info)
    path = studio.fetch(f"{room}.mp4", tmp_path)
    seen = watch(path)
    assert seen.beeps == ()
    last = last_frame(path)
    # The screen is square: it fills the middle, and nothing is beside it, not even a name.
    left, middle = last[:, :60], last[:, 80:240]
    assert (left.std() < 5, middle.std() > 10) == (True, True), f"{left.std():.1f}, {middle.std():.1f}"


@pytest.mark.usefixtures("worker")
async def test_two_tracks_in_one_file_and_one_track_in_another(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room) as alice:
        video, audio = alice.track_id(rtc.TrackKind.KIND_VIDEO), alice.track_id(rtc.TrackKind.KIND_AUDIO)
        both, sound = await asyncio.gather(
            egresses.record_tracks(
                room,
                audio_track_id=audio,
                video_track_id=video,
                file_outputs=[proto.EncodedFileOutput(filepath=f"{room}/both")],
                advanced=_SMALL,
            ),
            egresses.record_track(room, audio, room + "/{track_type}-{track_source}-{track_id}"),
        )
        await asyncio.gather(_recorded(egresses, both), _recorded(egresses, sound))
    seen = watch(studio.fetch(f"{room}/both.mp4", tmp_path))
    assert seen.stamps
    assert seen.beeps
    # The SDK decodes each track, so a track egress is encoded anew: sound as Opus.
    heard = watch(studio.fetch(f"{room}/audio-microphone-{audio}.ogg", tmp_path))
    assert (heard.audio_codec, heard.pictures) == ("opus", ())
    assert heard.beeps


@pytest.mark.usefixtures("worker")
async def test_one_video_track_keeps_its_size(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room, camera=False, microphone=False) as alice:
        published = await alice.publish_camera(360, 640)
        info = await egresses.record_track(room, published.sid, f"{room}/portrait")
        await _recorded(egresses, info)
    seen = watch(studio.fetch(f"{room}/portrait.mp4", tmp_path))
    assert (seen.width, seen.height) == (360, 640)
    assert seen.stamps


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("file_type", "codec", "extension"),
    [
        (proto.DEFAULT_FILETYPE, "opus", "ogg"),
        pytest.param(proto.MP4, "aac", "mp4", marks=pytest.mark.long),
        pytest.param(proto.EncodedFileType.MP3, "mp3float", "mp3", marks=pytest.mark.long),
    ],
)
async def test_sound_only(
    *, studio: Studio, egresses: Egresses, tmp_path: Path, file_type: Any, codec: str, extension: str
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room, camera=False):
        outputs = [proto.EncodedFileOutput(file_type=file_type, filepath=room)]
        info = await egresses.record_room(room, audio_only=True, layout="", file_outputs=outputs)
        ended = await _recorded(egresses, info)
    seen = watch(studio.fetch(f"{room}.{extension}", tmp_path))
    assert (seen.audio_codec, seen.pictures) == (codec, ())
    assert seen.duration == pytest.approx(ended.file_results[0].duration / 1e9, abs=0.2)
    assert len(seen.beeps) >= _SECONDS - 2


@pytest.mark.usefixtures("worker")
async def test_several_outputs_of_one_egress(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(
            room,
            advanced=_SMALL,
            file_outputs=[proto.EncodedFileOutput(filepath=f"{room}/whole.mp4")],
            segment_outputs=[
                proto.SegmentedFileOutput(
                    filename_prefix=f"{room}/part",
                    playlist_name=f"{room}/all.m3u8",
                    live_playlist_name=f"{room}/live.m3u8",
                    segment_duration=1,
                )
            ],
            image_outputs=[
                proto.ImageOutput(capture_interval=1, width=160, height=90, filename_prefix=f"{room}/image"),
                proto.ImageOutput(
                    capture_interval=1,
                    filename_prefix=f"{room}/newest",
                    filename_suffix=proto.IMAGE_SUFFIX_NONE_OVERWRITE,
                ),
            ],
        )
        ended = await _recorded(egresses, info, seconds=6)
    keys = studio.keys()
    segments = sorted(key for key in keys if key.startswith(f"{room}/part"))
    assert segments[0] == f"{room}/part_00000.ts"
    assert len(segments) == ended.segment_results[0].segment_count >= 5
    playlist = studio.fetch(f"{room}/all.m3u8", tmp_path).read_text()
    assert re.findall(r"^[^#].*$", playlist, re.MULTILINE) == [
        key.removeprefix(f"{room}/") for key in segments
    ]
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    live = studio.fetch(f"{room}/live.m3u8", tmp_path).read_text()
    assert len(re.findall("#EXTINF", live)) == 5
    stamps = []
    for segment in segments:
        part = watch(studio.fetch(segment, tmp_path))
        stamps += [stamp.frame for stamp in part.stamps]
    assert stamps == sorted(stamps)
    whole = watch(studio.fetch(f"{room}/whole.mp4", tmp_path))
    # Nothing is lost between two segments: all outputs get the packets of one encoder.
    assert sorted(set(stamps)) == [stamp.frame for stamp in whole.stamps]
    images = sorted(key for key in keys if key.startswith(f"{room}/image"))
    assert images[0] == f"{room}/image_00000.jpeg"
    assert len(images) == ended.image_results[0].image_count >= 5
    with av.open(str(studio.fetch(images[2], tmp_path))) as image:
        frame = next(image.decode(video=0))
        assert (frame.width, frame.height) == (160, 90)
    assert f"{room}/newest.jpeg" in keys


@pytest.mark.usefixtures("worker")
async def test_a_request_that_cannot_be_met_is_refused(studio: Studio, egresses: Egresses) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    for fields, code, text in (
        ({"layout": "mosaic"}, "invalid_argument", "layout is 'mosaic'"),
        ({"custom_base_url": "http://127.0.0.1"}, "invalid_argument", "custom_base_url is not yet supported"),
        (
            {"advanced": proto.EncodingOptions(video_codec=models.VideoCodec.VP8)},
            "invalid_argument",
            "video codec",
        ),
        (
            {
                "file_outputs": [
                    proto.EncodedFileOutput(
                        filepath="x", s3=proto.S3Upload(bucket="other", access_key="a", secret="b")
                    )
                ]
            },
            "permission_denied",
            "storage in a request is disabled",
        ),
    ):
        with pytest.raises(TwirpError) as refused:
            await egresses.record_room(room, **fields)
        assert (refused.value.code, text in refused.value.message) == (code, True), refused.value.message


async def test_metrics_status_and_log(studio: Studio, worker: Worker, egresses: Egresses) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    results = {"type": "room_composite", "result": "completed"}
    before = worker.metric("livekit_egress_handler_results_total", **results)
    assert worker.metric("livekit_egress_available") == 1
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(room, advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        assert worker.metric("livekit_egress_available") == 0
        assert worker.metric("livekit_egress_requests", type="room_composite") == 1
        assert worker.status()["egresses"] == {info.egress_id: "room_composite"}
        await egresses.stop(info.egress_id)
        await egresses.ends(info.egress_id)
    await asyncio.to_thread(
        wait_until,
        lambda: worker.metric("livekit_egress_handler_results_total", **results) == before + 1,
        timeout=scaled(10),
        describe="the handler's result in the metrics",
        interval=0.1,
    )
    assert worker.metric("livekit_egress_pipeline_uploads", type="video/mp4", status="success") >= 1
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    of_egress = {line["event"] for line in lines if line.get("egress_id") == info.egress_id}
    # The first one is the recording's process, the second one the worker.
    assert {"recorded", "handler_ended"} <= of_egress
