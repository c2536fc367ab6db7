"""GetStream's API, as far as the service uses it: bans in channels (REST, as its server SDKs call it)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from token_api.chat import getstream

# For one request; nobody waits for it.
TIMEOUT_SECONDS = 10.0
# Who bans, for GetStream.
BANNED_BY = "token-api"
# GetStream's codes for a request that names an object that does not exist: as such, or as wrong input.
_MAY_NOT_EXIST = (4, 16)
_MAX_WORDS = 200


class GetStreamAway(Exception):
    """It does not answer, or says that it cannot now: the next try may do it."""


class GetStreamRefused(Exception):
    """It will refuse the same request again."""


class _MayNotExist(GetStreamRefused):
    """The user or the channel may not be known."""


class GetStreamApi:
    """One app of GetStream.

    Args:
        url: where its API is, without a path.
        key, secret: the app's.
    """

    def __init__(self, url: str, key: str, secret: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            params={"api_key": key},
            headers={"Authorization": getstream.server_token(secret), "stream-auth-type": "jwt"},
            # No proxy of the environment is to see the token.
            trust_env=False,
            timeout=None,  # noqa: S113 - `_ask` has one for the whole of a request
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ban(self, user_id: str, stream_id: str, minutes: int | None) -> None:
        """Ban a user in a stream's channel, also one who never connected. A ban that is there is replaced.

        Args:
            minutes: for how long, None for good.

        Raises:
            GetStreamAway, GetStreamRefused
        """
        body = {
            "target_user_id": user_id,
            "type": getstream.CHANNEL_TYPE,
            "id": stream_id,
            "banned_by_id": BANNED_BY,
            **({} if minutes is None else {"timeout": minutes}),
        }
        try:
            await self._ask("POST", "/moderation/ban", body=body)
        except _MayNotExist:
            for each in (BANNED_BY, user_id):
                await self._make_user(each)
            channel = f"/channels/{getstream.CHANNEL_TYPE}/{stream_id}/query"
            await self._ask("POST", channel, body={"data": {"created_by_id": BANNED_BY}})
            await self._ask("POST", "/moderation/ban", body=body)

    async def lift(self, user_id: str, stream_id: str) -> None:
        """Lift a ban in a stream's channel; one that is not there is lifted.

        Raises:
            GetStreamAway, GetStreamRefused
        """
        params = {"target_user_id": user_id, "type": getstream.CHANNEL_TYPE, "id": stream_id}
        try:
            await self._ask("DELETE", "/moderation/ban", params=params)
        except _MayNotExist:
            return

    async def _make_user(self, user_id: str) -> None:
        """Make a user that is not there. An upsert would replace what a client has told of one that is."""
        wanted = {"filter_conditions": {"id": user_id}, "limit": 1}
        found = await self._ask("GET", "/users", params={"payload": json.dumps(wanted)})
        if not found.get("users"):
            await self._ask("POST", "/users", body={"users": {user_id: {"id": user_id}}})

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._client.request(method, path, json=body, params=params)
        except (httpx.TransportError, TimeoutError) as error:
            raise GetStreamAway(f"{method} {path}: {type(error).__name__}") from error
        told = _object(answer)
        if answer.is_success:
            return told
        code, words = told.get("code"), str(told.get("message", ""))[:_MAX_WORDS]
        said = f"{method} {path}: {answer.status_code}, code {code}: {words}"
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise GetStreamAway(said)
        raise _MayNotExist(said) if code in _MAY_NOT_EXIST else GetStreamRefused(said)


def _object(answer: httpx.Response) -> dict[str, Any]:
    """GetStream's answer; a proxy's is empty."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
