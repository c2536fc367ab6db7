"""The object store that recordings are in, and requests to it that carry their own proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from token_api.settings import Settings


@dataclass(frozen=True)
class Store:
    """A store, and a key of the service's own. Path style: a store has one name.

    `endpoint`: as clients reach it; `inner_endpoint`: as the service itself does.
    """

    endpoint: str
    inner_endpoint: str
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
        settings.s3_inner_endpoint or settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_region,
        settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
    )


def signed_url(
    store: Store, method: str, key: str, *, endpoint: str, seconds: int, params: Mapping[str, str]
) -> str:
    """A URL by which whoever has it may do `method` with the object `key`, for so many seconds.

    `key` is of letters, digits, `/`, `-` and `.`: nothing in it is escaped.
    """
    request = AWSRequest(method=method, url=f"{endpoint}/{store.bucket}/{key}", params=dict(params))
    credentials = Credentials(store.access_key, store.secret_key)
    S3SigV4QueryAuth(credentials, "s3", store.region, expires=seconds).add_auth(request)
    return str(request.prepare().url)
