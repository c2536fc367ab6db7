"""How an egress ends. Recordings themselves are tested in tests/recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.limits import Limits
from recorder.recording import Outcome, Recording
from recorder.requests.plan import RoomFacts
from recorder.settings import parse
from recorder.storage.destination import UploadObserver
from recorder.storage.spool import Spool
from tests.ports import free_port
from tests.unit.recorder.egress_requests import MINIMAL, ROOM, plan, request, room


def _recording(directory: Path, reports: list[int]) -> Recording:
    """Of a room that nobody has; the states that it reports go into `reports`."""
    config = MINIMAL.replace("livekit:7880", f"127.0.0.1:{free_port()}")
    settings = parse(config.replace("api_secret: secret", f"api_secret: {'secret' * 6}"), {})
    spool = Spool(directory).create("EG_1", b"")
    return Recording(
        request(room()), settings, spool, lambda info: reports.append(info.status), UploadObserver()
    )


class _Saved:
    """Outputs that are in their store. `manifest` is the location of theirs."""

    def __init__(self, manifest: str | None) -> None:
        self._manifest = manifest

    def close(self) -> None:
        pass

    def drain(self, _deadline: float) -> bool:
        return True

    def save_manifest(self, *_: object) -> str | None:
        return self._manifest

    def fill(self, _info: proto.EgressInfo) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("manifest", "outcome", "final"),
    [
        ("https://s3/EG_1.json", Outcome.DONE, [proto.EGRESS_COMPLETE]),
        ("", Outcome.DONE, [proto.EGRESS_COMPLETE]),
        (None, Outcome.UPLOADS_LEFT, []),
    ],
    ids=["saved", "not wanted", "not saved"],
)
async def test_an_egress_is_not_complete_before_its_manifest_is_saved(
    tmp_path: Path, manifest: str | None, outcome: Outcome, final: list[int]
) -> None:
    """The process that finishes it finds the manifest among the uploads that are left."""
    reports: list[int] = []
    recording = _recording(tmp_path, reports)
    saving: Any = _Saved(manifest)
    assert await recording._save(plan(room()), RoomFacts(ROOM), saving, None) is outcome
    assert recording.info.manifest_location == (manifest or "")
    assert [status for status in reports if status] == final


async def test_an_egress_whose_limits_cannot_be_measured_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Limits):
        def reached(self, *_: object) -> bool:
            raise PermissionError("no access")

    monkeypatch.setattr("recorder.recording.limits_of", lambda *_: Broken())
    reports: list[int] = []
    recording = _recording(tmp_path, reports)
    assert await recording.run() is Outcome.DONE
    assert reports == [proto.EGRESS_FAILED]
    assert recording.info.error == "recording ended early: PermissionError: no access"
