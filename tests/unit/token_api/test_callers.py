"""Who a bearer is: the service key, JWTs by a shared secret, and JWTs by the host's public keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.unit.token_api.api import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET, FrozenClock
from tests.unit.token_api.support import SERVICE_KEY
from token_api.callers import (
    JWKS_COOLDOWN_SECONDS,
    JWKS_FRESH_SECONDS,
    LEEWAY_SECONDS,
    Authenticator,
    BadCredentials,
    KeysUnavailable,
    ServiceCaller,
    UserCaller,
)
from token_api.settings import load_settings

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
URL = "https://host.test/keys?v=1"
EARLIER_KEY = "earlier-service-key-0123456789-abcdef"
EARLIER_SECRET = "earlier-jwt-secret-0123456789-abcdef"


def public(key: Any, key_id: str, **more: str) -> dict[str, Any]:
    """A public key as a JWK set has it."""
    algorithm: Any = OKPAlgorithm
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = RSAAlgorithm
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id, **more}


class Host:
    """The host application's keys, as the service fetches them; `answer` None: it is away."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.answer: Any = {"keys": list(keys)}
        self.asked = 0
        self.seconds = 1000.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == URL
        self.asked += 1
        if self.answer is None:
            raise httpx.ConnectError("away")
        if isinstance(self.answer, httpx.Response):
            return self.answer
        return httpx.Response(200, json=self.answer)


def by_keys(environment: pytest.MonkeyPatch, host: Host) -> Authenticator:
    environment.setenv("TOKEN_API_HOST_JWKS_URL", URL)
    return _authenticator(environment, httpx.MockTransport(host.handle), lambda: host.seconds)


def by_secret(environment: pytest.MonkeyPatch) -> Authenticator:
    environment.setenv("TOKEN_API_HOST_JWT_SECRET", HOST_SECRET)
    return _authenticator(environment, None, lambda: 0.0)


def _authenticator(environment: pytest.MonkeyPatch, transport: Any, monotonic: Any) -> Authenticator:
    environment.setenv("TOKEN_API_HOST_JWT_ISSUER", HOST_ISSUER)
    environment.setenv("TOKEN_API_HOST_JWT_AUDIENCE", HOST_AUDIENCE)
    return Authenticator(load_settings(), FrozenClock(), transport=transport, monotonic=monotonic)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with `changes`; None leaves one out."""
    now = int(FrozenClock().now().timestamp())
    made = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": "ada", "exp": now + 60, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any, algorithm: str, key_id: str | None = "one", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": key_id} if key_id else None)


async def refused(authenticator: Authenticator, token: str, on_behalf_of: str | None = None) -> str:
    with pytest.raises(BadCredentials) as caught:
        await authenticator.caller(token, on_behalf_of)
    return str(caught.value)


async def test_two_service_keys_and_two_secrets_are_accepted_while_one_is_replaced(
    environment: pytest.MonkeyPatch,
) -> None:
    for variable, value in {
        "TOKEN_API_SERVICE_KEY_PREVIOUS": EARLIER_KEY,
        "TOKEN_API_HOST_JWT_SECRET_PREVIOUS": EARLIER_SECRET,
    }.items():
        environment.setenv(variable, value)
    authenticator = by_secret(environment)
    for key in (SERVICE_KEY, EARLIER_KEY):
        assert await authenticator.caller(key, "ada") == ServiceCaller("ada")
    for secret in (HOST_SECRET, EARLIER_SECRET):
        assert await authenticator.caller(jwt.encode(claims(), secret), None) == UserCaller("ada")
        # A service key is no secret of JWTs, and a secret is no service key.
        await refused(authenticator, secret)
        await refused(authenticator, jwt.encode(claims(aud="other"), secret))
    for key in (SERVICE_KEY, EARLIER_KEY, "unknown-secret-0123456789-abcdefghijk"):
        await refused(authenticator, jwt.encode(claims(), key))


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
async def test_each_kind_of_key_knows_its_user(
    environment: pytest.MonkeyPatch, key: Any, algorithm: str
) -> None:
    host = Host(public(key, "one"))
    authenticator = by_keys(environment, host)
    for key_id in ("one", None):
        found = await authenticator.caller(signed(key, algorithm, key_id, name="Ada\x00"), None)
        assert found == UserCaller("ada", "Ada")
    assert host.asked == 1
    await refused(authenticator, signed(OTHER_RSA, "RS256"))


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims())
    )
    return ".".join([*parts, signature])


async def test_a_public_key_is_no_secret_and_none_is_no_algorithm(environment: pytest.MonkeyPatch) -> None:
    authenticator = by_keys(environment, Host(public(RSA, "one")))
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # As an attacker would: the public key as the secret of HS256. PyJWT itself refuses to sign so.
    head = unsigned({"alg": "HS256", "typ": "JWT", "kid": "one"}).rstrip(".")
    forged = base64.urlsafe_b64encode(hmac.digest(pem, head.encode(), hashlib.sha256)).rstrip(b"=").decode()
    await refused(authenticator, f"{head}.{forged}")
    for algorithm in ("none", "None", "RS512", "PS256", "ES256", 1, None):
        await refused(authenticator, unsigned({"alg": algorithm, "kid": "one"}))
        await refused(authenticator, unsigned({"alg": algorithm, "kid": "one"}, "AAAA"))
    # A key that the token brings along is never used.
    await refused(
        authenticator,
        jwt.encode(claims(), OTHER_RSA, "RS256", headers={"kid": "one", "jwk": public(OTHER_RSA, "one")}),
    )


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_by_secret_only_hs256_holds(environment: pytest.MonkeyPatch) -> None:
    authenticator = by_secret(environment)
    assert await authenticator.caller(signed(HOST_SECRET, "HS256", None), None) == UserCaller("ada")
    for token in (
        signed(HOST_SECRET, "HS512", None),
        signed("x" * 40, "HS256", None),
        signed(RSA, "RS256"),
        unsigned({"alg": "none"}),
    ):
        await refused(authenticator, token)


NOW = int(FrozenClock().now().timestamp())


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("iss", "aud", "sub", "exp")),
        *({"iss": "https://other.test"}, {"aud": "other"}, {"aud": ["other"]}),
        *(
            {"exp": NOW - LEEWAY_SECONDS},
            {"exp": "4000000000"},
            {"exp": True},
            {"nbf": NOW + LEEWAY_SECONDS + 1},
        ),
        *({"iat": NOW + LEEWAY_SECONDS + 1}, {"nbf": "now"}),
        *({"sub": ""}, {"sub": "a b"}, {"sub": "x" * 129}, {"sub": "ä"}, {"sub": "ada\n"}),
    ],
)
async def test_claims_that_do_not_hold(environment: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    await refused(by_secret(environment), signed(HOST_SECRET, "HS256", None, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"exp": NOW - LEEWAY_SECONDS + 1}, {"nbf": NOW + LEEWAY_SECONDS}, {"aud": ["x", HOST_AUDIENCE]}],
)
async def test_claims_that_just_hold(environment: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    assert await by_secret(environment).caller(signed(HOST_SECRET, "HS256", None, **changes), None)


async def test_only_the_service_acts_for_others(environment: pytest.MonkeyPatch) -> None:
    authenticator = by_secret(environment)
    assert await authenticator.caller(SERVICE_KEY, "bob") == ServiceCaller("bob")
    assert "acts for others" in await refused(authenticator, signed(HOST_SECRET, "HS256", None), "bob")


async def test_a_new_key_is_fetched_when_it_is_first_used_and_not_for_every_guess(
    environment: pytest.MonkeyPatch,
) -> None:
    host = Host(public(RSA, "one"))
    authenticator = by_keys(environment, host)
    assert await authenticator.caller(signed(RSA, "RS256"), None)
    host.answer = {"keys": [public(RSA, "one"), public(EC, "two")]}
    new = signed(EC, "ES256", "two")
    assert await refused(authenticator, new) == "kid is unknown"
    assert host.asked == 1
    host.seconds += JWKS_COOLDOWN_SECONDS + 1
    assert await authenticator.caller(new, None)
    for number in range(5):
        await refused(authenticator, signed(RSA, "RS256", f"guess-{number}"))
    assert host.asked == 2
    # Several keys: one must be named. One that is gone from the set is gone here, too.
    await refused(authenticator, signed(RSA, "RS256", None))
    host.answer = {"keys": [public(EC, "two")]}
    host.seconds += JWKS_FRESH_SECONDS + 1
    await refused(authenticator, signed(RSA, "RS256"))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"keys": {}},
        httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
        httpx.Response(500),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b'{"keys": [' + b" " * 300_000 + b"]}"),
    ],
)
async def test_keys_that_cannot_be_had(environment: pytest.MonkeyPatch, answer: Any) -> None:
    host = Host(public(RSA, "one"))
    good = host.answer
    authenticator = by_keys(environment, host)
    host.answer = answer
    with pytest.raises(KeysUnavailable):
        await authenticator.caller(signed(RSA, "RS256"), None)
    host.answer = good
    host.seconds += JWKS_COOLDOWN_SECONDS + 1
    assert await authenticator.caller(signed(RSA, "RS256"), None)
    # Those that are known go on being used.
    host.answer = answer
    host.seconds += JWKS_FRESH_SECONDS + 1
    assert await authenticator.caller(signed(RSA, "RS256"), None)
    assert host.asked == 3


async def test_keys_of_other_kinds_and_uses_are_left_alone(environment: pytest.MonkeyPatch) -> None:
    secret = base64.urlsafe_b64encode(b"known to everyone, in a public list").decode()
    host = Host(
        {"kty": "oct", "k": secret, "kid": "one", "alg": "HS256"},
        public(OTHER_RSA, "two", use="enc"),
        public(OTHER_RSA, "three", alg="RS512"),
        {"kty": "RSA", "kid": "four", "n": "!", "e": "AQAB"},
        public(RSA, "five", use="sig", alg="RS256"),
    )
    authenticator = by_keys(environment, host)
    assert await authenticator.caller(signed(RSA, "RS256", "five"), None)
    await refused(authenticator, signed(b"known to everyone, in a public list", "HS256", "one"))
    for key_id in ("two", "three", "four"):
        await refused(authenticator, signed(OTHER_RSA, "RS256", key_id))
