"""Objects of a bucket, by signed URLs: to a file, and away."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import aiohttp
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from loadtest.targets.bucket import Bucket
from loadtest.targets.http_session import http_session

_SECONDS = 120.0
_SIGNED_SECONDS = 300
_CHUNK_BYTES = 1 << 20


class StoreUnusable(Exception):
    """The store is not reached, or refuses. A sentence for people."""


async def fetch(bucket: Bucket, key: str, to: Path) -> None:
    """Write the object `key` to a file.

    Raises:
        StoreUnusable: it could not be.
    """
    try:
        async with (
            http_session(bucket.names, bucket.ca_certificate, timeout=_SECONDS) as session,
            session.get(_signed("GET", bucket, key)) as answer,
        ):
            if answer.status != 200:
                raise StoreUnusable(f"{_where(bucket, key)}: HTTP {answer.status}")
            with to.open("wb") as file:
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    file.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StoreUnusable(f"{_where(bucket, key)}: {error or type(error).__name__}") from error


async def delete(bucket: Bucket, keys: Iterable[str]) -> None:
    """Delete objects. One that does not exist is no error.

    Raises:
        StoreUnusable: one could not be deleted.
    """
    try:
        async with http_session(bucket.names, bucket.ca_certificate, timeout=_SECONDS) as session:
            for key in keys:
                async with session.delete(_signed("DELETE", bucket, key)) as answer:
                    if answer.status not in {200, 204, 404}:
                        raise StoreUnusable(f"deleting {_where(bucket, key)}: HTTP {answer.status}")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StoreUnusable(f"deleting from {bucket.endpoint}: {error or type(error).__name__}") from error


def _signed(method: Literal["GET", "DELETE"], bucket: Bucket, key: str) -> URL:
    known = Credentials(bucket.access_key.get_secret_value(), bucket.secret_key.get_secret_value())
    request = AWSRequest(method, f"{bucket.endpoint.rstrip('/')}/{bucket.name}/{quote(key)}")
    S3SigV4QueryAuth(known, "s3", bucket.region, expires=_SIGNED_SECONDS).add_auth(request)
    # What is signed must not be quoted again.
    return URL(str(request.url), encoded=True)


def _where(bucket: Bucket, key: str) -> str:
    """Without the signature, which is a secret for as long as it is valid."""
    return f"{bucket.endpoint}/{bucket.name}/{key}"
