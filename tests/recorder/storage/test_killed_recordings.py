"""What is left of a recording whose process was killed with -9, by real muxers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder.storage.mp4_boxes import top_level_boxes, usable_length
from recorder.storage.resume import recording_duration
from tests.recorder.storage.killed import decode, killed_recording
from tests.recorder.storage.recording_process import record

SECONDS = 4.0
# Far less than a part, which is 5 MiB at least.
FIRST_BYTES = 4096
# A fragment is one second.
LOST_SECONDS = 2.0


def test_an_mp4_that_is_cut_after_its_last_fragment_plays_to_its_end(tmp_path: Path) -> None:
    directory, recorded = killed_recording(tmp_path, "mp4", None, lambda seconds: seconds > SECONDS)
    recording = directory.media / "call"
    # A fragment is written at once, so a process is rarely killed within one. This test cuts one.
    with recording.open("rb") as file:
        boxes = list(top_level_boxes(file))
        complete = usable_length(file)
    assert [box.kind for box in boxes[:6]] == [b"ftyp", b"free", b"free", b"moov", b"moof", b"mdat"]
    if boxes[-1].kind == b"moof":
        # The process was killed between the two boxes of a fragment.
        del boxes[-1]
    assert boxes[-1].kind == b"mdat"
    os.truncate(recording, boxes[-1].offset + 1000)
    with recording.open("rb") as file:
        length = usable_length(file)
    assert length == boxes[-3].end < complete
    os.truncate(recording, length)

    decoded = decode(recording)
    duration = recording_duration(recording)
    assert duration == pytest.approx(decoded.end, abs=0.03)
    # One fragment was cut off by this test, one second was not written by the muxer yet.
    assert recorded - LOST_SECONDS - 1 <= decoded.end <= recorded
    assert decoded.frames["video"] == pytest.approx(decoded.end * 30, abs=2)


@pytest.mark.parametrize("container", ["mp4", "ogg", "webm", "mp3", "mpegts"])
def test_a_muxer_changes_only_the_first_bytes_at_its_end(tmp_path: Path, container: str) -> None:
    """So the other parts can be uploaded while the recording grows."""
    recording = tmp_path / "call"
    before = b""

    def go_on(seconds: float) -> bool:
        nonlocal before
        if seconds < 2.5:
            return True
        before = recording.read_bytes()
        return False

    record(recording, container, go_on)
    after = recording.read_bytes()
    assert len(before) > FIRST_BYTES
    assert before[FIRST_BYTES:] == after[FIRST_BYTES : len(before)]
    if container == "mp4":
        with recording.open("rb") as file:
            assert usable_length(file) == len(after), "a recording that was finished is not cut"


@pytest.mark.parametrize("container", ["ogg", "webm", "mp3", "mpegts"])
def test_other_formats_play_to_their_end_without_being_cut(tmp_path: Path, container: str) -> None:
    directory, recorded = killed_recording(tmp_path, container, None, lambda seconds: seconds > SECONDS)
    recording = directory.media / "call"
    decoded = decode(recording)
    assert recording_duration(recording) == pytest.approx(decoded.end, abs=0.1)
    assert recorded - LOST_SECONDS <= decoded.end <= recorded
