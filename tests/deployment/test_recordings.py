"""Recordings on the stack: from a user's request to a file that plays, and from pod to pod."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.commands import run
from common.waiting import wait_until
from loadtest.targets.resolving import edge_client
from tests.deployment.host_application import HostApplication, host_application
from tests.deployment.kubectl import Kubectl
from tests.recorder.marked import Marked, Watched, last_frame, watch
from tests.running import CHECKOUT, RunningStack
from tests.support.speed import scaled

_POD = "egress-0"
_SECONDS = 5.0


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[httpx.Client]:
    with edge_client(stack.outputs) as made:
        yield made


@pytest.fixture(scope="module")
def host(stack: RunningStack, kubectl: Kubectl, client: httpx.Client) -> HostApplication:
    return host_application(client, stack, kubectl, "statefulset/token-api")


def _user(name: str) -> str:
    """A user of this run only."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def _on_air(
    host: HostApplication, stack: RunningStack, **fields: Any
) -> AsyncIterator[tuple[str, str, Marked]]:
    """A stream whose creator publishes marked frames and beeps: its id, the creator's, and their client."""
    creator = _user("creator")
    wanted = {"title": "Recorded", "space_id": _user("space"), "owner_id": creator, **fields}
    stream = str(host.as_service("POST", "/streams", wanted)["id"])
    host.as_user(creator, "POST", f"/streams/{stream}/go-live")
    admission = host.as_user(creator, "POST", f"/streams/{stream}/video-token")
    person = Marked(stack.outputs.signal_urls[0], creator, "")
    try:
        await person.join(admission["participant_token"])
        await person.publish_camera()
        await person.publish_microphone()
        yield stream, creator, person
    finally:
        await person.leave()
        host.as_user(creator, "POST", f"/streams/{stream}/end")


async def _becomes(host: HostApplication, creator: str, recording: str, status: str) -> dict[str, Any]:
    """Wait for a recording's status."""

    def found() -> dict[str, Any] | None:
        read: dict[str, Any] = host.as_user(creator, "GET", f"/recordings/{recording}")
        return read if read["status"] == status else None

    became: dict[str, Any] = await _until(found, f"the recording to be {status}")
    return became


async def _until(probe: Callable[[], Any], describe: str, *, within: float = 40) -> Any:
    limit = scaled(within)
    return await asyncio.to_thread(wait_until, probe, timeout=limit, describe=describe, interval=0.5)


def test_the_example_of_the_readme_ends_with_a_file_that_plays(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "recording.mp4"
    done = run([sys.executable, "-m", "examples.record_a_room", str(file)], timeout=scaled(60), cwd=CHECKOUT)
    assert f"{file} has " in done.stdout
    seen = watch(file)
    # It records for five seconds.
    assert seen.duration > 4
    assert (seen.video_codec, seen.audio_codec) == ("h264", "aac")


async def _begin(host: HostApplication, stream: str, creator: str) -> str:
    """Start a recording as soon as the creator's tracks are there; its id."""

    def published() -> bool:
        people = host.as_user(creator, "GET", f"/streams/{stream}/participants")["items"]
        return any(each["tracks"] for each in people)

    await _until(published, "LiveKit to list the creator's tracks")
    made = host.as_user(creator, "POST", f"/streams/{stream}/recordings", {"layout": "grid"})
    await _becomes(host, creator, made["id"], "active")
    return str(made["id"])


async def _active(host: HostApplication, stream: str, creator: str) -> str:
    """Wait for the automatic recording of a stream; its id."""

    def active() -> Any:
        recording = host.as_user(creator, "GET", f"/streams/{stream}")["recording"]
        return recording["recording_id"] if recording["state"] == "active" else None

    return str(await _until(active, "the stream's recording to be active"))


def _watched(
    host: HostApplication, client: httpx.Client, creator: str, recording: str, path: Path
) -> Watched:
    """Fetch a recording as its creator's browser does, and watch it."""
    url = host.as_user(creator, "GET", f"/recordings/{recording}/url")["url"]
    fetched = client.get(url)
    assert fetched.status_code == 200, fetched.text
    path.write_bytes(fetched.content)
    return watch(path)


async def test_a_recording_is_started_stopped_and_played(
    stack: RunningStack, host: HostApplication, client: httpx.Client, tmp_path: Path
) -> None:
    async with _on_air(host, stack) as (stream, creator, person):
        recording = await _begin(host, stream, creator)
        await asyncio.sleep(_SECONDS)
        person.mute_camera()
        await asyncio.sleep(scaled(2))
        host.as_user(creator, "POST", f"/recordings/{recording}/stop")
        ended = await _becomes(host, creator, recording, "complete")
        seen = _watched(host, client, creator, recording, tmp_path / "recording.mp4")
    assert seen.duration >= _SECONDS - 1
    assert len(seen.stamps) > 10
    assert len(seen.beeps) >= _SECONDS - 2
    assert ended["size_bytes"] == (tmp_path / "recording.mp4").stat().st_size
    # The camera is off: initials and a name are drawn with the fonts of the image.
    assert seen.pictures[-1].stamp is None
    assert last_frame(tmp_path / "recording.mp4").std() > 5


async def test_a_stream_that_records_itself(
    stack: RunningStack, host: HostApplication, client: httpx.Client, tmp_path: Path
) -> None:
    async with _on_air(host, stack, record=True) as (stream, creator, _):
        recording = await _active(host, stream, creator)
        await asyncio.sleep(2)
    await _becomes(host, creator, recording, "complete")
    assert _watched(host, client, creator, recording, tmp_path / "recording.mp4").stamps


@pytest.mark.long
async def test_a_deleted_pod_leaves_a_recording_that_plays_and_the_rest_is_recorded(
    *,
    stack: RunningStack,
    host: HostApplication,
    client: httpx.Client,
    kubectl: Kubectl,
    platform: str,
    tmp_path: Path,
    disruptive: None,
) -> None:
    """The pod gets no time to end it: the next one finds it in the spool and saves it."""
    async with _on_air(host, stack, record=True) as (stream, creator, _):
        recording = await _active(host, stream, creator)
        await asyncio.sleep(_SECONDS)
        kubectl("-n", platform, "delete", "pod", _POD, "--grace-period=0", "--force", "--wait=false")
        await _becomes(host, creator, recording, "failed")
        seen = _watched(host, client, creator, recording, tmp_path / "recording.mp4")
        rest = await _active(host, stream, creator)
        await asyncio.sleep(2)
    assert seen.duration >= _SECONDS - 2
    await _becomes(host, creator, rest, "complete")
    assert _watched(host, client, creator, rest, tmp_path / "rest.mp4").stamps
    kubectl("-n", platform, "wait", "--for=condition=Ready", f"pod/{_POD}", "--timeout=90s", timeout=100)
