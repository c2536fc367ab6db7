"""Where our own events are sent, and what became of each."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import WebhookDelivery, WebhookEndpoint
from token_api.delivery.addresses import MAX_URL_LENGTH, Refused
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.vocabulary import DeliveryState
from token_api.endpoints.common import Body, Key, Limit, Title, answer, cursor_of, once, problems
from token_api.endpoints.guard import FOR_SERVICE, CurrentService, ServiceRoute
from token_api.problems import Kind, ProblemError
from token_api.state import CurrentState, State
from token_api.use_cases import deliveries, webhook_endpoints
from token_api.use_cases.events import EVENT_TYPES
from token_api.use_cases.idempotency import Answer

router = APIRouter(
    prefix="/v1/webhook-endpoints",
    tags=["webhooks"],
    route_class=ServiceRoute,
    dependencies=FOR_SERVICE,
)

_KNOWN = (Kind.ROLE_FORBIDDEN, Kind.NOT_FOUND)
Url = Annotated[str, StringConstraints(min_length=8, max_length=MAX_URL_LENGTH)]


def _known_event(event_type: str) -> str:
    if event_type not in EVENT_TYPES:
        raise ValueError(f"no event is called so; allowed are {', '.join(sorted(EVENT_TYPES))}")
    return event_type


EventType = Annotated[
    str, AfterValidator(_known_event), Field(json_schema_extra={"enum": sorted(EVENT_TYPES)})
]
EventTypes = Annotated[
    list[EventType],
    Field(max_length=len(EVENT_TYPES), description="the events to be sent; an empty list means all"),
]


class EndpointRequest(Body):
    """Where events are to be sent."""

    url: Url = Field(description="https://, of a host with public addresses only; redirects are not followed")
    description: Title | None = None
    event_types: EventTypes = Field(default_factory=list)


class EndpointChanges(Body):
    """What is to change; a field that is not given stays as it is."""

    url: Url | None = None
    description: Title | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = Field(
        None, description="true also after the service disabled it: what waits for it is sent then"
    )


class Rotation(Body):
    """How the secret is changed."""

    both_for_seconds: int = Field(
        86400, ge=0, le=7 * 86400, description="for so long, messages carry signatures by both secrets"
    )


class EndpointView(BaseModel):
    """An endpoint."""

    id: str
    url: str
    description: str
    event_types: list[str]
    enabled: bool
    disabled_reason: Literal["gone", "failing"] | None = Field(
        description="why the service disabled it: it answered 410, or nothing got through for five days"
    )
    failing_since: datetime | None
    paused_until: datetime | None = Field(
        description="it answered 429 or 503 with Retry-After: until then nothing is sent; a day at most"
    )
    created_at: datetime
    updated_at: datetime


class EndpointWithSecret(EndpointView):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(description="the key of Standard Webhooks' signatures, `whsec_…`")


class EndpointPage(BaseModel):
    """Some endpoints, newest first."""

    items: list[EndpointView]
    next_cursor: str | None


class DeliveryView(BaseModel):
    """An event on its way to an endpoint."""

    id: str
    message_id: str = Field(description="the header `webhook-id`: the same in each attempt")
    event_type: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


class DeliveryPage(BaseModel):
    """Some deliveries, newest first."""

    items: list[DeliveryView]
    next_cursor: str | None


def endpoint_view(endpoint: WebhookEndpoint) -> EndpointView:
    """An endpoint as callers see it."""
    return EndpointView(**_fields(endpoint))


def _with_secret(endpoint: WebhookEndpoint) -> EndpointWithSecret:
    return EndpointWithSecret(secret=endpoint.secret, **_fields(endpoint))


def _fields(endpoint: WebhookEndpoint) -> dict[str, Any]:
    own = (
        "id",
        "url",
        "description",
        "enabled",
        "disabled_reason",
        "failing_since",
        "paused_until",
        "created_at",
        "updated_at",
    )
    return {
        "event_types": json.loads(endpoint.event_types),
        **{name: getattr(endpoint, name) for name in own},
    }


def delivery_view(delivery: WebhookDelivery, event_type: str) -> DeliveryView:
    """A delivery as callers see it."""
    return DeliveryView(
        id=delivery.id,
        message_id=delivery.outbox_id,
        event_type=event_type,
        state=delivery.state,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_at if delivery.state is DeliveryState.WAITING else None,
        last_status=delivery.last_status,
        last_error=delivery.last_error or None,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
    )


async def _check(state: State, url: str) -> None:
    try:
        await state.delivery.check(url)
    except Refused as error:
        raise ProblemError(Kind.VALIDATION, f"url: {error}.") from error


@router.post(
    "",
    status_code=201,
    response_model=EndpointWithSecret,
    responses=problems(Kind.ROLE_FORBIDDEN, Kind.CONFLICT, Kind.MEDIA_TYPE, Kind.IDEMPOTENCY_KEY_REUSED),
)
async def create_endpoint(
    wanted: EndpointRequest, request: Request, state: CurrentState, caller: CurrentService, key: Key = None
) -> JSONResponse:
    """Have events sent to a URL, signed as Standard Webhooks has it (https://www.standardwebhooks.com).

    Each event comes at least once, with the same `webhook-id` each time, and in no certain order: go by
    `version` and `timestamp` in the body. Answer 2xx within 10 seconds; 410 ends it. Anything else is
    tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, each up to a fifth later.
    """
    await _check(state, wanted.url)

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        endpoint = await webhook_endpoints.create(
            transaction,
            caller,
            url=wanted.url,
            description=wanted.description or "",
            event_types=wanted.event_types,
            now=now,
        )
        return answer(201, _with_secret(endpoint), location=f"/v1/webhook-endpoints/{endpoint.id}")

    return await once(state, request, caller, change, key=key, body=wanted)


@router.get("", responses=problems(Kind.ROLE_FORBIDDEN))
async def list_endpoints(
    state: CurrentState, cursor: Annotated[Cursor | None, Depends(cursor_of)], limit: Limit = DEFAULT_LIMIT
) -> EndpointPage:
    """All endpoints, newest first."""
    async with state.services.database.read() as transaction:
        page = await webhook_endpoints.page(transaction, cursor, limit)
    return EndpointPage(items=[endpoint_view(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/{endpoint_id}", responses=problems(*_KNOWN))
async def read_endpoint(endpoint_id: str, state: CurrentState) -> EndpointView:
    """One endpoint."""
    async with state.services.database.read() as transaction:
        return endpoint_view(await webhook_endpoints.get(transaction, endpoint_id))


@router.patch("/{endpoint_id}", responses=problems(*_KNOWN, Kind.MEDIA_TYPE))
async def change_endpoint(
    endpoint_id: str, wanted: EndpointChanges, state: CurrentState, caller: CurrentService
) -> EndpointView:
    """Change an endpoint, or enable and disable it. While disabled it is sent nothing new."""
    if wanted.url is not None:
        await _check(state, wanted.url)
    changes = webhook_endpoints.Changes(wanted.url, wanted.description, wanted.event_types, wanted.enabled)
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        return endpoint_view(await webhook_endpoints.change(transaction, caller, endpoint_id, changes, now))


@router.delete("/{endpoint_id}", status_code=204, response_class=Response, responses=problems(*_KNOWN))
async def delete_endpoint(endpoint_id: str, state: CurrentState, caller: CurrentService) -> Response:
    """Remove an endpoint, with all that waits for it."""
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        await webhook_endpoints.remove(transaction, caller, endpoint_id, now)
    return Response(status_code=204)


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=EndpointWithSecret,
    responses=problems(*_KNOWN, Kind.MEDIA_TYPE, Kind.IDEMPOTENCY_KEY_REUSED),
)
async def rotate_secret(
    *,
    endpoint_id: str,
    request: Request,
    state: CurrentState,
    caller: CurrentService,
    wanted: Rotation | None = None,
    key: Key = None,
) -> JSONResponse:
    """Give an endpoint a new secret. The one before stays valid beside it for a while."""
    both_for = timedelta(seconds=(wanted or Rotation.model_construct()).both_for_seconds)

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        endpoint = await webhook_endpoints.rotate_secret(transaction, caller, endpoint_id, both_for, now)
        return answer(200, _with_secret(endpoint))

    return await once(state, request, caller, change, key=key, body=wanted)


@router.get("/{endpoint_id}/deliveries", responses=problems(*_KNOWN))
async def list_deliveries(
    *,
    endpoint_id: str,
    state: CurrentState,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    status: DeliveryState | None = None,
    limit: Limit = DEFAULT_LIMIT,
) -> DeliveryPage:
    """What was sent, or is to be sent, to an endpoint, newest first. Kept for 30 days."""
    async with state.services.database.read() as transaction:
        await webhook_endpoints.get(transaction, endpoint_id)
        page = await deliveries.page(transaction, endpoint_id, state=status, cursor=cursor, limit=limit)
    return DeliveryPage(items=[delivery_view(*item) for item in page.items], next_cursor=page.next_cursor)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=problems(*_KNOWN)
)
async def redeliver(
    endpoint_id: str, delivery_id: str, state: CurrentState, caller: CurrentService
) -> DeliveryView:
    """Send an event again, with the same `webhook-id`, whatever became of it."""
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        return delivery_view(*await deliveries.redeliver(transaction, caller, endpoint_id, delivery_id, now))
