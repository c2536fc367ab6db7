"""Which request comes next."""

from __future__ import annotations

from collections.abc import Set

from recorder.storage.next_upload import (
    Abort,
    Action,
    Begin,
    CheckParts,
    Complete,
    PutContent,
    PutFile,
    PutPart,
    next_action,
)
from recorder.storage.parts import SMALLEST, Part, part
from recorder.storage.upload_events import (
    Added,
    Begun,
    ContentType,
    Event,
    Lost,
    PartStored,
    Replaced,
    Sealed,
    Stored,
    Switched,
)
from recorder.storage.upload_state import StoredPart, UploadState

RECORDING = Added("call.mp4", "local.mp4", ContentType.MP4, None)
BEGUN = Begun("call.mp4", "upload-1", backup=False)


def after(
    *events: Event,
    size: int = 0,
    unchecked: Set[str] = frozenset(),
    unreachable: Set[str] = frozenset(),
) -> Action | None:
    """What comes after these events. A recording that grows has `size` bytes."""
    state = UploadState()
    for event in events:
        state.apply(event)
    return next_action(state, {"call.mp4": size}, unchecked=unchecked, unreachable=unreachable)


def segment(number: int) -> Added:
    return Added(f"{number}.ts", f"local-{number}.ts", ContentType.MPEG_TS, 1000)


def playlist(version: int, *waits_for: int) -> Replaced:
    waits = tuple(f"{number}.ts" for number in waits_for)
    return Replaced("list.m3u8", f"content-{version}", ContentType.PLAYLIST, waits)


def put_segment(number: int) -> PutFile:
    return PutFile(f"{number}.ts", f"local-{number}.ts", ContentType.MPEG_TS, 1000)


def put_playlist(version: int) -> PutContent:
    return PutContent("list.m3u8", f"content-{version}", ContentType.PLAYLIST)


def stored_part(number: int, size: int | None = None, upload: str = "upload-1") -> PartStored:
    return PartStored(upload, number, size or part(number).size, f"etag-{number}")


def put_part(wanted: Part) -> PutPart:
    return PutPart("call.mp4", "upload-1", "local.mp4", wanted)


def test_nothing_comes_after_nothing() -> None:
    assert after() is None


def test_a_recording_that_grows_is_begun_when_its_second_part_is_complete() -> None:
    assert after(RECORDING, size=2 * SMALLEST - 1) is None
    assert after(RECORDING, size=2 * SMALLEST) == Begin("call.mp4", ContentType.MP4)


def test_the_first_part_is_held_back_while_the_recording_grows() -> None:
    assert after(RECORDING, BEGUN, size=2 * SMALLEST) == put_part(part(2))
    assert after(RECORDING, BEGUN, stored_part(2), size=3 * SMALLEST - 1) is None
    assert after(RECORDING, BEGUN, stored_part(2), size=3 * SMALLEST) == put_part(part(3))


def test_a_complete_recording_gets_its_last_part_then_its_first_one_and_is_completed() -> None:
    rest = Part(3, 2 * SMALLEST, 7)
    events: list[Event] = [RECORDING, BEGUN, stored_part(2), Sealed("call.mp4", 2 * SMALLEST + 7)]
    assert after(*events) == put_part(rest)
    events.append(stored_part(3, 7))
    assert after(*events) == put_part(part(1))
    events.append(stored_part(1))
    etags = {1: "etag-1", 2: "etag-2", 3: "etag-3"}
    assert after(*events) == Complete("call.mp4", "upload-1", etags, 2 * SMALLEST + 7)


def test_a_recording_of_less_than_two_parts_is_one_object_at_once() -> None:
    size = 2 * SMALLEST - 1
    sealed = Sealed("call.mp4", size)
    assert after(RECORDING, sealed) == PutFile("call.mp4", "local.mp4", ContentType.MP4, size)


def test_parts_that_were_cut_off_are_not_in_the_object_and_a_shorter_one_is_uploaded_again() -> None:
    """The process was killed, and the recording was cut within part 3."""
    events: list[Event] = [RECORDING, BEGUN, *(stored_part(number) for number in (2, 3, 4))]
    events.append(Sealed("call.mp4", 2 * SMALLEST + 7))
    assert after(*events) == put_part(Part(3, 2 * SMALLEST, 7))
    events += [stored_part(3, 7), stored_part(1)]
    action = after(*events)
    assert isinstance(action, Complete)
    assert list(action.etags) == [1, 2, 3]


def test_an_upload_of_another_process_is_checked_before_it_is_continued() -> None:
    events: list[Event] = [RECORDING, BEGUN, stored_part(2), Sealed("call.mp4", 3 * SMALLEST)]
    known = {2: StoredPart(SMALLEST, "etag-2")}
    checked = CheckParts("call.mp4", "upload-1", "local.mp4", 3 * SMALLEST, known)
    assert after(*events, unchecked={"upload-1"}) == checked


def test_files_are_uploaded_in_their_order() -> None:
    events: list[Event] = [segment(1), segment(2), segment(3)]
    assert after(*events) == put_segment(1)
    assert after(*events, Stored("1.ts", 1000, backup=False)) == put_segment(2)


def test_a_playlist_waits_for_its_segments_and_then_comes_first() -> None:
    events: list[Event] = [segment(1), playlist(1, 1), segment(2)]
    assert after(*events) == put_segment(1)
    assert after(*events, Stored("1.ts", 1000, backup=False)) == put_playlist(1)


def test_a_playlist_that_waits_is_not_replaced_by_one_that_would_wait_longer() -> None:
    events: list[Event] = [
        segment(1),
        playlist(1, 1),
        segment(2),
        playlist(2, 2),
        segment(3),
        playlist(3, 2, 3),
    ]
    events.append(Stored("1.ts", 1000, backup=False))
    assert after(*events) == put_playlist(1)
    events.append(Stored("list.m3u8", 50, backup=False))
    assert after(*events) == put_segment(2)
    events.append(Stored("2.ts", 1000, backup=False))
    assert after(*events) == put_segment(3), "the second playlist was skipped"
    events.append(Stored("3.ts", 1000, backup=False))
    assert after(*events) == put_playlist(3)


def test_a_playlist_does_not_wait_for_a_segment_that_is_lost() -> None:
    assert after(segment(1), playlist(1, 1), Lost("1.ts", "missing")) == put_playlist(1)


def test_only_the_newest_content_follows_the_one_that_is_next() -> None:
    events: list[Event] = [playlist(1), playlist(2), playlist(3)]
    assert after(*events) == put_playlist(1)
    events.append(Stored("list.m3u8", 50, backup=False))
    assert after(*events) == put_playlist(3)
    events.append(Stored("list.m3u8", 50, backup=False))
    assert after(*events) is None


def test_the_backup_gets_an_upload_of_its_own_and_the_first_one_is_aborted_at_last() -> None:
    events: list[Event] = [RECORDING, BEGUN, stored_part(2), Switched("away")]
    assert after(*events, size=3 * SMALLEST) == Begin("call.mp4", ContentType.MP4)
    events += [Begun("call.mp4", "upload-2", backup=True), stored_part(2, upload="upload-2")]
    abort = Abort("call.mp4", "upload-1", backup=False)
    assert after(*events, size=2 * SMALLEST) == abort
    assert after(*events, size=2 * SMALLEST, unreachable={"upload-1"}) is None


def test_an_upload_that_was_completed_by_a_killed_process_is_only_tidied_up() -> None:
    """The process was killed between the two events that follow the completion."""
    events: list[Event] = [
        RECORDING,
        BEGUN,
        Sealed("call.mp4", 3 * SMALLEST),
        Stored("call.mp4", 3 * SMALLEST, backup=False),
    ]
    assert after(*events, unchecked={"upload-1"}) == Abort("call.mp4", "upload-1", backup=False)
