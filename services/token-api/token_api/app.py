"""The application factory: puts the parts together, and decides nothing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import httpx
from fastapi import FastAPI

from token_api import VERSION, openapi
from token_api.endpoints import health, token, webhooks
from token_api.livekit_probe import LiveKitProbe
from token_api.metrics import Metrics
from token_api.middleware import BodyLimit, Envelope
from token_api.problems import install_handlers
from token_api.settings import Settings
from token_api.state import State
from token_api.tokens import ApiCredentials


def create_app(settings: Settings, *, livekit: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The service for `settings`. `livekit` is how LiveKit is reached, where it is not the network."""
    credentials = ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
    probe = LiveKitProbe(settings.livekit_http_url, credentials, transport=livekit)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await probe.aclose()

    app = FastAPI(
        title="token-api",
        version=VERSION,
        description="Hands out LiveKit tokens to the host application, and takes LiveKit's webhooks.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        # Both load scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        # A redirect of /v1/token/ would be an answer without problem details, and lose the body.
        redirect_slashes=False,
    )
    app.state.token_api = State(settings=settings, probe=probe, metrics=Metrics())
    install_handlers(app)
    app.add_middleware(
        BodyLimit,
        default=token.MAX_BODY_BYTES,
        by_path={webhooks.LIVEKIT_WEBHOOK_PATH: webhooks.MAX_BODY_BYTES},
    )
    app.add_middleware(Envelope)
    for module in (health, token, webhooks):
        app.include_router(module.router)
    app.openapi = cache(lambda: openapi.document(app))  # type: ignore[method-assign]
    return app
