"""What the service itself asks of the object store; its errors become problems of ours."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

import httpx
import structlog

from token_api.problems import Kind, ProblemError
from token_api.storage.store import Store, signed_url

# The whole of one request. A person waits behind it.
TIMEOUT_SECONDS = 10.0
_RETRY_AFTER = {"Retry-After": "5"}
# S3 names its errors in XML; of what comes instead of it from a proxy, nothing is told.
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")

log = structlog.get_logger()


async def delete(store: Store, key: str) -> None:
    """Delete the object `key`; one that is not there is deleted already.

    In a bucket that keeps versions, the store keeps the last one as its rules say.

    Raises:
        ProblemError: STORAGE_UNAVAILABLE (503), STORAGE_ERROR (502) where the store refuses.
    """
    url = signed_url(
        store, "DELETE", key, endpoint=store.inner_endpoint, seconds=int(TIMEOUT_SECONDS) * 2, params={}
    )
    try:
        # A client for each: it is asked for seldom. No proxy of the environment is to see the URL.
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            httpx.AsyncClient(verify=httpx.create_ssl_context(), trust_env=False, timeout=None) as client,  # noqa: S113
        ):
            answer = await client.delete(url)
    except (httpx.TransportError, TimeoutError) as error:
        log.warning("store_unreachable", error=type(error).__name__)
        raise _unavailable() from error
    if answer.is_success:
        return
    found = _CODE.search(answer.content)
    code = found[1].decode() if found else HTTPStatus(answer.status_code).phrase
    if code == "NoSuchKey":
        return
    log.warning("store_refused", status=answer.status_code, code=code)
    if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise _unavailable()
    raise ProblemError(Kind.STORAGE_ERROR, f"The object store refused DeleteObject ({code}).")


def _unavailable() -> ProblemError:
    return ProblemError(
        Kind.STORAGE_UNAVAILABLE,
        "The object store does not answer; nothing is lost by trying again.",
        _RETRY_AFTER,
    )
