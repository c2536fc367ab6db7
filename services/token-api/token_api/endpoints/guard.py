"""Who may call, and in which media type: judged before a byte of the body is read."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from token_api.problems import Kind, ProblemError
from token_api.state import state_of

# For OpenAPI; `ServiceKeyRoute` does the work. FastAPI parses the body before it asks dependencies,
# so a caller without a key would otherwise be told what is wrong with their JSON.
service_key_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="serviceKey",
    description="The host application's key: TOKEN_API_SERVICE_KEY",
)


class ServiceKeyRoute(APIRoute):
    """A route that takes JSON from holders of the service key only."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            require_service_key(request)
            require_json(request)
            return await handle(request)

        return guarded


def require_service_key(request: Request) -> None:
    """Raises ProblemError (401) unless the request carries the service key."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = state_of(request).settings.service_key.get_secret_value()
    # Over bytes: compare_digest refuses text that is not ASCII.
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ProblemError(
            Kind.UNAUTHENTICATED,
            "Send the service key as `Authorization: Bearer <key>`.",
            {"WWW-Authenticate": "Bearer"},
        )


def require_json(request: Request) -> None:
    """Raises ProblemError (415) unless the body is said to be JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            Kind.MEDIA_TYPE,
            "Allowed: Content-Type: application/json.",
            {"Accept": "application/json"},
        )
