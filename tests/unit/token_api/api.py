"""The whole service over ASGI, as its callers see it: on a real database, with LiveKit's double behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
from fastapi import FastAPI
from sqlalchemy import Select

from tests.unit.token_api.livekit_double import LiveKitDouble
from tests.unit.token_api.support import AUTHORIZED
from token_api.app import create_app
from token_api.settings import Settings
from token_api.use_cases.services import Services

HOST_SECRET = "host-jwt-secret-0123456789-abcdefghijk"
HOST_ISSUER = "https://host.test"
HOST_AUDIENCE = "token-api"
# Whole seconds of a real moment: LiveKit's tokens are made by the host's clock, whatever ours says.
START = datetime.now(UTC).replace(microsecond=0)


class FrozenClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, **parts: float) -> None:
        """Go on by a timedelta's `parts`."""
        self.time += timedelta(**parts)


@dataclass(frozen=True)
class Api:
    """The running service, and what a test needs to talk to it and to look into it."""

    client: httpx.AsyncClient
    app: FastAPI
    clock: FrozenClock
    livekit: LiveKitDouble

    @property
    def services(self) -> Services:
        found: Services = self.app.state.token_api.services
        return found

    def user(self, user_id: str, **claims: Any) -> dict[str, str]:
        """Headers with a host JWT for `user_id`; `claims` replace its own, None leaves one out."""
        now = int(self.clock.now().timestamp())
        made = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": user_id, "exp": now + 300, **claims}
        token = jwt.encode({name: value for name, value in made.items() if value is not None}, HOST_SECRET)
        return {"Authorization": f"Bearer {token}"}

    @staticmethod
    def service(on_behalf_of: str | None = None) -> dict[str, str]:
        """Headers of the host application."""
        return {**AUTHORIZED, "X-On-Behalf-Of": on_behalf_of} if on_behalf_of else AUTHORIZED

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, status: int = 200, **given: Any
    ) -> Any:
        """Call as the host application, or with `headers`; the JSON of an answer with `status`."""
        response = await self.client.request(method, f"/v1{path}", headers=headers or AUTHORIZED, **given)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def stream(self, **fields: Any) -> str:
        """A new stream of `creator` in `space`; its id."""
        wanted = {"title": "A stream", "owner_id": "creator", "space_id": "space", **fields}
        return str((await self.call("POST", "/streams", json=wanted, status=201))["id"])

    async def live_stream(self, **fields: Any) -> str:
        """A new stream that is live; its id."""
        stream_id = await self.stream(**fields)
        await self.call("POST", f"/streams/{stream_id}/go-live")
        return stream_id

    async def grant(self, user_id: str, scope: str, scope_id: str, **fields: Any) -> str:
        """A pass for a user; its id."""
        wanted = {"user_id": user_id, "scope": scope, "scope_id": scope_id, **fields}
        return str((await self.call("POST", "/access-grants", json=wanted, status=201))["id"])

    async def rows(self, query: Select[Any]) -> list[Any]:
        """What is in the database."""
        async with self.services.database.read() as transaction:
            return list((await transaction.scalars(query)).all())


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and kind of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["type"].rpartition(":")[2]


@asynccontextmanager
async def running_api(settings: Settings, livekit: LiveKitDouble) -> AsyncIterator[Api]:
    """The service with `settings`, started and in the end stopped."""
    clock = FrozenClock()
    app = create_app(settings, clock=clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as client,
    ):
        yield Api(client, app, clock, livekit)
