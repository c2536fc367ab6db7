"""Clients of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from object_store_setup.failures import CAUSE_OF_CODE, Cause

# boto3 makes its clients' methods at run time: there is no type to name.
S3Client: TypeAlias = Any

_CONNECT_SECONDS = 5
_READ_SECONDS = 20


@dataclass(frozen=True)
class Key:
    """An access key. Its secret is not shown."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Store:
    """Which store, and which bucket in it."""

    endpoint: str
    region: str
    bucket: str
    path_style: bool


def client(store: Store, key: Key | None, *, signed: bool = True) -> S3Client:
    """A client with `key`; without one the library looks for it (environment, workload identity).

    Each request is made once: who waits, and how long, is not the library's to decide.
    """
    # A session of its own: the default one is shared, and keeps what it found first.
    made = boto3.session.Session().client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=key.id if key else None,
        aws_secret_access_key=key.secret if key else None,
        config=Config(
            signature_version="s3v4" if signed else UNSIGNED,
            s3={"addressing_style": "path" if store.path_style else "virtual"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": 1},
            # Many compatible stores refuse the checksums that newer libraries add by themselves.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    made.meta.events.register("response-received.s3", _stop_at_wrong_region)
    return made


def _stop_at_wrong_region(parsed_response: dict[str, Any] | None, **_event: object) -> None:
    """This library would find the region out by itself; those that use the store later would not."""
    code = (parsed_response or {}).get("Error", {}).get("Code")
    if code is not None and CAUSE_OF_CODE.get(code) is Cause.WRONG_REGION:
        raise ClientError(parsed_response, "any request")


def set_bucket_owner(admin_endpoint: str, store: Store, root: Key, owner: str) -> None:
    """Hand the bucket to the account `owner`: versitygw's own request, which no S3 library knows.

    Raises:
        ClientError: the gateway refused.
        HTTPClientError: nothing answered.
    """
    url = f"{admin_endpoint}/change-bucket-owner/?bucket={store.bucket}&owner={owner}"
    request = AWSRequest(method="PATCH", url=url, data=b"")
    S3SigV4Auth(Credentials(root.id, root.secret), "s3", store.region).add_auth(request)
    answer = URLLib3Session(timeout=(_CONNECT_SECONDS, _READ_SECONDS)).send(request.prepare())
    if answer.status_code >= 300:
        raise ClientError(
            {
                "Error": {"Code": str(answer.status_code), "Message": answer.text[:200]},
                "ResponseMetadata": {"HTTPStatusCode": answer.status_code},
            },
            "ChangeBucketOwner",
        )
