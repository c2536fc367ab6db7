"""Whether LiveKit answers us: one cheap call of its API, and what its answer means.

Not through livekit-api's client: LiveKit refuses credentials with a plain-text body, which that
client drops, and only this text tells an unknown key from a wrong secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import httpx
import structlog
from livekit.api import AccessToken, VideoGrants

from token_api.tokens import ApiCredentials

LIST_ROOMS_PATH = "/twirp/livekit.RoomService/ListRooms"
# Asking for one name that nobody uses costs LiveKit one look-up, however many rooms there are.
_LIST_NOTHING = {"names": ["token-api-readiness-probe"]}
_TOKEN_TTL = timedelta(seconds=60)

log = structlog.get_logger()


class Verdict(StrEnum):
    """What a probe of LiveKit found."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    NOT_LIVEKIT = "not-livekit"
    UNHEALTHY = "unhealthy"
    KEY_UNKNOWN = "key-unknown"
    SECRET_WRONG = "secret-wrong"  # noqa: S105
    CLOCK_SKEW = "clock-skew"


@dataclass(frozen=True)
class Finding:
    """A verdict and one sentence on it, without secrets, tokens or addresses."""

    verdict: Verdict
    detail: str

    @property
    def ok(self) -> bool:
        return self.verdict is Verdict.OK


def judge(response: httpx.Response) -> Finding:
    """What an answer to ListRooms means. The texts matched are those of livekit-server 1.13.5.

    LiveKit's refusal quotes our own token: nothing of its body is passed on.
    """
    if response.status_code == 200:
        if response.headers.get("content-type", "").startswith("application/json"):
            return Finding(Verdict.OK, "LiveKit answers, and accepts the key and secret")
        return Finding(Verdict.NOT_LIVEKIT, "something else than LiveKit answers at LIVEKIT_URL")
    if response.status_code == 401:
        return _refusal(response.text)
    if response.status_code >= 500:
        return Finding(
            Verdict.UNHEALTHY,
            f"LiveKit, or a proxy before it, answers with {response.status_code}; is its Redis up?",
        )
    return Finding(
        Verdict.NOT_LIVEKIT,
        f"LIVEKIT_URL answers with {response.status_code}, which LiveKit's API does not",
    )


def _refusal(body: str) -> Finding:
    if body.startswith("invalid API key"):
        return Finding(Verdict.KEY_UNKNOWN, "LiveKit does not know LIVEKIT_API_KEY")
    reason = body.rpartition("error: ")[2]
    if "not valid yet" in reason or "expired" in reason:
        return Finding(Verdict.CLOCK_SKEW, "LiveKit's clock and this host's are over a minute apart")
    if "signature is invalid" in reason:
        return Finding(Verdict.SECRET_WRONG, "LiveKit knows LIVEKIT_API_KEY, but LIVEKIT_API_SECRET is wrong")
    return Finding(Verdict.NOT_LIVEKIT, "LIVEKIT_URL answers with 401, but not as LiveKit does")


class LiveKitProbe:
    """Calls LiveKit's ListRooms, and remembers the finding for a moment.

    However often readiness is asked, LiveKit sees at most one call per `fresh_for` seconds.
    """

    def __init__(
        self,
        http_url: str,
        credentials: ApiCredentials,
        *,
        timeout: float = 2.0,
        fresh_for: float = 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # httpx's timeout is per read, and a server that drips bytes must not hold readiness up: `_ask`
        # bounds the whole call instead.
        self._client = httpx.AsyncClient(base_url=http_url, timeout=None, transport=transport)  # noqa: S113
        self._credentials = credentials
        self._timeout = timeout
        self._fresh_for = fresh_for
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[float, Finding] | None = None

    async def finding(self) -> Finding:
        """The newest finding, at most `fresh_for` seconds old. Callers that come together share one call."""
        async with self._lock:
            if self._last is not None and self._clock() - self._last[0] < self._fresh_for:
                return self._last[1]
            found = await self._ask()
            if self._last is None or self._last[1] != found:
                # Said once for each change: a probe runs every few seconds.
                tell = log.info if found.ok else log.warning
                tell("livekit_probe", verdict=found.verdict.value, detail=found.detail)
            self._last = (self._clock(), found)
            return found

    async def _ask(self) -> Finding:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            async with asyncio.timeout(self._timeout):
                return judge(await self._client.post(LIST_ROOMS_PATH, json=_LIST_NOTHING, headers=headers))
        except (httpx.HTTPError, TimeoutError) as error:
            kind = "in time" if isinstance(error, TimeoutError) else "at all"
            return Finding(
                Verdict.UNREACHABLE, f"LIVEKIT_URL does not answer {kind} ({type(error).__name__})"
            )

    def _token(self) -> str:
        grants = VideoGrants(room_list=True, can_publish=False, can_subscribe=False, can_publish_data=False)
        token = AccessToken(self._credentials.key, self._credentials.secret).with_identity("token-api")
        return token.with_ttl(_TOKEN_TTL).with_grants(grants).to_jwt()

    async def aclose(self) -> None:
        await self._client.aclose()
