"""The application factory: puts the parts together, and decides nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial

import httpx
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from token_api import VERSION, openapi
from token_api.callers import Authenticator
from token_api.chat.getstream_api import GetStreamApi
from token_api.database.engine import Database
from token_api.delivery.addresses import allowed_of
from token_api.delivery.client import DeliveryClient
from token_api.domain.clock import Clock, SystemClock
from token_api.endpoints import (
    access,
    analytics,
    bans,
    chat,
    health,
    participants,
    recordings,
    rooms,
    stage,
    streams,
    telemetry,
    token,
    video,
    webhook_endpoints,
    webhooks,
)
from token_api.livekit_api.gateway import Gateway
from token_api.livekit_probe import LiveKitProbe
from token_api.metrics import Metrics
from token_api.middleware import BodyLimit, Envelope
from token_api.origins import Origins
from token_api.page_safe import PageSafeResponse
from token_api.problems import install_handlers
from token_api.rate_limits import Buckets
from token_api.settings import Settings
from token_api.state import State
from token_api.tokens import ApiCredentials
from token_api.use_cases import enforcement, healing, recording_deletion, retention
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.services import Services
from token_api.use_cases.webhooks_in import Reactions
from token_api.wakeups import Wakeups
from token_api.workers import auto_recordings
from token_api.workers import chat as chat_worker
from token_api.workers.inbox import EVERY_SECONDS as INBOX_SECONDS
from token_api.workers.inbox import InboxWorker
from token_api.workers.loop import Worker, working
from token_api.workers.outbox import EVERY_SECONDS as OUTBOX_SECONDS
from token_api.workers.outbox import OutboxWorker
from token_api.workers.reconciler import Reconciler
from token_api.workers.recordings import RecordingsWorker

_ROUTERS = (
    health,
    token,
    rooms,
    streams,
    video,
    access,
    webhooks,
    webhook_endpoints,
    chat,
    telemetry,
    analytics,
    participants,
    bans,
    stage,
    recordings,
)


@cache
def _routes() -> list[BaseRoute]:
    """The routes of all modules. They depend on no settings, so all apps of a process share them.

    FastAPI builds the models of a route at its first use, once per list of routes. This takes longer than
    everything else at an app's start.
    """
    router = APIRouter(
        # Responses contain text that users wrote, and HTML pages embed responses.
        default_response_class=PageSafeResponse,
    )
    for module in _ROUTERS:
        router.include_router(module.router)
    return router.routes


def create_app(
    settings: Settings, *, clock: Clock | None = None, outside: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """The service for `settings`. `outside`: how the host's keys are reached, where not by the network."""
    state = _state(settings, clock or SystemClock(), outside)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            # Left in the opposite order: the workers stop before what they work with.
            stack.push_async_callback(state.services.database.aclose)
            stack.push_async_callback(state.services.livekit.aclose)
            stack.push_async_callback(state.authenticator.aclose)
            stack.push_async_callback(state.probe.aclose)
            running = workers(state.services, OutboxWorker(state.services, state.delivery))
            if (getstream := _getstream(settings)) is not None:
                stack.push_async_callback(getstream.aclose)
                teller = chat_worker.BanTeller(state.services, getstream)
                bell = state.services.wakeups.chat_bans
                running.append(Worker("chat-bans", teller.work, bell, chat_worker.EVERY_SECONDS))
            await stack.enter_async_context(working(running, patience=settings.worker_seconds))
            yield

    app = FastAPI(
        title="token-api",
        version=VERSION,
        description="Streams on LiveKit: who may go live and who may watch, with tokens and webhooks.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        # Both load scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        # A redirect of /v1/token/ would be an answer without problem details, and lose the body.
        redirect_slashes=False,
        routes=_routes(),
    )
    app.state.token_api = state
    install_handlers(app)
    app.add_middleware(
        BodyLimit,
        default=token.MAX_BODY_BYTES,
        by_path={webhooks.LIVEKIT_WEBHOOK_PATH: webhooks.MAX_BODY_BYTES},
    )
    app.add_middleware(Origins, allowed=settings.cors_origins)
    app.add_middleware(Envelope, metrics=state.metrics)
    app.openapi = cache(lambda: openapi.document(app))  # type: ignore[method-assign]
    return app


def _getstream(settings: Settings) -> GetStreamApi | None:
    """GetStream's API, where its chat is used."""
    key, secret = settings.getstream_key, settings.getstream_secret
    if settings.chat_provider != "getstream" or key is None or secret is None:
        return None
    return GetStreamApi(settings.getstream_url, key, secret.get_secret_value())


def workers(services: Services, outbox: OutboxWorker) -> list[Worker]:
    """What runs in the background as long as the service does."""
    bells = services.wakeups
    reactions = Reactions(
        on_joined=enforcement.on_joined,
        on_published=enforcement.on_published,
        on_egress=on_egress,
        on_room_gone=healing.on_room_gone,
    )
    inbox = InboxWorker(services, reactions)
    return [
        *Reconciler(services).workers(),
        RecordingsWorker(services).worker(),
        Worker("inbox", inbox.work, bells.inbox, INBOX_SECONDS, close=inbox.aclose),
        Worker("outbox", outbox.work, bells.outbox, OUTBOX_SECONDS, close=outbox.aclose),
        Worker("chat", partial(chat_worker.work, services), bells.chat, chat_worker.EVERY_SECONDS),
        Worker(
            "auto-recordings",
            partial(auto_recordings.work, services),
            bells.auto_recordings,
            auto_recordings.EVERY_SECONDS,
        ),
        # These run by their interval only.
        Worker("retention", partial(retention.prune, services), asyncio.Event(), retention.EVERY_SECONDS),
        Worker(
            "old-recordings",
            partial(recording_deletion.delete_old, services),
            asyncio.Event(),
            retention.EVERY_SECONDS,
        ),
    ]


def _state(settings: Settings, clock: Clock, outside: httpx.AsyncBaseTransport | None) -> State:
    credentials = ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
    wakeups = Wakeups()
    metrics = Metrics()
    database = Database(settings.database, after_commit=wakeups.ring)
    metrics.watch_database(database.connections_in_use)
    return State(
        services=Services(
            settings=settings,
            clock=clock,
            database=database,
            livekit=Gateway(settings.livekit_http_url, credentials),
            metrics=metrics,
            wakeups=wakeups,
        ),
        probe=LiveKitProbe(settings.livekit_http_url, credentials),
        authenticator=Authenticator(settings, clock, transport=outside),
        delivery=DeliveryClient(allowed_of(settings.webhook_allow)),
        buckets=Buckets(),
    )
