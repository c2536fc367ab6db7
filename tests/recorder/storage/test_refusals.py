"""Stores that refuse: a clear failure at once, and nothing is left in them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from recorder.errors import Code, EgressError
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import ContentType
from tests.recorder.storage.conftest import (
    MIB,
    Events,
    Store,
    append,
    noise,
    uploading,
    without_right,
)
from tests.support.speed import scaled

# With it, a request that is repeated is not repeated before the test's time is up.
NO_RETRIES: dict[str, Any] = {"min_retry_delay": 3600.0, "max_retry_delay": 3600.0}


@pytest.mark.parametrize("size", [1, 11 * MIB], ids=["one request", "parts"])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret": "somebody-mistyped-this"}, "SignatureDoesNotMatch"),
        ({"access_key": "unknown"}, "InvalidAccessKeyId"),
        ({"bucket": "nowhere"}, "NoSuchBucket"),
        ({"account": "token-api"}, "AccessDenied"),
    ],
)
def test_a_refusal_ends_the_upload_at_once_with_the_stores_own_code(
    store: Store, directory: EgressDirectory, changes: dict[str, Any], code: str, size: int
) -> None:
    append(directory.media / "local.mp4", noise(size))
    events = Events()
    with uploading(directory, store.target(**changes, **NO_RETRIES), observer=events) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        # A large recording may have failed already.
        with contextlib.suppress(EgressError):
            queue.seal("call.mp4")
        with pytest.raises(EgressError, match=f"^S3 upload failed: {code}: .") as failed:
            queue.drain(scaled(20))
    assert failed.value.code is Code.INVALID_ARGUMENT
    assert "mistyped" not in str(failed.value)
    assert events.errors == [failed.value]
    assert store.keys() == []
    assert store.uploads() == {}
    assert (directory.media / "local.mp4").stat().st_size == size


def test_an_upload_that_is_refused_half_way_is_aborted(store: Store, directory: EgressDirectory) -> None:
    recording = directory.media / "local.mp4"
    append(recording, noise(11 * MIB))
    with uploading(directory, store.target(**NO_RETRIES)) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        store.wait_for_parts("call.mp4", [2])
        store.set_policy(without_right("egress", "s3:PutObject"))
        append(recording, noise(5 * MIB))
        with pytest.raises(EgressError, match="AccessDenied"):
            queue.drain(scaled(20))
    assert store.uploads() == {}


def test_a_store_that_lost_the_upload_gets_another_one(store: Store, directory: EgressDirectory) -> None:
    """Somebody, or a rule of the bucket, aborted it."""
    recording = directory.media / "local.mp4"
    append(recording, noise(11 * MIB))
    with uploading(directory, store.target()) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        store.wait_for_parts("call.mp4", [2])
        store.root.abort_multipart_upload(
            Bucket=store.bucket, Key="call.mp4", UploadId=store.uploads()["call.mp4"]
        )
        append(recording, noise(5 * MIB))
        queue.seal("call.mp4")
        assert queue.drain(scaled(20))
    assert store.content("call.mp4") == recording.read_bytes()
    assert store.uploads() == {}
