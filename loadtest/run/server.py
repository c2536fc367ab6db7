"""What LiveKit server the target is: asked as a client asks, for no other way is there on any server."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import aiohttp
from livekit.protocol.rtc import SignalResponse

from loadtest.targets.http_session import http_session
from loadtest.targets.target import Target
from loadtest.targets.tokens import TokenRefused

_SECONDS = 10.0
_PROTOCOL = 15
UNKNOWN = "unknown"


def server_version(target: Target, room: str) -> str:
    """Its version by the answer to joining `room`, such as `livekit-server 1.9.0`; blocks up to 10 s.

    `unknown` where it does not say: only a report's line needs it.
    """
    try:
        admission = target.admission(room, "load-test-version", publish=False, subscribe=False)
        query = urlencode(
            {
                "access_token": admission.token.get_secret_value(),
                "protocol": _PROTOCOL,
                "auto_subscribe": 0,
                "sdk": "python",
            }
        )
        return asyncio.run(_ask(target, f"{admission.url.rstrip('/')}/rtc?{query}"))
    except (TokenRefused, aiohttp.ClientError, TimeoutError, OSError):
        return UNKNOWN


async def _ask(target: Target, url: str) -> str:
    async with (
        http_session(target.names, target.ca_certificate, timeout=_SECONDS) as session,
        session.ws_connect(url) as signalling,
    ):
        message = await signalling.receive(timeout=_SECONDS)
    if message.type is not aiohttp.WSMsgType.BINARY:
        return UNKNOWN
    joined = SignalResponse.FromString(message.data).join
    version = joined.server_info.version or joined.server_version
    return f"livekit-server {version}" if version else UNKNOWN
