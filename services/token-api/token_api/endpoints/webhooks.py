"""Where LiveKit sends its events."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from token_api.database.engine import reserved_connections
from token_api.problems import Kind, Problem, ProblemError
from token_api.state import CurrentState
from token_api.use_cases import webhooks_in
from token_api.webhooks import BadSignature, Event, verify

LIVEKIT_WEBHOOK_PATH = "/v1/webhooks/livekit"
# An event carries a room and a participant, each with metadata up to LiveKit's 64 KiB, JSON-escaped.
MAX_BODY_BYTES = 512 * 1024

log = structlog.get_logger()
router = APIRouter(tags=["webhooks"])


@router.post(
    LIVEKIT_WEBHOOK_PATH,
    response_class=Response,
    response_description="The event is LiveKit's, and was taken",
    responses={
        401: {"model": Problem, "description": "Not signed by LiveKit with a key known here"},
        413: {"model": Problem, "description": f"The body is longer than {MAX_BODY_BYTES} bytes"},
        422: {"model": Problem, "description": "Signed by LiveKit, but no event"},
        503: {"model": Problem, "description": Kind.DATABASE_UNAVAILABLE.title},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/webhook+json": {"schema": {"type": "object"}}},
        },
        "security": [{"livekitWebhook": []}],
    },
)
async def receive(request: Request, state: CurrentState) -> Response:
    """Take one event of LiveKit's. Its Authorization header is a JWT over the body's digest.

    It is answered once the event is kept, and processed afterwards. An event that came before, and one of
    a room that is none of ours, are answered alike, and have no effect.
    """
    body = await request.body()
    try:
        verify(body, request.headers.get("authorization"), state.settings.livekit_secrets)
    except BadSignature as error:
        state.metrics.webhooks_refused.labels(error.reason.value).inc()
        log.warning("webhook_refused", reason=error.reason.value, bytes=len(body))
        # Why is for the log: whoever forges webhooks is not told how far they came.
        raise ProblemError(
            Kind.UNAUTHENTICATED, "The signature does not hold.", {"WWW-Authenticate": "Bearer"}
        ) from error
    try:
        event = Event.model_validate_json(body)
    except ValidationError as error:
        # Not 5xx: LiveKit would repeat it, and hold up all that comes after.
        log.error("webhook_not_understood", bytes=len(body))
        raise ProblemError(Kind.VALIDATION, "The body is no event of LiveKit's.") from error
    state.metrics.count_webhook(event.event)
    # LiveKit gives up an event that is not taken in time.
    with reserved_connections():
        filed = await webhooks_in.file(state.services, event, body.decode())
    log.info(
        "webhook_received",
        event_id=event.id,
        event_type=event.event,
        room=event.room_name[:256] or None,
        filed=filed.value,
    )
    return Response(status_code=200)
