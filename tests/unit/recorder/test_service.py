"""What the service answers to StartEgress when an egress cannot begin."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.errors import Code, EgressError
from recorder.service import Service
from recorder.settings import Settings, parse
from recorder.storage.spool import EgressDirectory
from tests.unit.recorder.clients import StubClient
from tests.unit.recorder.egress_requests import MINIMAL, request, room


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def settings(spool: Path) -> Settings:
    return parse(f"{MINIMAL}\nrecorder: {{spool: {spool}, allow_request_storage: true}}", {})


@pytest.fixture
def client() -> StubClient:
    return StubClient()


@pytest.fixture
async def service(settings: Settings, client: StubClient, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that is connected, and records nothing."""
    made = Service(settings)
    made._bus.connected.set()
    monkeypatch.setattr(made, "_reports", client)
    monkeypatch.setattr(made._handlers, "assign", _no_handler)
    return made


async def _no_handler(directory: EgressDirectory, _: str) -> None:
    raise AssertionError(f"a handler was started for {directory.egress_id}")


def stored_in(endpoint: str) -> bytes:
    """A request that names its own store."""
    s3 = proto.S3Upload(bucket="b", access_key="k", secret="s", endpoint=endpoint)
    output = proto.EncodedFileOutput(filepath="x.mp4", s3=s3)
    return bytes(request(room(file_outputs=[output])).SerializeToString())


@pytest.mark.parametrize("endpoint", ["http://no host", "http://under_score.example.com", "http://["])
async def test_a_store_without_a_usable_address_is_refused_at_once(
    service: Service, client: StubClient, spool: Path, endpoint: str
) -> None:
    with pytest.raises(EgressError) as refused:
        await service._start_egress(stored_in(endpoint))
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert endpoint in str(refused.value)
    # LiveKit was told of no egress, and nothing is left.
    assert client.taken == []
    assert _directories(spool) == []
    assert service._held == {}


async def test_an_egress_without_a_process_is_refused_and_left_to_the_recovery(
    service: Service, client: StubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_process(directory: EgressDirectory, _: str) -> None:
        directory.close()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(service._handlers, "assign", no_process)
    with pytest.raises(EgressError) as refused:
        await service._start_egress(request(room()).SerializeToString())
    # livekit/egress' own text.
    assert (refused.value.code, str(refused.value)) == (Code.INTERNAL, "handler failed to start")
    assert service._held == {}
    async with asyncio.timeout(1):
        await service._recovery.wanted(60)
    monkeypatch.setattr(service._recovery, "_client", client)
    await service._recovery.run_once()
    assert [each.status for each in client.of("EG_1")] == [proto.EGRESS_STARTING, proto.EGRESS_ABORTED]


async def test_a_recording_is_ended_before_the_spool_is_full(
    service: Service, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that takes most, with the error of a full disk."""
    ended: list[tuple[str, str]] = []
    running = {name: _Running() for name in ("EG_1", "EG_2")}
    monkeypatch.setattr(service._handlers, "running", running)
    monkeypatch.setattr(service._handlers, "end", lambda name, error, _: ended.append((name, str(error))))
    for name, size in (("EG_1", 5000), ("EG_2", 500_000)):
        (spool / name).mkdir()
        (spool / name / "file").write_bytes(bytes(size))
    await service._prevent_overload()
    assert ended == []
    monkeypatch.setattr(service._spool, "_max_bytes", 64 * 2**20)
    await service._prevent_overload()
    assert ended == [("EG_2", "recording ended early: [Errno 28] No space left on device")]


def _directories(spool: Path) -> list[str]:
    return [path.name for path in spool.iterdir()]


class _Running:
    """A handler, of which the service reads the process id."""

    def __init__(self) -> None:
        self.process: Any = self
        self.pid = os.getpid()
