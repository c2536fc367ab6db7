"""Addresses at which one object can be fetched for a short time. Made without asking the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from token_api.settings import Settings

# An address opens the object for whoever has it.
SECONDS = 300


@dataclass(frozen=True)
class Store:
    """The store as clients reach it, and a key that may read in it. Path style: a store has one name."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


def store_of(settings: Settings) -> Store | None:
    """The store of `settings`; None where there is none."""
    if (
        settings.s3_endpoint is None
        or settings.s3_bucket is None
        or settings.s3_access_key is None
        or settings.s3_secret_key is None
    ):
        return None
    return Store(
        settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_region,
        settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
    )


def address(store: Store, key: str, *, file_name: str) -> str:
    """A URL that gives the object `key` (letters, digits, `/`, `-`, `.`) to whoever has it, for SECONDS.

    Browsers save it under `file_name` (letters, digits, `-`, `.`) instead of playing it.
    """
    request = AWSRequest(
        method="GET",
        url=f"{store.endpoint}/{store.bucket}/{key}",
        params={
            "response-content-disposition": f'attachment; filename="{file_name}"',
            "response-content-type": "video/mp4",
        },
    )
    signer = S3SigV4QueryAuth(
        Credentials(store.access_key, store.secret_key), "s3", store.region, expires=SECONDS
    )
    signer.add_auth(request)
    return str(request.prepare().url)
