"""The token service and its database."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from livekit_platform.config.section import (
    OPTIONAL_NAME,
    QUANTITY_ALLOWED,
    SECRET_NAME_ALLOWED,
    STORAGE_CLASS_ALLOWED,
    Port,
    Quantity,
    SecretName,
    Section,
    port_in_range,
)

_HTTPS_PORT = 443
Origin = Annotated[
    str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$", max_length=253), AfterValidator(port_in_range)
]


def _port_in_range(url: str) -> str:
    port_in_range(url.partition("://")[2].partition("/")[0])
    return url


class HostAuth(Section):
    """How the JWTs are verified by which the host application's users call."""

    kind: Literal["none", "secret", "jwks"] = Field(
        default="none",
        description="`none` (users cannot call, the host application's server can), `secret` (HS256, with "
        "`secrets.host_jwt_secret`) or `jwks` (public keys at `jwks_url`)",
    )
    issuer: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="1 to 256 characters: the `iss` of the JWTs",
        examples=["https://www.example.com"],
    )
    audience: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="1 to 256 characters: what is in the `aud` of the JWTs",
        examples=["token-api"],
    )
    jwks_url: Annotated[str, AfterValidator(_port_in_range)] | None = Field(
        default=None,
        pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^@\s]*)?$",
        description="an https:// address without user and password, for kind `jwks`",
        examples=["https://www.example.com/.well-known/jwks.json"],
    )
    jwks_cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the host of `jwks_url` is, where its address is no "
        "public one",
        examples=[["10.20.0.0/24"]],
    )

    @property
    def jwks_port(self) -> int:
        """The port of `jwks_url`."""
        return urlsplit(self.jwks_url or "").port or _HTTPS_PORT


class Chat(Section):
    """Who carries chat messages."""

    provider: Literal["builtin", "getstream"] = Field(
        default="builtin",
        description="`builtin` (token-api and LiveKit) or `getstream` (clients get tokens for "
        "GetStream, which is told of bans)",
    )
    secret_name: SecretName | None = Field(
        default=None,
        description=f"{SECRET_NAME_ALLOWED} with GetStream's `key` and `secret`, for provider `getstream`",
        examples=["getstream"],
    )


class TokenApi(Section):
    """The token service."""

    replicas: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="a number from 1 to 20; where left out, 2, or 1 with an `embedded` database, which "
        "allows no more",
        examples=[3],
    )
    host_auth: HostAuth = Field(default=HostAuth(), description="an object")
    chat: Chat = Field(default=Chat(), description="an object")
    cors_origins: tuple[Origin, ...] = Field(
        default=(),
        description="a list of origins of pages whose scripts may call: https://host, in lower case, with a "
        "port where it is another than 443",
        examples=[["https://www.example.com"]],
    )
    webhook_ports: tuple[Port, ...] = Field(
        default=(_HTTPS_PORT,),
        description="a list of port numbers from 1 to 65535: where webhooks may go to at public addresses",
    )
    webhook_allow: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks that webhooks may go to, at every port, although their "
        "addresses are private",
        examples=[["10.30.0.0/24"]],
    )
    creator_grace_seconds: int = Field(
        default=300,
        ge=10,
        le=86400,
        description="seconds from 10 to 86400 after which a stream whose creator is gone is ended",
    )

    def replicas_with(self, database: Database) -> int:
        """How many replicas there are with `database`."""
        return self.replicas or (1 if database.kind == "embedded" else 2)


class Database(Section):
    """Where token-api keeps what it must not lose."""

    kind: Literal["embedded", "external"] = Field(
        default="embedded",
        description="`embedded` (SQLite on a volume of the service, with one replica) or `external` "
        "(PostgreSQL)",
    )
    secret_name: SecretName | None = Field(
        default=None,
        description=f"{SECRET_NAME_ALLOWED} with the key `url` (postgresql://...?sslmode=verify-full; with a "
        "key `ca.crt`, also &sslrootcert=/database/ca.crt), for kind `external`",
        examples=["token-api-database"],
    )
    port: Port = Field(
        default=5432, description="the port number in the `url`, from 1 to 65535, for kind `external`"
    )
    cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the host of the `url` is, for kind `external`; "
        "anywhere where empty",
        examples=[["10.40.0.0/24"]],
    )
    storage_size: Quantity = Field(default="1Gi", description=f"{QUANTITY_ALLOWED}; for kind `embedded`")
    storage_class: str = Field(
        default="", pattern=OPTIONAL_NAME, description=STORAGE_CLASS_ALLOWED, examples=["fast-ssd"]
    )
