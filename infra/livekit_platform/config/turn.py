"""How clients that reach no SFU port directly are served."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from livekit_platform.config.section import Resources, Section

# Where nothing is said: clients are told two addresses of each server, and one more would be too many.
_SERVERS = 2


class Turn(Section):
    """The TURN servers: coturn of its own, or the server inside LiveKit."""

    kind: Literal["coturn", "embedded"] = Field(
        default="coturn",
        description="`coturn` (UDP, TCP and TLS, servers of its own) or `embedded` (UDP and, through the "
        "edge, TLS, inside each SFU)",
    )
    # A client is told two addresses of each server, and browsers grow slow with more than a handful.
    replicas: int | None = Field(
        default=None,
        ge=1,
        le=8,
        description="how many coturn servers, from 1 to 8 and at most one per node in `nodes`; the smaller "
        "of 2 and the number of nodes where left out",
        examples=[2],
    )
    ttl_seconds: int = Field(
        default=3600,
        ge=60,
        le=86400,
        description="seconds from 60 to 86400 for which a client's TURN credentials are good; it gets "
        "new ones whenever it joins or resumes",
    )
    allocations_per_address: int = Field(
        default=200,
        ge=0,
        le=5000,
        description="how many allocations at one coturn one client address may begin by UDP, hold by TCP, "
        "and hold by TLS at each edge, from 1 to 5000; whole schools share an address. 0: no limit, and "
        "coturn's pods need no capability (NET_ADMIN)",
    )
    expected_participants: int = Field(
        default=1000,
        ge=1,
        le=1000000,
        description="how many participants at the same time each server must have relays for, from 1 to "
        "1000000",
    )
    # The pod gets ten seconds more than these, and 18000 is the longest that any pod of the platform gets.
    drain_seconds: int = Field(
        default=600,
        ge=5,
        le=17985,
        description="seconds from 5 to 17985 that a stopping coturn keeps the relays that it has",
    )
    metrics: bool = Field(
        default=True,
        description="true (an exporter beside each coturn serves Prometheus metrics) or false",
    )
    resources: Resources = Field(
        default=Resources(cpu_request="200m", memory_request="64Mi", memory_limit="512Mi"),
        description="an object of quantities",
    )

    def servers(self, nodes: int) -> int:
        """How many coturn servers there are to be on so many nodes."""
        return self.replicas or min(_SERVERS, nodes)
