"""What the resources share: kinds of fields, pages, answers that are given once, documented problems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import USER_ID_PATTERN, Caller
from token_api.domain.paging import (
    DEFAULT_LIMIT,
    MAX_CURSOR_LENGTH,
    MAX_LIMIT,
    BadCursor,
    Cursor,
    read_cursor,
)
from token_api.page_safe import PageSafeResponse
from token_api.problems import Kind, Problem, ProblemError
from token_api.state import State
from token_api.use_cases import idempotency
from token_api.use_cases.idempotency import Answer

HostId = Annotated[str, StringConstraints(pattern=USER_ID_PATTERN)]
# No control characters and no half of a surrogate pair: shown to people, and kept as UTF-8.
_TEXT = r"^[^\x00-\x1f\x7f-\x9f]*$"


def _is_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half a character (a lone surrogate)") from error
    return text


Title = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=_TEXT), AfterValidator(_is_utf8)
]
DisplayName = Annotated[str, StringConstraints(max_length=128, pattern=_TEXT), AfterValidator(_is_utf8)]


_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_MOMENT = datetime(9000, 1, 1, tzinfo=UTC)


def _in_range(moment: datetime) -> datetime:
    """Python and PostgreSQL cannot convert times near the years 1 and 9999 to every zone."""
    if not _FIRST_MOMENT <= moment < _LAST_MOMENT:
        raise ValueError(f"{moment.isoformat()} is out of range; allowed: the years 2000 to 8999 (UTC)")
    return moment


# RFC 3339 with a zone. Not strict: JSON has no times.
Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]


class Body(BaseModel):
    """A body that callers send: no field that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def cursor_of(
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the page before")
    ] = None,
) -> Cursor | None:
    """The place to go on from. Raises ProblemError: VALIDATION."""
    if cursor is None:
        return None
    try:
        return read_cursor(cursor)
    except BadCursor as error:
        raise ProblemError(Kind.VALIDATION, "cursor: it is none that this service gave.") from error


Limit = Annotated[
    int, Query(ge=1, le=MAX_LIMIT, description=f"items of a page; {DEFAULT_LIMIT} if not given")
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=128,
        pattern=r"^[!-~]+$",
        description="the same for each attempt at one change: it happens once, and is answered alike",
    ),
]


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that can end in `kinds`, and in those that every route can."""
    found: dict[int, list[str]] = {}
    always = (Kind.UNAUTHENTICATED, Kind.BAD_REQUEST, Kind.VALIDATION, Kind.RATE_LIMITED)
    for kind in (*always, *kinds, Kind.DATABASE_UNAVAILABLE, Kind.KEYS_UNAVAILABLE):
        found.setdefault(kind.status, []).append(kind.title)
    if any(kind.status == 415 for kind in kinds):
        found.setdefault(413, []).append(Kind.TOO_LARGE.title)
    return {
        status: {"model": Problem, "description": "; ".join(dict.fromkeys(titles))}
        for status, titles in found.items()
    }


STREAM_PROBLEMS = (Kind.ROLE_FORBIDDEN, Kind.NOT_FOUND)
LIVEKIT_PROBLEMS = (Kind.LIVEKIT_ERROR, Kind.LIVEKIT_UNAVAILABLE)


def response_of(answer: Answer) -> JSONResponse:
    """The response that an answer is."""
    return PageSafeResponse(answer.body, answer.status, headers=dict(answer.headers))


def answer(status: int, body: BaseModel, *, location: str | None = None) -> Answer:
    """An answer with a body, and where the thing made is."""
    return Answer(status, body.model_dump(mode="json"), {"Location": location} if location else {})


async def once(
    state: State,
    request: Request,
    caller: Caller,
    change: Callable[[AsyncSession, datetime], Awaitable[Answer]],
    *,
    key: str | None,
    body: BaseModel | None = None,
) -> JSONResponse:
    """Make `change` in one transaction; with a key, at most once, and answered alike each time."""
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        if key is None:
            return response_of(await change(transaction, now))
        claim = _claim(request, caller, key, body)
        known = await idempotency.claim(transaction, claim, now)
        if known is None:
            known = await change(transaction, now)
            await idempotency.remember(transaction, claim, known, now)
        return response_of(known)


async def alike(
    state: State,
    request: Request,
    caller: Caller,
    change: Callable[[], Awaitable[Answer]],
    *,
    key: str | None,
    body: BaseModel | None = None,
) -> JSONResponse:
    """Make a `change` that is the same when made twice; with a key, answered alike each time."""
    if key is None:
        return response_of(await change())
    claim = _claim(request, caller, key, body)
    async with state.services.database.read() as transaction:
        known = await idempotency.recall(transaction, claim)
    if known is None:
        known = await change()
        async with state.services.database.begin() as transaction:
            await idempotency.remember(transaction, claim, known, state.services.clock.now())
    return response_of(known)


def _claim(request: Request, caller: Caller, key: str, body: BaseModel | None) -> idempotency.Claim:
    sent = body.model_dump(mode="json", exclude_unset=True) if body is not None else None
    return idempotency.claim_of(caller.actor, key, request.method, request.url.path, sent)
