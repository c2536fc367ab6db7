"""Buckets that requests name themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.errors import Code, EgressError
from tests.unit.recorder.egress_requests import WITH_REQUEST_STORAGE, file_output, plan, room, unified

S3 = proto.S3Upload(bucket="other", access_key="a", secret="b")


@pytest.mark.parametrize(
    ("message", "bucket"),
    [
        (room(file_outputs=[proto.EncodedFileOutput(s3=S3)]), "other"),
        (unified(file_output(storage=proto.StorageConfig(s3=S3))), "other"),
        (unified(storage=proto.StorageConfig(s3=S3)), "other"),
        # An output's own storage replaces the request's, also if it names no bucket.
        (
            unified(file_output(storage=proto.StorageConfig()), storage=proto.StorageConfig(s3=S3)),
            "recordings",
        ),
        (room(), "recordings"),
    ],
)
def test_a_request_may_name_its_bucket_where_the_operator_allows_it(message: Any, bucket: str) -> None:
    [output] = plan(message, WITH_REQUEST_STORAGE).outputs
    assert output.target is not None
    assert output.target.bucket == bucket
    # What a request cannot say comes from the configuration.
    assert (output.target.prefix, output.target.max_retries) == ("calls", 9)
    if bucket == "other":
        with pytest.raises(EgressError, match=r"^storage in a request is disabled") as refused:
            plan(message)
        assert refused.value.code is Code.PERMISSION_DENIED


def test_all_that_a_request_says_of_its_bucket_is_kept() -> None:
    s3 = proto.S3Upload(
        bucket="other",
        access_key="a",
        secret="hidden",
        session_token="hidden too",
        region="eu",
        endpoint="https://s3",
        force_path_style=True,
        metadata={"k": "v"},
        tagging="a=b",
        content_disposition="inline",
    )
    made = plan(room(file_outputs=[proto.EncodedFileOutput(s3=s3)]), WITH_REQUEST_STORAGE)
    target = made.outputs[0].target
    assert target is not None
    for field in ("bucket", "access_key", "secret", "session_token", "region", "endpoint", "tagging"):
        assert getattr(target, field) == getattr(s3, field)
    assert (target.force_path_style, target.metadata, target.content_disposition) == (
        True,
        {"k": "v"},
        "inline",
    )
    assert "hidden" not in repr(made)


@pytest.mark.parametrize(
    ("s3", "text"),
    [
        (proto.S3Upload(access_key="a", secret="b"), "s3.bucket is ''"),
        (proto.S3Upload(bucket="b"), "s3.access_key is ''"),
        (proto.S3Upload(bucket="b", access_key="a"), "s3.secret is ''"),
        (proto.S3Upload(bucket="b", assume_role_arn="arn"), "S3 upload using AssumeRole is disabled"),
        (proto.S3Upload(bucket="b", assume_role_external_id="x"), "S3 upload using AssumeRole is disabled"),
        (
            proto.S3Upload(bucket="b", access_key="a", secret="b", proxy=proto.ProxyConfig(url="http://p")),
            "s3.proxy is not yet supported",
        ),
    ],
)
def test_a_bucket_that_cannot_be_used_is_refused(s3: proto.S3Upload, text: str) -> None:
    with pytest.raises(EgressError, match=re.escape(text)):
        plan(room(file_outputs=[proto.EncodedFileOutput(s3=s3)]), WITH_REQUEST_STORAGE)


@pytest.mark.parametrize(
    "storage",
    [
        proto.StorageConfig(gcp=proto.GCPUpload(bucket="b")),
        proto.StorageConfig(azure=proto.AzureBlobUpload(container_name="c")),
        proto.StorageConfig(aliOSS=proto.AliOSSUpload(bucket="b")),
    ],
)
def test_other_stores_than_s3_are_refused(storage: proto.StorageConfig) -> None:
    with pytest.raises(EgressError, match=r" storage is not yet supported$"):
        plan(unified(storage=storage), WITH_REQUEST_STORAGE)
