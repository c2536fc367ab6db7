"""Objects whose content is replaced, looked at after each request that changes the bucket."""

from __future__ import annotations

from collections.abc import Callable

from common.waiting import wait_until
from recorder.storage.destination import UploadObserver
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import StoredObject
from tests.recorder.storage.conftest import Store, uploading
from tests.support.speed import scaled

SEGMENTS = 20


class AtEachState(UploadObserver):
    """Calls a function between two requests. The queue goes on when it returns."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def stored(self, stored: StoredObject, seconds: float) -> None:  # noqa: ARG002
        self._look()


def test_a_playlist_never_names_a_segment_that_is_not_in_the_bucket(
    store: Store, directory: EgressDirectory
) -> None:
    seen: list[int] = []

    def look() -> None:
        keys = store.keys()
        if "list.m3u8" in keys:
            named = store.content("list.m3u8").decode().split()
            assert set(named) <= set(keys)
            seen.append(len(named))

    with uploading(directory, store.target(), observer=AtEachState(look)) as queue:
        for number in range(1, SEGMENTS + 1):
            name = f"{number}.ts"
            (directory.media / name).write_bytes(name.encode() * 10_000)
            queue.add_file(name, name, ContentType.MPEG_TS)
            content = "\n".join(f"{one}.ts" for one in range(1, number + 1))
            queue.replace("list.m3u8", content.encode(), ContentType.PLAYLIST, after=[name])
        assert queue.drain(scaled(30))
    assert seen == sorted(seen)
    assert seen[0] == 1, "the first playlist does not wait for the segments of later ones"
    assert seen[-1] == SEGMENTS
    assert store.root.head_object(Bucket=store.bucket, Key="list.m3u8")["ContentType"] == (
        "application/x-mpegurl"
    )


def test_a_playlist_that_is_skipped_hands_on_what_it_waits_for(
    store: Store, directory: EgressDirectory
) -> None:
    """The segments are added in another order than the playlists name them."""
    missing: list[set[str]] = []

    def look() -> None:
        keys = set(store.keys())
        if "list.m3u8" in keys:
            missing.append(set(store.content("list.m3u8").decode().split()) - keys)

    for name in ("1.ts", "2.ts", "3.ts"):
        (directory.media / name).write_bytes(b"segment")
    with uploading(directory, store.target(), observer=AtEachState(look)) as queue:
        # Nothing is uploaded until the last line: the first segment is missing.
        store.stop()
        for name in ("1.ts", "3.ts", "2.ts"):
            queue.add_file(name, name, ContentType.MPEG_TS)
        queue.replace("list.m3u8", b"1.ts", ContentType.PLAYLIST, after=["1.ts"])
        queue.replace("list.m3u8", b"1.ts 2.ts", ContentType.PLAYLIST, after=["2.ts"])
        queue.replace("list.m3u8", b"1.ts 2.ts 3.ts", ContentType.PLAYLIST, after=["3.ts"])
        store.start()
        assert queue.drain(scaled(30))
    assert missing
    assert not any(missing)
    assert store.content("list.m3u8") == b"1.ts 2.ts 3.ts"


def test_an_older_image_never_follows_a_newer_one_and_late_ones_are_skipped(
    store: Store, directory: EgressDirectory
) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(int(store.content("thumbnail.jpeg")))

    images = 40
    with uploading(directory, store.target(), observer=AtEachState(look)) as queue:
        for number in range(1, images + 1):
            queue.replace("thumbnail.jpeg", str(number).encode(), ContentType.JPEG)
        assert queue.drain(scaled(30))
        assert queue.content("thumbnail.jpeg") == str(images).encode()
    assert seen == sorted(set(seen))
    assert seen[-1] == images
    assert len(seen) < images, "one request per image would fall behind a slow store"
    wait_until(
        lambda: len(list(directory.contents("file").iterdir())) == 1,
        timeout=scaled(5),
        describe="old contents to be deleted",
    )


def test_the_content_that_is_next_is_known_before_it_is_stored(
    store: Store, directory: EgressDirectory
) -> None:
    with uploading(directory, store.target()) as queue:
        assert queue.content("list.m3u8") is None
        store.stop()
        queue.replace("list.m3u8", b"first", ContentType.PLAYLIST)
        assert queue.content("list.m3u8") == b"first"
        queue.replace("list.m3u8", b"second", ContentType.PLAYLIST)
        assert queue.content("list.m3u8") == b"second"
        store.start()
        assert queue.drain(scaled(20))
        assert queue.content("list.m3u8") == b"second"
    assert store.content("list.m3u8") == b"second"
