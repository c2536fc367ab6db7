"""Records a room of the running local stack: `python -m examples.record_a_room [FILE]`.

It joins a room, publishes a moving picture and a tone, records the room, and downloads the recording into
FILE (`recording.mp4` by default). It uses only LiveKit's own APIs, as any client of the Egress API does.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time
from pathlib import Path

import boto3
import numpy as np
from botocore.config import Config
from livekit import api, rtc
from livekit.protocol import egress

from loadtest.targets.outputs import StackOutputs
from loadtest.targets.resolving import edge_client

_ROOM = "test_recorded"
_DEFAULT_FILE = "recording.mp4"
_SECONDS = 5.0
_WIDTH, _HEIGHT, _FPS = 640, 360, 15
_RATE = 48_000
_FINAL = {egress.EGRESS_COMPLETE, egress.EGRESS_FAILED, egress.EGRESS_ABORTED, egress.EGRESS_LIMIT_REACHED}


def main(file: str = _DEFAULT_FILE) -> int:
    """Record, download, and print where the file is; the exit code."""
    outputs = _outputs()
    info = asyncio.run(_record(outputs))
    if info.status != egress.EGRESS_COMPLETE:
        status = egress.EgressStatus.Name(info.status)
        print(f"the recording ended as {status}: {info.error}", file=sys.stderr)
        return 1
    key = info.file_results[0].filename
    _download(outputs, key, Path(file))
    print(f"{file} has {info.file_results[0].duration / 1e9:.1f} s; in the bucket it is {key}")
    return 0


def _outputs() -> StackOutputs:
    """`make outputs`, with the secrets."""
    words = ["make", "-s", "outputs", "SECRETS=1"]
    return StackOutputs.model_validate_json(subprocess.run(words, check=True, capture_output=True).stdout)


async def _record(outputs: StackOutputs) -> egress.EgressInfo:
    url, key = outputs.signal_urls[0], outputs.livekit_api_key
    secret = outputs.livekit_api_secret.get_secret_value()
    token = (
        api.AccessToken(key, secret)
        .with_identity("me")
        .with_name("Me")
        .with_grants(api.VideoGrants(room_join=True, room=_ROOM))
    )
    async with api.LiveKitAPI(url.replace("ws", "http", 1), key, secret) as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=_ROOM))
        room = rtc.Room()
        await room.connect(url, token.to_jwt())
        publishing = [asyncio.create_task(_show(room)), asyncio.create_task(_sound(room))]
        file = egress.EncodedFileOutput(filepath="examples/{room_name}-{time}.mp4")
        info = await livekit.egress.start_room_composite_egress(
            egress.RoomCompositeEgressRequest(room_name=_ROOM, layout="speaker", file_outputs=[file])
        )
        print("recording", info.egress_id)
        while info.status == egress.EGRESS_STARTING:
            info = await _read(livekit, info)
        await asyncio.sleep(_SECONDS)
        if info.status not in _FINAL:
            info = await livekit.egress.stop_egress(egress.StopEgressRequest(egress_id=info.egress_id))
        while info.status not in _FINAL:
            info = await _read(livekit, info)
        for task in publishing:
            task.cancel()
        await room.disconnect()
        await livekit.room.delete_room(api.DeleteRoomRequest(room=_ROOM))
    return info


async def _read(livekit: api.LiveKitAPI, info: egress.EgressInfo) -> egress.EgressInfo:
    await asyncio.sleep(0.2)
    found = await livekit.egress.list_egress(egress.ListEgressRequest(egress_id=info.egress_id))
    return found.items[0]


async def _show(room: rtc.Room) -> None:
    """Publish a bar that moves."""
    source = rtc.VideoSource(_WIDTH, _HEIGHT)
    track = rtc.LocalVideoTrack.create_video_track("bar", source)
    await room.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
    )
    picture = np.full(_WIDTH * _HEIGHT * 3 // 2, 128, np.uint8)
    luma = picture[: _WIDTH * _HEIGHT].reshape(_HEIGHT, _WIDTH)
    started = time.monotonic()
    while True:
        passed = time.monotonic() - started
        luma[:] = 60
        left = int(passed * 160) % (_WIDTH - 40)
        luma[:, left : left + 40] = 220
        source.capture_frame(rtc.VideoFrame(_WIDTH, _HEIGHT, rtc.VideoBufferType.I420, picture.data))
        await asyncio.sleep(1 / _FPS)


async def _sound(room: rtc.Room) -> None:
    """Publish a quiet tone."""
    source = rtc.AudioSource(_RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track("tone", source)
    await room.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    )
    position, count = 0, _RATE // 50
    while True:
        phases = 2 * math.pi * 440 * (position + np.arange(count)) / _RATE
        samples = (3000 * np.sin(phases)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), _RATE, 1, count))
        position += count


def _download(outputs: StackOutputs, key: str, file: Path) -> None:
    """Fetch the object by a presigned address, as a browser would."""
    if outputs.s3_access_key is None or outputs.s3_secret_key is None:
        raise SystemExit(
            f"{key} is in {outputs.s3_bucket} at {outputs.s3_endpoint}, which is not the stack's own"
        )
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=outputs.s3_endpoint,
        aws_access_key_id=outputs.s3_access_key.get_secret_value(),
        aws_secret_access_key=outputs.s3_secret_key.get_secret_value(),
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    address = client.generate_presigned_url("get_object", {"Bucket": outputs.s3_bucket, "Key": key})
    # The stack's names are known to browsers of this machine only, so the request goes to the edge's address.
    with edge_client(outputs) as http:
        file.write_bytes(http.get(address).raise_for_status().content)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
