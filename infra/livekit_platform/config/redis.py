"""What the SFUs share their state through."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from livekit_platform.config.section import (
    OPTIONAL_NAME,
    QUANTITY_ALLOWED,
    STORAGE_CLASS_ALLOWED,
    Port,
    Quantity,
    Section,
    port_in_range,
)

_HOST_PORT = r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$"
HostPort = Annotated[str, Field(pattern=_HOST_PORT), AfterValidator(port_in_range)]
_HOST_PORT_ALLOWED = 'a "host:port"'


def _port_in(address: str) -> int:
    return int(address.rpartition(":")[2])


class ExternalRedis(Section):
    """A Redis that somebody else keeps: by its address, or by its Sentinels."""

    address: HostPort | None = Field(
        default=None, description=f"{_HOST_PORT_ALLOWED} of the server", examples=["redis.example.com:6380"]
    )
    sentinel_master_name: str | None = Field(
        default=None,
        min_length=1,
        description="the name under which the Sentinels know the master",
        examples=["livekit"],
    )
    sentinel_addresses: tuple[HostPort, ...] = Field(
        default=(),
        description=f"a list of {_HOST_PORT_ALLOWED} of the Sentinels",
        examples=[["sentinel-0.example.com:26379", "sentinel-1.example.com:26379"]],
    )
    server_port: Port = Field(
        default=6379,
        description="the port number, from 1 to 65535, of the servers that the Sentinels name: policies let "
        "the egress workers connect to it",
    )
    cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the servers and Sentinels are: policies let the egress "
        "workers connect there; anywhere where empty",
        examples=[["10.50.0.0/24"]],
    )
    sentinel_auth: bool = Field(
        default=False, description="true (the Sentinels ask for the same user and password) or false"
    )
    username: str = Field(
        default="", description="the ACL user, or empty for the default one", examples=["livekit"]
    )
    db: int = Field(default=0, ge=0, le=15, description="a database number from 0 to 15")
    tls: bool = Field(default=True, description="true (TLS, checked against the system's CAs) or false")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of all servers and Sentinels."""
        if self.address is not None:
            return (_port_in(self.address),)
        return tuple(sorted({*map(_port_in, self.sentinel_addresses), self.server_port}))


class Redis(Section):
    """One Redis, three with Sentinel, or one of somebody else's."""

    kind: Literal["single", "sentinel", "external"] = Field(
        default="single",
        description="`single` (one in the cluster), `sentinel` (three that fail over) or `external` (given "
        "by `external`, its password by `secrets.redis_password`)",
    )
    maxmemory_mib: int = Field(
        default=256,
        ge=16,
        le=65536,
        description="MiB of data from 16 to 65536; the container gets twice that",
    )
    storage_size: Quantity = Field(default="1Gi", description=QUANTITY_ALLOWED)
    storage_class: str = Field(
        default="", pattern=OPTIONAL_NAME, description=STORAGE_CLASS_ALLOWED, examples=["fast-ssd"]
    )
    timeout_ms: int = Field(
        default=2000,
        ge=200,
        le=30000,
        description="ms from 200 to 30000 that LiveKit waits for Redis to connect, read and write where it "
        "fails over by Sentinel; below 1000 a stall of Redis looks like a dead node",
    )
    failover_ms: int = Field(
        default=5000,
        ge=1000,
        le=60000,
        description="ms from 1000 to 60000 of silence after which the Sentinels take the master for dead",
    )
    external: ExternalRedis | None = Field(default=None, description="an object, for kind `external`")
