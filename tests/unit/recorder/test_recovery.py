"""Directories that dead handlers left: each is finished, whatever is wrong with another one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder import recovery as module
from recorder.errors import Code, EgressError
from recorder.recovery import Recovery
from recorder.settings import Settings
from recorder.storage.resume import ResumedOutput
from recorder.storage.spool import EgressDirectory, Spool
from tests.support.speed import scaled
from tests.unit.recorder.clients import StubClient
from tests.unit.recorder.egress_requests import SETTINGS, WITH_REQUEST_STORAGE, plan, request, room

AWAY = EgressError(Code.UNAVAILABLE, "S3 upload failed: the store did not answer in time")
OUTPUT = "0-fileoutput"
HOUR = 3600 * 1_000_000_000


def left(spool: Spool, number: int, message: Any = None, settings: Settings = SETTINGS) -> str:
    """A directory whose handler died while it recorded; the egress' id."""
    name = f"EG_{number:02}"
    given = request(message or room(), egress_id=name)
    info = infos.of_request(given)
    if message is None:
        infos.set_outputs(info, plan(room(), settings))
    infos.set_active(info, time.time_ns() - HOUR)
    info.updated_at = time.time_ns() - HOUR
    with spool.create(name, given.SerializeToString()) as directory:
        directory.write_info(info.SerializeToString())
        directory.journal(OUTPUT).write_bytes(b"")
    return name


class Uploads:
    """Stands in for `resume`: notes what is asked of it, and answers as `outcome` says."""

    def __init__(self, outcome: Callable[[EgressDirectory], EgressError | None]) -> None:
        self.tried: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._outcome = outcome

    def __call__(self, directory: EgressDirectory, *_: Any, **__: Any) -> list[ResumedOutput]:
        with self._lock:
            self.tried.append(directory.egress_id)
            self._running += 1
            self.most = max(self.most, self._running)
        error = self._outcome(directory)
        with self._lock:
            self._running -= 1
        return [ResumedOutput(OUTPUT, (), (), (), (), error)]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def remaining(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "spool").iterdir())


async def test_an_egress_whose_store_has_no_usable_address_ends(tmp_path: Path, spool: Spool) -> None:
    """Before, it was tried again for ever, and stayed as it was."""
    s3 = proto.S3Upload(bucket="b", access_key="k", secret="s", endpoint="http://no host")
    message = room(file_outputs=[proto.EncodedFileOutput(filepath="x.mp4", s3=s3)])
    name = left(spool, 1, message)
    client = StubClient()
    await Recovery(WITH_REQUEST_STORAGE, spool, client).run_once()
    ended = client.of(name)[-1]
    assert ended.status == proto.EGRESS_ABORTED
    assert "no host" in ended.error
    assert remaining(tmp_path) == []


async def test_an_egress_that_the_worker_does_not_accept_any_more_ends(tmp_path: Path, spool: Spool) -> None:
    s3 = proto.S3Upload(bucket="b", access_key="k", secret="s")
    name = left(spool, 1, room(file_outputs=[proto.EncodedFileOutput(filepath="x.mp4", s3=s3)]))
    client = StubClient()
    await Recovery(SETTINGS, spool, client).run_once()
    assert client.of(name)[-1].status == proto.EGRESS_ABORTED
    assert remaining(tmp_path) == []


async def test_a_refusal_is_reported_when_livekit_is_back(tmp_path: Path, spool: Spool) -> None:
    s3 = proto.S3Upload(bucket="b", access_key="k", secret="s")
    name = left(spool, 1, room(file_outputs=[proto.EncodedFileOutput(filepath="x.mp4", s3=s3)]))
    client = StubClient()
    client.away = True
    recovery = Recovery(SETTINGS, spool, client)
    await recovery.run_once()
    assert remaining(tmp_path) == [name]
    client.away = False
    await recovery.run_once()
    assert client.of(name)[-1].status == proto.EGRESS_ABORTED
    assert remaining(tmp_path) == []


async def test_some_are_recovered_at_the_same_time(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [left(spool, number) for number in range(6)]

    def slowly(_: EgressDirectory) -> None:
        time.sleep(0.1)

    uploads = Uploads(slowly)
    monkeypatch.setattr(module, "resume", uploads)
    await Recovery(SETTINGS, spool, StubClient()).run_once()
    assert sorted(uploads.tried) == names
    assert 2 <= uploads.most <= 4
    assert remaining(tmp_path) == []


async def test_all_are_reported_before_the_first_one_is_done(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """token-api gives up a recording of which it hears nothing for ten minutes."""
    names = [left(spool, number) for number in range(6)]
    began = time.time_ns()
    client, done = StubClient(), threading.Event()

    def wait(_: EgressDirectory) -> None:
        done.wait(10)

    monkeypatch.setattr(module, "resume", Uploads(wait))
    running = asyncio.create_task(Recovery(SETTINGS, spool, client).run_once())
    try:
        async with asyncio.timeout(scaled(10)):
            while len(client.taken) < len(names):
                await client.next_report()
        assert {each.egress_id for each in client.taken} == set(names)
        assert {each.status for each in client.taken} == {proto.EGRESS_ACTIVE}
        assert all(each.updated_at >= began for each in client.taken)
    finally:
        done.set()
        await running


async def test_one_that_waits_is_reported_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [left(spool, number) for number in range(5)]
    client, done = StubClient(), threading.Event()

    def wait(_: EgressDirectory) -> None:
        done.wait(10)

    monkeypatch.setattr(module, "resume", Uploads(wait))
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.1)
    running = asyncio.create_task(Recovery(SETTINGS, spool, client).run_once())
    try:
        async with asyncio.timeout(scaled(10)):
            while len(client.of(names[-1])) < 3:
                await client.next_report()
        assert [each.status for each in client.of(names[-1])][:3] == [proto.EGRESS_ACTIVE] * 3
    finally:
        done.set()
        await running
    assert client.of(names[-1])[-1].status in infos.FINAL


async def test_a_store_that_did_not_answer_is_not_asked_for_the_others(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [left(spool, number) for number in range(8)]

    def no_answer(_: EgressDirectory) -> EgressError:
        time.sleep(0.05)
        return AWAY

    uploads = Uploads(no_answer)
    monkeypatch.setattr(module, "resume", uploads)
    client = StubClient()
    recovery = Recovery(SETTINGS, spool, client)
    await recovery.run_once()
    # As many as were tried at the same time.
    assert len(uploads.tried) <= 4
    assert {client.of(name)[-1].status for name in names} == {proto.EGRESS_ENDING}
    assert remaining(tmp_path) == names
    # The next round asks it again.
    uploads.tried.clear()
    await recovery.run_once()
    assert uploads.tried


async def test_a_store_that_is_only_slow_is_asked_for_the_others(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [left(spool, number) for number in range(6)]

    def slow(directory: EgressDirectory) -> EgressError:
        # A request succeeded: the journal has grown.
        with directory.journal(OUTPUT).open("ab") as journal:
            journal.write(b"one more line")
        return AWAY

    uploads = Uploads(slow)
    monkeypatch.setattr(module, "resume", uploads)
    await Recovery(SETTINGS, spool, StubClient()).run_once()
    assert sorted(uploads.tried) == names


async def test_a_directory_that_cannot_be_read_does_not_keep_others_waiting(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = left(spool, 1), left(spool, 2)
    (tmp_path / "spool" / broken / "info.bin").write_bytes(b"\xff")
    monkeypatch.setattr(module, "resume", Uploads(lambda _: None))
    client = StubClient()
    await Recovery(SETTINGS, spool, client).run_once()
    assert client.of(whole)[-1].status in infos.FINAL
    assert remaining(tmp_path) == [broken]
