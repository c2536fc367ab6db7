"""A token API of a test's own, in the test's event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from livekit import api
from pydantic import SecretStr

from loadtest.api_load.generator import generate
from loadtest.api_load.protocol import Answer, Answers, Finished, GeneratorConfig
from loadtest.definition.scenario import ApiLoad
from loadtest.targets.tokens import TokenEndpoint

KEY, SECRET, SERVICE_KEY = "key", "a-secret-of-the-tests-own-0123456789", "the-service-key"
ROOM = "load_api_test"
# A timeout for immediate responses, long enough for a busy machine.
_PATIENT_SECONDS = 60.0


def token(
    identity: str,
    *,
    room: str = ROOM,
    secret: str = SECRET,
    publish: bool = False,
    subscribe: bool = True,
    join: bool = True,
) -> str:
    grants = api.VideoGrants(room_join=join, room=room, can_publish=publish, can_subscribe=subscribe)
    return api.AccessToken(KEY, secret).with_identity(identity).with_grants(grants).to_jwt()


@dataclass
class TokenServer:
    """Answers with `answer`, after `before_answer`.

    Attributes:
        bodies: of the requests so far.
    """

    port: int = 0
    answer: Callable[[dict[str, Any]], web.Response] = field(
        default=lambda asked: good_answer(token(asked["participant_identity"]))
    )
    before_answer: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {SERVICE_KEY}":
            return web.Response(status=401)
        asked = await request.json()
        self.bodies.append(asked)
        await self.before_answer()
        return self.answer(asked)

    def config(
        self, *, per_s: float, duration_s: float, timeout_s: float = _PATIENT_SECONDS, connections: int = 100
    ) -> GeneratorConfig:
        endpoint = TokenEndpoint(
            url=f"http://127.0.0.1:{self.port}/v1/token",
            service_key=SecretStr(SERVICE_KEY),
            names={},
            ca_certificate="",
        )
        return GeneratorConfig(
            endpoint=endpoint,
            load=ApiLoad(per_s=per_s, duration_s=duration_s, timeout_s=timeout_s),
            key=KEY,
            secret=SecretStr(SECRET),
            room=ROOM,
            connections=connections,
        )


def good_answer(text: str) -> web.Response:
    body = json.dumps({"server_url": "ws://127.0.0.1", "participant_token": text})
    return web.Response(status=201, text=body, content_type="application/json")


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    server = TokenServer()
    application = web.Application()
    application.router.add_post("/v1/token", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


async def answers_of(config: GeneratorConfig, stop: asyncio.Event | None = None) -> list[Answer]:
    """What became of each request of a load."""
    events: list[Answers | Finished] = []
    await generate(config, events.append, stop or asyncio.Event())
    assert isinstance(events[-1], Finished)
    return [answer for event in events if isinstance(event, Answers) for answer in event.answers]
