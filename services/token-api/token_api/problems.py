"""Every error that the service answers with, as RFC 9457 problem details."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic_core import ErrorDetails
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:livekit-platform:"
_SHOWN_CHARACTERS = 80
# A small body can hold a thousand unknown fields; the answer must not be many times as long.
_SHOWN_ERRORS = 20

log = structlog.get_logger()


class Kind(Enum):
    """A kind of problem: slug of its type URI, status, title."""

    BAD_REQUEST = ("bad-request", 400, "The request cannot be read")
    UNAUTHENTICATED = ("unauthenticated", 401, "The request carries no valid credentials")
    ROLE_FORBIDDEN = ("role-forbidden", 403, "The caller's role does not allow this")
    NO_GRANT = ("no-grant", 403, "The user has no access to the stream")
    GRANT_NOT_STARTED = ("grant-not-started", 403, "The user's access to the stream has not begun")
    GRANT_EXPIRED = ("grant-expired", 403, "The user's access to the stream has expired")
    GRANT_CANCELLED = ("grant-cancelled", 403, "The user's access to the stream was cancelled")
    BANNED = ("banned", 403, "The user is banned from the stream")
    ORIGIN_FORBIDDEN = ("origin-forbidden", 403, "A page of this origin may not do this")
    NOT_FOUND = ("not-found", 404, "There is nothing here")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This resource does not know the method")
    STREAM_NOT_LIVE = ("stream-not-live", 409, "The stream is not live")
    INVALID_TRANSITION = ("invalid-transition", 409, "The stream's status does not allow this")
    RECORDING_ACTIVE = ("recording-active", 409, "The stream is being recorded")
    NO_TRACKS = ("no-tracks", 409, "Nothing is published that could be recorded")
    NO_STORAGE = ("no-storage", 409, "The service has no object store")
    RECORDING_UNAVAILABLE = ("recording-unavailable", 409, "The service does not record")
    ROOM_FULL = ("room-full", 409, "Every seat of the stream is taken")
    CHAT_CLOSED = ("chat-closed", 409, "The stream's chat takes nothing at the moment")
    CONFLICT = ("conflict", 409, "The state of the resource does not allow this")
    TOO_LARGE = ("content-too-large", 413, "The request body is too large")
    MEDIA_TYPE = ("unsupported-media-type", 415, "The request body has a media type not accepted here")
    VALIDATION = ("validation", 422, "The request is not valid")
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency-key-reused",
        422,
        "The Idempotency-Key was used for another request",
    )
    SLOW_MODE = ("slow-mode", 429, "The chat is in slow mode")
    RATE_LIMITED = ("rate-limited", 429, "Too many requests")
    INTERNAL = ("internal", 500, "The service failed")
    LIVEKIT_ERROR = ("livekit-error", 502, "LiveKit refused what was asked of it")
    STORAGE_ERROR = ("storage-error", 502, "The object store refused what was asked of it")
    DATABASE_UNAVAILABLE = ("database-unavailable", 503, "The database cannot be used at the moment")
    KEYS_UNAVAILABLE = ("keys-unavailable", 503, "The host application's keys cannot be had at the moment")
    LIVEKIT_UNAVAILABLE = ("livekit-unavailable", 503, "LiveKit cannot be used at the moment")
    STORAGE_UNAVAILABLE = ("storage-unavailable", 503, "The object store cannot be used at the moment")
    STOPPING = ("stopping", 503, "The service is about to stop")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.type = TYPE_PREFIX + slug
        self.status = status
        self.title = title


class FieldError(BaseModel):
    """One field of the body that is wrong."""

    pointer: str = Field(description="JSON pointer to the field, as a URI fragment")
    detail: str = Field(description="what is wrong, and what is allowed")
    given: str | None = Field(
        default=None, description="the value as JSON, cut short; absent where there is none"
    )


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="a URI that names the kind of problem; compare it, do not fetch it")
    title: str = Field(description="the kind of problem, for people; the same for every occurrence")
    status: int = Field(description="the HTTP status, again")
    detail: str = Field(description="this occurrence, for people")
    errors: list[FieldError] | None = Field(
        default=None, description="each wrong field, where the body is not valid"
    )


class ProblemError(HTTPException):
    """Raised anywhere below the routes to end the request with a problem."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(kind.status, detail, dict(headers) if headers else None)
        self.kind = kind


class _ProblemResponse(JSONResponse):
    """Counts itself as it is sent, whichever layer refused the request."""

    media_type = MEDIA_TYPE

    def __init__(self, kind: Kind, problem: Problem, headers: Mapping[str, str] | None) -> None:
        super().__init__(problem.model_dump(exclude_none=True), kind.status, headers=headers)
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"].state.token_api.metrics.problems.labels(self._kind.slug).inc()
        await super().__call__(scope, receive, send)


def problem_response(
    kind: Kind,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldError] | None = None,
) -> JSONResponse:
    """The answer for one problem."""
    problem = Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail, errors=errors)
    return _ProblemResponse(kind, problem, headers)


def install_handlers(app: FastAPI) -> None:
    """Make the framework's own errors problems too."""
    # Starlette declares handlers for Exception only, and refuses narrower ones as types.
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    for away in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(away, _database_error)


# What the framework itself raises, by status.
_FRAMEWORKS = {
    kind.status: kind
    for kind in (Kind.BAD_REQUEST, Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED, Kind.TOO_LARGE, Kind.MEDIA_TYPE)
}


async def _database_error(_request: Request, error: Exception) -> JSONResponse:
    # The type alone: the text may hold the statement with its values.
    log.error("database_unavailable", error=type(getattr(error, "orig", None) or error).__name__)
    return problem_response(
        Kind.DATABASE_UNAVAILABLE,
        "The database does not answer; nothing is lost by trying again.",
        headers={"Retry-After": "2"},
    )


async def _http_error(_request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, ProblemError):
        return problem_response(error.kind, error.detail, headers=error.headers)
    kind = _FRAMEWORKS.get(error.status_code)
    if kind is None:
        # A status that no one planned for: our fault, and never a body of another shape.
        log.error("unplanned_http_error", status=error.status_code)
        return problem_response(Kind.INTERNAL, "An error of an unknown kind.")
    return problem_response(kind, _sentence(kind, error), headers=error.headers)


def _sentence(kind: Kind, error: HTTPException) -> str:
    if kind is Kind.NOT_FOUND:
        return "No resource has this path."
    if kind is Kind.METHOD_NOT_ALLOWED:
        return f"Allowed: {(error.headers or {}).get('Allow', 'see the Allow header')}."
    if kind is Kind.BAD_REQUEST:
        return "The body cannot be read as JSON in UTF-8."
    return HTTPStatus(error.status_code).phrase


async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    errors = [_field_error(details) for details in error.errors()[:_SHOWN_ERRORS]]
    fields = ", ".join(item.pointer for item in errors)
    return problem_response(Kind.VALIDATION, f"Not valid: {fields}.", errors=errors)


def _field_error(details: ErrorDetails) -> FieldError:
    match details["type"]:
        case "json_invalid":
            return FieldError(pointer="#", detail="the body is not JSON")
        case "extra_forbidden":
            detail = "not a field of this resource; /v1/openapi.json has those that are"
        case _:
            detail = details["msg"].removeprefix("Value error, ")
    # loc begins with "body"; a key that is wrong itself is marked by a last "[key]".
    path = [str(part) for part in details["loc"][1:] if part != "[key]"]
    given = None if details["type"] == "missing" else shown(details.get("input"))
    return FieldError(pointer=json_pointer(path), detail=detail, given=given)


def json_pointer(path: list[str]) -> str:
    """RFC 6901, as a URI fragment: ASCII, whatever keys the caller sent."""
    escaped = (part.replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join("/" + quote(part, safe="~") for part in escaped)


def shown(value: Any) -> str:
    """A value that the caller sent, as JSON: ASCII, so that no broken Unicode reaches our answer."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
