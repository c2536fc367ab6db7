"""Rate limits at the door: who called too often is refused before anything is read or asked."""

from __future__ import annotations

from fastapi import Request

from token_api.callers import Caller, UserCaller
from token_api.client_address import client_of
from token_api.problems import Kind, ProblemError
from token_api.rate_limits import ADDRESS_QUOTAS, USER_QUOTAS, Class, headers_of
from token_api.state import state_of

_DETAIL = "Called too often; Retry-After says when to come back."


def address_of(request: Request) -> str:
    """Whose address the request came from."""
    return client_of(
        request.client.host if request.client else None,
        request.headers.getlist("x-forwarded-for"),
        state_of(request).settings.trusted_proxies,
    )


def check(request: Request, caller: Caller, kind: Class) -> None:
    """Count a request of `caller`. The host application is not limited: it calls for all its users.

    Raises:
        ProblemError: RATE_LIMITED.
    """
    if not isinstance(caller, UserCaller):
        return
    buckets = state_of(request).buckets
    quota = USER_QUOTAS[kind]
    verdict = buckets.take(kind, f"user:{caller.user_id}", quota)
    if verdict.allowed:
        quota_of_address = ADDRESS_QUOTAS[kind]
        of_address = buckets.take(kind, f"address:{address_of(request)}", quota_of_address)
        if of_address.remaining < verdict.remaining or not of_address.allowed:
            quota, verdict = quota_of_address, of_address
    headers = headers_of(kind, quota, verdict)
    if not verdict.allowed:
        raise ProblemError(Kind.RATE_LIMITED, _DETAIL, headers)
    # The envelope puts them on whatever the answer is.
    request.state.answer_headers = headers


def check_refused(request: Request) -> None:
    """Count a request whose credentials were refused. Raises ProblemError: RATE_LIMITED."""
    quota = ADDRESS_QUOTAS[Class.REFUSED]
    verdict = state_of(request).buckets.take(Class.REFUSED, f"address:{address_of(request)}", quota)
    if not verdict.allowed:
        raise ProblemError(Kind.RATE_LIMITED, _DETAIL, headers_of(Class.REFUSED, quota, verdict))
