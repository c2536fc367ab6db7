"""Who calls: the host application by its service key, or one of its users by a JWT that it signed."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import structlog

from token_api.domain.clock import Clock
from token_api.settings import Settings
from token_api.several_keys import by_any

USER_ID_PATTERN = r"^[A-Za-z0-9_.:@|+=-]{1,128}$"
LEEWAY_SECONDS = 30
JWKS_FRESH_SECONDS = 300.0
# A JWT with a key id that nobody knows costs the host application at most one request in this time.
JWKS_COOLDOWN_SECONDS = 30.0
_JWKS_TIMEOUT_SECONDS = 3.0
_JWKS_MAX_BYTES = 256 * 1024
_MAX_NAME = 128
# By the kind of key: a public key never verifies HS256, and no key verifies "none".
_ALGORITHMS: Mapping[str, tuple[str, ...]] = {"RSA": ("RS256",), "EC": ("ES256",), "OKP": ("EdDSA",)}
_USER_ID = re.compile(USER_ID_PATTERN)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

log = structlog.get_logger()


@dataclass(frozen=True)
class ServiceCaller:
    """The host application. On behalf of a user it may do what that user may, otherwise everything."""

    on_behalf_of: str | None = None

    @property
    def user_id(self) -> str | None:
        """The user whose permissions apply; None if the host application acts for itself."""
        return self.on_behalf_of

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"service:{self.on_behalf_of}" if self.on_behalf_of else "service"


@dataclass(frozen=True)
class UserCaller:
    """A user of the host application."""

    user_id: str
    name: str = ""

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"user:{self.user_id}"


# `user_id` of a caller is None only for the host application that acts for itself.
Caller = ServiceCaller | UserCaller


class BadCredentials(Exception):
    """The credentials are not valid. Why is for the log, never for the caller."""


class KeysUnavailable(Exception):
    """The host application's keys cannot be had at the moment, and none is remembered."""


class Authenticator:
    """Knows callers by what they put into `Authorization`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service_keys = tuple(key.encode() for key in settings.service_keys)
        self._issuer = settings.host_jwt_issuer
        self._audience = settings.host_jwt_audience
        self._secrets = settings.host_jwt_secrets
        url = settings.host_jwks_url
        self._keys = KeySet(url, transport=transport, monotonic=monotonic) if url is not None else None
        self._clock = clock

    async def aclose(self) -> None:
        if self._keys is not None:
            await self._keys.aclose()

    async def caller(self, bearer: str, on_behalf_of: str | None) -> Caller:
        """Who sent `bearer`. `on_behalf_of` is whom the service acts for, where it does.

        Raises:
            BadCredentials: it is neither the service key nor a valid JWT of the host application.
            KeysUnavailable: it may be one, but the keys cannot be fetched.
        """
        # Over bytes: compare_digest refuses text that is not ASCII.
        given = bearer.encode(errors="surrogateescape")
        if any(hmac.compare_digest(given, key) for key in self._service_keys):
            return ServiceCaller(on_behalf_of)
        if on_behalf_of is not None:
            raise BadCredentials("only the service key acts for others")
        return self._user(await self._claims(bearer))

    async def _claims(self, token: str) -> dict[str, Any]:
        if not self._secrets and self._keys is None:
            raise BadCredentials("no host JWTs are configured")
        try:
            if self._keys is not None:
                key = await self._keys.key(jwt.get_unverified_header(token).get("kid"))
                claims = self._decoded(token, key, _ALGORITHMS.get(key.key_type or "", ()))
            else:
                claims = by_any(
                    self._secrets,
                    lambda secret: self._decoded(token, secret, ("HS256",)),
                    jwt.InvalidSignatureError,
                )
        except jwt.PyJWTError as error:
            raise BadCredentials(type(error).__name__) from error
        except (ValueError, TypeError, RecursionError) as error:
            # What a library makes of bytes that are no JWT is not all one exception.
            raise BadCredentials("malformed") from error
        self._check_times(claims)
        return claims

    def _decoded(self, token: str, key: str | jwt.PyJWK, algorithms: Sequence[str]) -> dict[str, Any]:
        """The claims, with issuer and audience checked. `_check_times` checks the times, by our clock."""
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            issuer=self._issuer,
            audience=self._audience,
            options={
                "require": ["iss", "aud", "sub", "exp"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name)
            if value is None and name != "exp":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadCredentials(f"{name} is no time")
            if name == "exp" and not value > now - LEEWAY_SECONDS:
                raise BadCredentials("expired")
            if name != "exp" and not value <= now + LEEWAY_SECONDS:
                raise BadCredentials(f"{name} is in the future")

    @staticmethod
    def _user(claims: dict[str, Any]) -> UserCaller:
        subject, name = claims["sub"], claims.get("name", "")
        if not isinstance(subject, str) or not _USER_ID.fullmatch(subject):
            raise BadCredentials("sub is no user id")
        # A name is shown to others, and nothing hangs on it: what cannot be shown is left out.
        shown = _CONTROL.sub("", name)[:_MAX_NAME] if isinstance(name, str) else ""
        return UserCaller(subject, shown.encode(errors="ignore").decode())


class KeySet:
    """The host application's public keys, fetched when they are needed and remembered for a while."""

    def __init__(
        self, url: str, *, transport: httpx.AsyncBaseTransport | None, monotonic: Callable[[], float]
    ) -> None:
        self._url = url
        # No redirect: it could lead away from https.
        self._client = httpx.AsyncClient(timeout=_JWKS_TIMEOUT_SECONDS, transport=transport)
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._tried: float | None = None

    async def aclose(self) -> None:
        await self._client.aclose()

    async def key(self, key_id: object) -> jwt.PyJWK:
        """The key of that id; without an id, the only key there is.

        Raises:
            BadCredentials: there is no such key.
            KeysUnavailable: no keys can be had.
        """
        if key_id is not None and not isinstance(key_id, str):
            raise BadCredentials("kid is no text")
        async with self._lock:
            now = self._monotonic()
            stale = self._fetched is None or now - self._fetched > JWKS_FRESH_SECONDS
            if (stale or self._find(key_id) is None) and (
                self._tried is None or now - self._tried > JWKS_COOLDOWN_SECONDS
            ):
                self._tried = now
                await self._fetch()
        if not self._keys:
            raise KeysUnavailable
        found = self._find(key_id)
        if found is None:
            raise BadCredentials("kid is unknown")
        return found

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        """Fetch the keys. Where that fails, the old ones go on being used."""
        try:
            async with asyncio.timeout(_JWKS_TIMEOUT_SECONDS):
                response = await self._client.get(self._url)
            if response.status_code != 200 or len(response.content) > _JWKS_MAX_BYTES:
                raise ValueError(f"status {response.status_code}, {len(response.content)} bytes")
            keys = _signing_keys(json.loads(response.content))
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, RecursionError) as error:
            log.warning("host_keys_not_fetched", error=f"{type(error).__name__}: {error}"[:200])
            return
        self._keys, self._fetched = keys, self._monotonic()


def _signing_keys(document: Any) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWK set that this service can verify with; others are left alone.

    Raises:
        ValueError, TypeError: it is no JWK set.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JWK set")
    keys: dict[str | None, jwt.PyJWK] = {}
    for entry in document["keys"]:
        if not isinstance(entry, dict) or entry.get("kty") not in _ALGORITHMS:
            continue
        if entry.get("use", "sig") != "sig" or entry.get("alg") not in {None, *_ALGORITHMS[entry["kty"]]}:
            continue
        try:
            keys[entry.get("kid")] = jwt.PyJWK(entry, _ALGORITHMS[entry["kty"]][0])
        except jwt.PyJWTError:
            continue
    return keys
