"""Several outputs of one egress on their way to their stores."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.errors import Code, EgressError
from recorder.outputs.manifest import Manifest
from recorder.outputs.saving import Saving
from recorder.requests.plan import Plan, RoomFacts
from recorder.settings import Settings, parse
from recorder.storage.destination import UploadObserver
from recorder.storage.spool import Spool
from recorder.storage.upload_state import StoredObject, UploadState
from tests.unit.recorder.egress_requests import MINIMAL, ROOM, plan, room
from tests.unit.recorder.outputs.encoded import new_encoders, packets

_S3 = "{bucket: b, endpoint: 'http://127.0.0.1:1', access_key: a, secret: s}"
_CONFIG = MINIMAL.partition("storage:")[0] + f"storage: {{s3: {_S3}}}\n"
_REFUSED = EgressError(Code.INVALID_ARGUMENT, "S3 upload failed: AccessDenied")
_MESSAGE = room(
    file_outputs=[proto.EncodedFileOutput(filepath="d/x.mp4")],
    segment_outputs=[proto.SegmentedFileOutput(filename_prefix="s/i", playlist_name="i.m3u8")],
)


@dataclass
class _Queue:
    """An output's uploads, which end in a given way."""

    done: bool = True
    refusal: EgressError | None = None
    drained: bool = False
    patience: float = math.inf
    replaced: list[str] = field(default_factory=list)
    state: UploadState = field(default_factory=UploadState)

    def drain(self, _timeout: float) -> bool:
        self.drained = True
        if self.refusal is not None:
            raise self.refusal
        return self.done

    def seal(self, _path: str) -> None:
        pass

    def replace(self, path: str, *_: object, **_options: object) -> None:
        self.replaced.append(path)

    def stored(self) -> list[StoredObject]:
        return []

    def location(self, path: str) -> str:
        return f"https://s3/{path}"

    def stop(self) -> None:
        pass


@contextmanager
def _saving(made: Plan, settings: Settings, directory: Path, *queues: Any) -> Iterator[Saving]:
    """The outputs of a plan; `queues` stand in for the first ones' uploads."""
    saving = Saving(made, settings, Spool(directory).create("EG_1", b""), UploadObserver(), lambda _: None)
    for saved, queue in zip(saving._saved, queues, strict=False):
        saved.queue.stop()
        saved.queue = queue
    yield saving
    saving.stop()


def _soon() -> float:
    return time.monotonic() + 1


def test_an_output_that_is_refused_does_not_keep_the_others_from_their_store(tmp_path: Path) -> None:
    refused, other = _Queue(refusal=_REFUSED), _Queue()
    with (
        _saving(plan(_MESSAGE), parse(_CONFIG, {}), tmp_path, refused, other) as saving,
        pytest.raises(EgressError, match="AccessDenied"),
    ):
        saving.drain(_soon())
    assert other.drained


def test_an_output_that_is_refused_does_not_end_the_egress_while_others_wait(tmp_path: Path) -> None:
    refused, other = _Queue(refusal=_REFUSED), _Queue(done=False)
    with _saving(plan(_MESSAGE), parse(_CONFIG, {}), tmp_path, refused, other) as saving:
        assert saving.drain(_soon()) is False


@pytest.mark.parametrize(
    ("second_done", "location"), [(True, "https://s3/d/EG_1.json"), (False, None)], ids=["saved", "away"]
)
def test_a_manifest_that_is_not_in_the_store_has_no_location(
    tmp_path: Path, second_done: bool, location: str | None
) -> None:
    made = plan(_MESSAGE)
    queues = _Queue(), _Queue(done=second_done)
    with _saving(made, parse(_CONFIG, {}), tmp_path, *queues) as saving:
        assert saving.save_manifest(Manifest(made, RoomFacts(ROOM), 1), 2, _soon()) == location
    assert [queue.replaced for queue in queues] == [["d/EG_1.json"], ["s/EG_1.json"]]


@pytest.mark.parametrize(
    ("backup", "patience"), [("", math.inf), (f"backup: {{s3: {_S3}}}\n", 60.0)], ids=["no backup", "backup"]
)
def test_after_the_end_the_primary_store_is_waited_for_only_if_there_is_no_backup(
    tmp_path: Path, backup: str, patience: float
) -> None:
    queues = _Queue(), _Queue()
    with _saving(plan(_MESSAGE), parse(_CONFIG + backup, {}), tmp_path, *queues) as saving:
        assert [queue.patience for queue in queues] == [math.inf] * 2
        assert saving.close() is None
    assert [queue.patience for queue in queues] == [patience] * 2


def test_the_size_of_the_file_is_not_that_of_other_outputs(tmp_path: Path) -> None:
    """Segments are deleted when they are stored, so they may disappear while they are measured."""
    with _saving(plan(_MESSAGE), parse(_CONFIG, {}), tmp_path) as saving:
        assert saving.file_bytes() == 0
        encoders = new_encoders()
        sinks, _ = saving.open(encoders, datetime(2026, 11, 30, tzinfo=UTC))
        for packet in packets(encoders, 9):
            for sink in sinks.values():
                sink.write(packet)
        saving.close()
        [recording] = tmp_path.rglob("*.mp4")
        assert list(tmp_path.rglob("*.ts"))
        assert saving.file_bytes() == recording.stat().st_size > 0
