"""The token service and its database."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from livekit_platform.config.section import SECRET_NAME_ALLOWED, SecretName, Section


class TokenApi(Section):
    """The token service."""

    replicas: int = Field(default=2, ge=1, le=20, description="a number from 1 to 20")


class Database(Section):
    """Where token-api keeps what it must not lose."""

    kind: Literal["embedded", "external"] = Field(
        default="embedded", description="`embedded` (none outside the service) or `external` (PostgreSQL)"
    )
    secret_name: SecretName | None = Field(
        default=None,
        description=f"{SECRET_NAME_ALLOWED} with the key `url` (postgresql://...), for kind `external`",
        examples=["token-api-database"],
    )
