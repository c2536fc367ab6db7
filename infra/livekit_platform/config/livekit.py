"""The SFUs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from livekit_platform.config.section import OPTIONAL_NAME, Resources, Section


class LiveKit(Section):
    """The SFU."""

    replicas: int | None = Field(
        default=None,
        ge=1,
        description="how many SFUs, at most one per node in `nodes`; one per node where left out",
        examples=[2],
    )
    # Known at preview, because webhooks name it; the secret that belongs to it is generated.
    api_key: str = Field(
        default="platform",
        pattern=r"^[A-Za-z0-9_-]{3,64}$",
        description="3 to 64 letters, digits, - or _",
    )
    previous_api_key: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{3,64}$",
        description="3 to 64 letters, digits, - or _: the earlier `api_key`, while what it signed is still "
        "taken; its secret is `secrets.livekit_previous_api_secret`",
        examples=["platform-2025"],
    )
    interfaces: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")], ...] = Field(
        default=("eth0",),
        min_length=1,
        description="names of the network interfaces of the nodes that carry media (`ip link`), at least one",
        examples=[["eth0", "ens5"]],
    )
    log_level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description="one of debug, info, warn, error"
    )
    region: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        description="up to 64 letters, digits, - or _",
        examples=["eu-central"],
    )
    room_auto_create: bool = Field(
        default=False,
        description="false (token-api creates rooms, as does a token with the grant `roomCreate`) or true "
        "(every join creates its room; then old tokens reopen the rooms of streams that have ended)",
    )
    drain_seconds: int = Field(
        default=600,
        ge=5,
        le=17980,
        description="seconds from 5 to 17980 that a stopping SFU waits for its calls; cluster autoscalers "
        "cut it at their own limit, commonly 600",
    )
    priority_class: str = Field(
        default="",
        pattern=OPTIONAL_NAME,
        description="the name of an existing PriorityClass, or empty for the platform's own",
        examples=["business-critical"],
    )
    resources: Resources = Field(default=Resources(), description="an object of quantities")
