"""Whether an answer is the wanted one, and what to call what it is instead. Pure."""

from __future__ import annotations

import errno
import json

import aiohttp
import jwt
from livekit import api
from livekit.api.access_token import Claims

from loadtest.api_load.protocol import GeneratorConfig

_WANTED_STATUS = 201
TIMEOUT = "timeout"


class Judge:
    """Looks at answers of one endpoint."""

    def __init__(self, config: GeneratorConfig) -> None:
        self._room = config.room
        self._verifier = api.TokenVerifier(config.key, config.secret.get_secret_value())

    def fault(self, status: int, retry_after: str | None, body: bytes, identity: str) -> str:
        """What is wrong with an answer, as a kind to count; empty for a viewer's token for this identity."""
        if status != _WANTED_STATUS:
            return f"HTTP {status}" + (", with Retry-After" if retry_after is not None else "")
        try:
            claims = self._verifier.verify(json.loads(body)["participant_token"])
        except (ValueError, KeyError, TypeError):
            return "wrong answer: no token in it"
        except jwt.InvalidTokenError as error:
            return f"wrong answer: {type(error).__name__}"
        return self._wrong_claims(claims, identity)

    def _wrong_claims(self, claims: Claims, identity: str) -> str:
        video = claims.video
        if claims.identity != identity:
            return "wrong answer: another identity"
        if video is None or not video.room_join or video.room != self._room:
            return "wrong answer: another room"
        if video.can_publish or not video.can_subscribe:
            return "wrong answer: not a viewer's grants"
        return ""


def failure(error: Exception) -> str:
    """What kept an answer from coming, as a kind to count."""
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "TLS certificate not trusted"
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)
