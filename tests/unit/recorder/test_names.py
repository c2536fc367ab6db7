"""Names of files and objects."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import Code, EgressError
from recorder.requests.encoding import Container
from recorder.requests.names import Naming, SegmentNames, clean, file_key, image_names, segment_names
from tests.unit.recorder.egress_requests import NOW, ROOM, STAMP

PLAIN = Naming(ROOM, {"room_name": ROOM, "room_id": "RM_1"}, NOW)
SECOND_ATTEMPT = Naming(ROOM, {"room_name": ROOM}, NOW, retry=1)
# Everything that could lead out of a directory, and what templates are made of.
PARTS = st.sampled_from(["..", ".", "/", "a", "b.c", "{room_name}", "{x}", "é", ""])
PATHS = st.lists(PARTS, max_size=8).map("".join)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("x.mp4", "x.mp4"),
        ("x", "x.mp4"),
        ("x.ogg", "x.mp4"),
        ("v1.2", "v1.2.mp4"),
        ("a/{room_name}/{room_id}.mp4", "a/daily/RM_1.mp4"),
        ("{time}", f"{STAMP}.mp4"),
        ("{utc}", "20261130150405678.mp4"),
        ("{track_id}-{nothing}", "{track_id}-{nothing}.mp4"),
        ("{retry}", "{retry}.mp4"),
        ("", f"daily-{STAMP}.mp4"),
        ("a/", f"a/daily-{STAMP}.mp4"),
        ("./a//b/../x.mp4", "a/x.mp4"),
        ("/x.mp4", "x.mp4"),
        ("../../x.mp4", "x.mp4"),
    ],
)
def test_a_file_is_named_as_its_template_says(path: str, key: str) -> None:
    assert file_key(path, Container.MP4, PLAIN) == key


@pytest.mark.parametrize(
    ("container", "key"),
    [(Container.OGG, "x.ogg"), (Container.MP3, "x.mp3"), (Container.MP4, "x.mp4")],
)
def test_the_extension_is_that_of_the_container(container: Container, key: str) -> None:
    assert file_key("x.webm", container, PLAIN) == key


@pytest.mark.parametrize(
    ("room", "key", "generated"),
    [
        ("team/daily", "a/team/daily.mp4", f"team/daily-{STAMP}.mp4"),
        ("../../b", "a/__/__/b.mp4", f"__/__/b-{STAMP}.mp4"),
        ("..", "a/__.mp4", f"__-{STAMP}.mp4"),
        ("/", f"a/-{STAMP}.mp4", f"-{STAMP}.mp4"),
        ("{utc}", "a/{utc}.mp4", f"{{utc}}-{STAMP}.mp4"),
    ],
)
def test_a_rooms_name_never_leads_out_of_the_directory(room: str, key: str, generated: str) -> None:
    naming = Naming(room, {"room_name": room}, NOW)
    assert file_key("a/{room_name}", Container.MP4, naming) == key
    assert file_key("", Container.MP4, naming) == generated


@given(path=PATHS, room=PATHS)
def test_keys_are_normal_paths_below_the_root(path: str, room: str) -> None:
    naming = Naming(room, {"room_name": room}, NOW)
    segments = segment_names(path, "", "", naming)
    images = image_names(path, naming)
    for key in (
        file_key(path, Container.MP4, naming),
        f"{segments.directory}{segments.playlist}",
        f"{segments.directory}{segments.prefix}",
        f"{images.directory}{images.prefix}",
    ):
        assert key == posixpath.normpath(key)
        assert not key.startswith(("/", "../"))
        assert key not in {"", ".", ".."}


@given(PATHS)
def test_cleaning_twice_changes_nothing(path: str) -> None:
    assert clean(clean(path)) == clean(path)


# From livekit/egress' own test (`pkg/config/config_test.go`).
@pytest.mark.parametrize(
    ("prefix", "playlist", "live", "names"),
    [
        ("", "playlist", "", SegmentNames("", "playlist.m3u8", None, "playlist")),
        (
            "",
            "dir/playlist",
            "dir/live_playlist",
            SegmentNames("dir/", "playlist.m3u8", "live_playlist.m3u8", "playlist"),
        ),
        (
            "filename",
            "",
            "live_playlist2.m3u8",
            SegmentNames("", "filename.m3u8", "live_playlist2.m3u8", "filename"),
        ),
        ("filename", "playlist", "", SegmentNames("", "playlist.m3u8", None, "filename")),
        ("filename", "dir/", "", SegmentNames("dir/", "filename.m3u8", None, "filename")),
        ("filename", "dir/playlist", "", SegmentNames("dir/", "playlist.m3u8", None, "filename")),
        ("dir/", "playlist", "", SegmentNames("dir/", "playlist.m3u8", None, "playlist")),
        ("dir/filename", "playlist", "", SegmentNames("dir/", "playlist.m3u8", None, "filename")),
        ("dir/filename", "dir/playlist", "", SegmentNames("dir/", "playlist.m3u8", None, "filename")),
        (
            "dir_2/filename",
            "dir/playlist",
            "",
            SegmentNames("dir/", "playlist.m3u8", None, "dir_2/filename"),
        ),
        ("", "", "", SegmentNames("", f"daily-{STAMP}.m3u8", None, f"daily-{STAMP}")),
        (
            "",
            "{room_name}.{utc}",
            "",
            SegmentNames("", "daily.20261130150405678.m3u8", None, "daily.20261130150405678"),
        ),
    ],
)
def test_segments_lie_beside_their_playlist(
    prefix: str, playlist: str, live: str, names: SegmentNames
) -> None:
    assert segment_names(prefix, playlist, live, PLAIN) == names


@pytest.mark.parametrize(
    ("playlist", "live", "allowed"),
    [
        ("a/index", "b/live", "a name in a/"),
        ("index", "b/live", "a name without a directory"),
        ("index", "index.m3u8", "another name than playlist_name"),
    ],
)
def test_the_live_playlist_lies_beside_the_other_one(playlist: str, live: str, allowed: str) -> None:
    with pytest.raises(EgressError, match=f"live_playlist_name is '{live}', allowed is {allowed}"):
        segment_names("", playlist, live, PLAIN)


@pytest.mark.parametrize(
    ("prefix", "directory", "name"),
    [
        ("thumbs/{room_name}", "thumbs/", "daily"),
        ("thumbs/", "thumbs/", f"daily-{STAMP}"),
        ("", "", f"daily-{STAMP}"),
    ],
)
def test_images_are_named_by_their_prefix(prefix: str, directory: str, name: str) -> None:
    names = image_names(prefix, PLAIN)
    assert (names.directory, names.prefix) == (directory, name)


# As livekit/egress decides it (`pkg/config/retry_test.go`).
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", f"daily-{STAMP}-1.mp4"),
        ("a/", f"a/daily-{STAMP}-1.mp4"),
        ("a/x-{retry}.mp4", "a/x-1.mp4"),
        ("{retry}/x.mp4", "1/x.mp4"),
        ("a/x.mp4", None),
    ],
)
def test_a_second_attempt_overwrites_no_file(path: str, key: str | None) -> None:
    if key is not None:
        assert file_key(path, Container.MP4, SECOND_ATTEMPT) == key
    else:
        with pytest.raises(EgressError, match="output configuration does not support retry") as refused:
            file_key(path, Container.MP4, SECOND_ATTEMPT)
        assert refused.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("prefix", "playlist", "allowed"),
    [
        ("", "", True),
        ("x-{retry}", "index", True),
        ("", "index-{retry}", True),
        ("x", "index-{retry}", False),
        ("x", "", False),
        ("x/", "index-{retry}", False),
        ("", "index", False),
    ],
)
def test_a_second_attempt_overwrites_no_segment(prefix: str, playlist: str, allowed: bool) -> None:
    if allowed:
        assert "1" in segment_names(prefix, playlist, "", SECOND_ATTEMPT).prefix
    else:
        with pytest.raises(EgressError, match="does not support retry"):
            segment_names(prefix, playlist, "", SECOND_ATTEMPT)


@pytest.mark.parametrize(
    "name_it",
    [
        lambda path: file_key(path, Container.MP4, PLAIN),
        lambda path: segment_names(path, "", "", PLAIN),
        lambda path: image_names(path, PLAIN),
    ],
)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("é" * 120, "at most 232 bytes between two slashes"),
        ("/".join(["a" * 200] * 6), "at most 1024 bytes"),
        ("a\nb", "no control characters"),
    ],
)
def test_names_that_a_store_cannot_take_are_refused(
    name_it: Callable[[str], object], path: str, allowed: str
) -> None:
    with pytest.raises(EgressError, match=f"allowed is {allowed}") as refused:
        name_it(path)
    assert refused.value.code is Code.INVALID_ARGUMENT
