"""Where an output goes: the request's own bucket if that is allowed, else the configured one."""

from __future__ import annotations

from typing import TypeAlias

from livekit.protocol import egress as proto

from recorder.errors import Code, EgressError, not_supported
from recorder.requests.fields import required
from recorder.settings import Settings
from recorder.storage.target import S3Target

# Messages that may name a bucket: outputs of the first API, and the unified API's `storage`.
StorageMessage: TypeAlias = (
    proto.EncodedFileOutput
    | proto.DirectFileOutput
    | proto.SegmentedFileOutput
    | proto.ImageOutput
    | proto.StorageConfig
)

_PROVIDERS = ("s3", "gcp", "azure", "aliOSS")


def target_of(given: StorageMessage | None, settings: Settings) -> S3Target:
    """The bucket that `given` names, else the configured one. Raises EgressError."""
    provider = next((name for name in _PROVIDERS if given is not None and given.HasField(name)), None)
    if given is None or provider is None:
        return settings.storage.target
    if not settings.recorder.allow_request_storage:
        raise _disabled("storage in a request")
    if provider != "s3":
        raise not_supported(f"{provider} storage")
    return _of_request(given.s3, settings)


def redact_s3(s3: proto.S3Upload) -> None:
    """Replace credentials, in place, by the words that livekit/egress uses."""
    for name, word in (
        ("access_key", "{access_key}"),
        ("secret", "{secret}"),
        ("assume_role_external_id", "{external_id}"),
        ("session_token", "{session_token}"),
    ):
        if getattr(s3, name):
            setattr(s3, name, word)


def _of_request(s3: proto.S3Upload, settings: Settings) -> S3Target:
    if s3.assume_role_arn or s3.assume_role_external_id:
        raise _disabled("S3 upload using AssumeRole")
    if s3.HasField("proxy"):
        raise not_supported("s3.proxy")
    required("s3.bucket", s3.bucket, "a bucket's name")
    # Without these, a caller could write into any bucket that the worker's own identity may write to.
    required("s3.access_key", s3.access_key, "an access key for the request's own bucket")
    required("s3.secret", s3.secret, "the access key's secret")
    configured = settings.storage.s3
    return S3Target(
        bucket=s3.bucket,
        region=s3.region,
        endpoint=s3.endpoint,
        access_key=s3.access_key,
        secret=s3.secret,
        session_token=s3.session_token,
        force_path_style=s3.force_path_style,
        max_retries=configured.max_retries,
        min_retry_delay=configured.min_retry_delay,
        max_retry_delay=configured.max_retry_delay,
        metadata=dict(s3.metadata),
        tagging=s3.tagging,
        content_disposition=s3.content_disposition,
        prefix=settings.storage.prefix,
    )


def _disabled(feature: str) -> EgressError:
    """The error of livekit/egress for what the operator has not allowed."""
    return EgressError(Code.PERMISSION_DENIED, f"{feature} is disabled for this account")
