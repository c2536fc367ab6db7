"""Names of objects, in livekit/egress' form."""

from __future__ import annotations

import dataclasses

import pytest

from recorder.storage import names
from recorder.storage.target import S3Target

TARGET = S3Target("mybucket")


# Most of these are of livekit/storage (`location_test.go`).
@pytest.mark.parametrize(
    ("path_style", "endpoint", "prefix", "path", "location"),
    [
        (False, "", "", "foo.mp4", "https://mybucket.s3.amazonaws.com/foo.mp4"),
        (False, "https://s3.example.com", "", "foo.mp4", "https://mybucket.s3.example.com/foo.mp4"),
        (False, "http://s3.example.com", "", "foo.mp4", "https://mybucket.s3.example.com/foo.mp4"),
        (False, "s3.example.com", "", "foo.mp4", "https://mybucket.s3.example.com/foo.mp4"),
        (False, "", "", "a/b/c.mp4", "https://mybucket.s3.amazonaws.com/a/b/c.mp4"),
        (False, "", "", "/foo.mp4", "https://mybucket.s3.amazonaws.com/foo.mp4"),
        (False, "", "", "folder/my file.mp4", "https://mybucket.s3.amazonaws.com/folder/my%20file.mp4"),
        (False, "", "", "café/x.mp4", "https://mybucket.s3.amazonaws.com/caf%C3%A9/x.mp4"),
        (True, "", "", "foo.mp4", "https://s3.amazonaws.com/mybucket/foo.mp4"),
        (True, "https://minio.example.com", "", "foo.mp4", "https://minio.example.com/mybucket/foo.mp4"),
        (True, "", "", "/foo.mp4", "https://s3.amazonaws.com/mybucket/foo.mp4"),
        (
            True,
            "http://127.0.0.1:7070",
            "calls",
            "a:1,2.mp4",
            "https://127.0.0.1:7070/mybucket/calls/a:1,2.mp4",
        ),
        (True, "http://127.0.0.1:7070/", "", "a.mp4", "https://127.0.0.1:7070/mybucket/a.mp4"),
        (False, "", "calls/", "x(1).mp4", "https://mybucket.s3.amazonaws.com/calls/x%281%29.mp4"),
    ],
)
def test_a_location_has_livekits_form(
    path_style: bool, endpoint: str, prefix: str, path: str, location: str
) -> None:
    target = dataclasses.replace(TARGET, force_path_style=path_style, endpoint=endpoint, prefix=prefix)
    assert names.location(target, path) == location


@pytest.mark.parametrize(
    ("prefix", "path", "key"),
    [
        ("", "a.mp4", "a.mp4"),
        ("calls", "a.mp4", "calls/a.mp4"),
        ("calls/", "/b//a.mp4", "calls/b/a.mp4"),
        ("", "//a.mp4", "/a.mp4"),
        ("/calls", "a.mp4", "/calls/a.mp4"),
    ],
)
def test_a_key_is_joined_as_go_joins_paths(prefix: str, path: str, key: str) -> None:
    assert names.object_key(dataclasses.replace(TARGET, prefix=prefix), path) == key
