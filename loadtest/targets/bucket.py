"""The bucket that a stack's recordings go to."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer


class Bucket(BaseModel):
    """An S3 bucket, and how to reach it.

    Attributes:
        endpoint: URL of the store, without the bucket.
        region: that requests are signed for.
        names, ca_certificate: as `http_session` takes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    name: str
    region: str = "us-east-1"
    access_key: SecretStr
    secret_key: SecretStr
    names: Mapping[str, IPv4Address]
    ca_certificate: str

    @field_serializer("access_key", "secret_key", when_used="json")
    def _in_clear(self, key: SecretStr) -> str:
        """Its JSON goes to one place: the stdin of the evaluating process."""
        return key.get_secret_value()
