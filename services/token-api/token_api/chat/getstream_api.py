"""GetStream's API, as far as the service uses it: bans in channels (REST, as its server SDKs call it)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from token_api.chat import getstream

# For one request; nobody waits for it.
TIMEOUT_SECONDS = 10.0
# Who bans, for GetStream.
BANNED_BY = "token-api"
# GetStream's code for an object that does not exist.
_DOES_NOT_EXIST = 16
_MAX_WORDS = 200


class GetStreamAway(Exception):
    """It does not answer, or says that it cannot now: the next try may do it."""


class GetStreamRefused(Exception):
    """It will refuse the same request again."""


class _DoesNotExist(GetStreamRefused):
    """The user or the channel is not known."""


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
            await self._ask("POST", "/moderation/ban", json=body)
        except _DoesNotExist:
            # Not before: an upsert replaces what the user's own client has told GetStream of the user.
            for each in (BANNED_BY, user_id):
                await self._ask("POST", "/users", json={"users": {each: {"id": each}}})
            channel = f"/channels/{getstream.CHANNEL_TYPE}/{stream_id}/query"
            await self._ask("POST", channel, json={"data": {"created_by_id": BANNED_BY}})
            await self._ask("POST", "/moderation/ban", json=body)

    async def lift(self, user_id: str, stream_id: str) -> None:
        """Lift a ban in a stream's channel; one that is not there is lifted.

        Raises:
            GetStreamAway, GetStreamRefused
        """
        params = {"target_user_id": user_id, "type": getstream.CHANNEL_TYPE, "id": stream_id}
        try:
            await self._ask("DELETE", "/moderation/ban", params=params)
        except _DoesNotExist:
            return

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._client.request(method, path, json=json, params=params)
        except (httpx.TransportError, TimeoutError) as error:
            raise GetStreamAway(f"{method} {path}: {type(error).__name__}") from error
        if answer.is_success:
            return
        code, words = _error(answer)
        said = f"{method} {path}: {answer.status_code}, code {code}: {words}"
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise GetStreamAway(said)
        raise _DoesNotExist(said) if code == _DOES_NOT_EXIST else GetStreamRefused(said)


def _error(answer: httpx.Response) -> tuple[int | None, str]:
    """GetStream's code and words; a proxy's answer has none."""
    try:
        told = answer.json()
    except ValueError:
        return None, ""
    if not isinstance(told, dict):
        return None, ""
    code = told.get("code")
    return code if isinstance(code, int) else None, str(told.get("message", ""))[:_MAX_WORDS]
