"""Who may call, and in which media type: judged before a byte of the body is read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Annotated, cast

import structlog
from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from token_api.callers import (
    USER_ID_PATTERN,
    BadCredentials,
    Caller,
    KeysUnavailable,
    ServiceCaller,
)
from token_api.database.engine import reserved_connections
from token_api.endpoints import limits
from token_api.problems import Kind, ProblemError
from token_api.rate_limits import Class, class_of
from token_api.state import state_of

ON_BEHALF_OF = "X-On-Behalf-Of"
_USER_ID = re.compile(USER_ID_PATTERN)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

log = structlog.get_logger()

# For OpenAPI; the routes do the work. FastAPI parses the body before it asks dependencies, so a caller
# without credentials would otherwise be told what is wrong with their JSON.
service_key_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="serviceKey",
    description="The host application's key: TOKEN_API_SERVICE_KEY",
)
host_jwt_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="hostJwt",
    bearerFormat="JWT",
    description="A JWT that the host application signed for one of its users",
)
FOR_SERVICE = [Security(service_key_scheme)]
FOR_ALL = [Security(service_key_scheme), Security(host_jwt_scheme)]


class CallerRoute(APIRoute):
    """A route for the host application and its users; a body, where there is one, is JSON."""

    for_users = True

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        kinds = {method: class_of(method, self.path) for method in self.methods or ()}

        async def guarded(request: Request) -> Response:
            caller = await self.caller_of(request)
            request.state.actor = caller.actor
            limits.check(request, caller, kinds[request.method])
            if caller.user_id is not None and not self.for_users:
                raise ProblemError(
                    Kind.ROLE_FORBIDDEN, f"This is for the host application alone, without {ON_BEHALF_OF}."
                )
            request.state.caller = caller
            if request.method in _WITH_BODY and self._takes_body(request):
                require_json(request)
            with reserved_connections() if kinds[request.method] is Class.TOKENS else nullcontext():
                return await handle(request)

        return guarded

    async def caller_of(self, request: Request) -> Caller:
        """Who sends `request`. Raises as `authenticate`."""
        return await authenticate(request)

    def _takes_body(self, request: Request) -> bool:
        """Whether there is a body to read: an optional one that is not sent has no media type."""
        if self.body_field is None:
            return False
        sent = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        return sent or self.body_field.field_info.is_required()


class ServiceRoute(CallerRoute):
    """A route for the host application alone."""

    for_users = False


async def authenticate(request: Request) -> Caller:
    """Who sends `request`.

    Raises:
        ProblemError: UNAUTHENTICATED, or RATE_LIMITED for too many of these; BAD_REQUEST for a wrong
            X-On-Behalf-Of; KEYS_UNAVAILABLE.
    """
    given = request.headers.getlist("authorization")
    scheme, _, bearer = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    on_behalf_of = request.headers.get(ON_BEHALF_OF)
    try:
        if scheme.lower() != "bearer" or not bearer:
            raise BadCredentials("no bearer")
        caller = await state_of(request).authenticator.caller(bearer, on_behalf_of)
    except BadCredentials as error:
        if bearer:
            log.info("credentials_refused", reason=str(error))
            limits.check_refused(request)
        raise ProblemError(
            Kind.UNAUTHENTICATED,
            "Send the service key, or a user's JWT, as `Authorization: Bearer …`.",
            {"WWW-Authenticate": "Bearer"},
        ) from error
    except KeysUnavailable as error:
        raise ProblemError(
            Kind.KEYS_UNAVAILABLE, "Nobody's JWT can be checked now; try again.", {"Retry-After": "30"}
        ) from error
    if on_behalf_of is not None and not _USER_ID.fullmatch(on_behalf_of):
        raise ProblemError(
            Kind.BAD_REQUEST, f"{ON_BEHALF_OF}: allowed are 1 to 128 of A-Z a-z 0-9 _ . : @ | + = -"
        )
    return caller


def require_json(request: Request) -> None:
    """Raises ProblemError (415) unless the body is said to be JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            Kind.MEDIA_TYPE,
            "Allowed: Content-Type: application/json.",
            {"Accept": "application/json"},
        )


async def _caller_of(request: Request) -> Caller:
    return cast(Caller, request.state.caller)


async def _service_of(request: Request) -> ServiceCaller:
    return cast(ServiceCaller, request.state.caller)


CurrentCaller = Annotated[Caller, Depends(_caller_of)]
# On a ServiceRoute.
CurrentService = Annotated[ServiceCaller, Depends(_service_of)]
