"""Which image each part runs, and where it comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from livekit_platform.config.section import SecretName, Section

_IMAGE = (
    r"^([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)


def _pinned(image: str) -> str:
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    if not digest and tag in ("", "latest"):
        raise ValueError("not pinned")
    return image


Image = Annotated[str, Field(pattern=_IMAGE), AfterValidator(_pinned)]

_IMAGE_ALLOWED = (
    "an image with a tag other than `latest`, or a digest: registry/path:tag[@sha256:...]; without a "
    "registry, `images.registry` is put before it"
)
_OURS_ALLOWED = (
    f"{_IMAGE_ALLOWED}; it is built from this repository: `make images-push` publishes it and says its name"
)


def has_registry(image: str) -> bool:
    """Whether `image` begins with a registry: as containerd and docker tell one from a path."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


class Images(Section):
    """References of all images."""

    registry: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$",
        description="a registry, with a path if need be, that is put before images named without one",
        examples=["registry.example.com/livekit-platform"],
    )
    pull_secrets: tuple[SecretName, ...] = Field(
        default=(),
        description="names of existing Secrets in the platform's namespace, of type "
        "kubernetes.io/dockerconfigjson",
        examples=[["registry-login"]],
    )
    livekit: Image = Field(default="docker.io/livekit/livekit-server:v1.13.5", description=_IMAGE_ALLOWED)
    coturn: Image = Field(default="docker.io/coturn/coturn:4.18.0", description=_IMAGE_ALLOWED)
    nftables: Image = Field(
        default="registry.k8s.io/build-image/distroless-iptables:v0.8.9", description=_IMAGE_ALLOWED
    )
    redis: Image = Field(default="docker.io/library/redis:7.0.15-bookworm", description=_IMAGE_ALLOWED)
    haproxy: Image = Field(default="docker.io/library/haproxy:3.0.11", description=_IMAGE_ALLOWED)
    versitygw: Image = Field(default="docker.io/versity/versitygw:v1.8.0", description=_IMAGE_ALLOWED)
    egress: Image = Field(default="docker.io/livekit/egress:v1.14.1", description=_IMAGE_ALLOWED)
    token_api: Image = Field(
        description=_OURS_ALLOWED, examples=["token-api:0123456789ab@sha256:" + "0123456789abcdef" * 4]
    )
    object_store_setup: Image = Field(
        description=_OURS_ALLOWED,
        examples=["registry.example.com/livekit-platform/object-store-setup:0123456789ab"],
    )

    turn_exporter: Image = Field(
        description=_OURS_ALLOWED,
        examples=["registry.example.com/livekit-platform/turn-exporter:0123456789ab"],
    )
    recorder: Image | None = Field(
        default=None,
        description=f"{_OURS_ALLOWED}; for `egress.kind` `recorder`",
        examples=["registry.example.com/livekit-platform/recorder:0123456789ab"],
    )

    def complete(self, image: str) -> str:
        """`image` with its registry: its own, or `registry`."""
        return image if has_registry(image) or self.registry is None else f"{self.registry}/{image}"

    def references(self) -> dict[str, str]:
        """Every image as it is configured, by field name."""
        images = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("registry", "pull_secrets")
        }
        return {name: image for name, image in images.items() if image is not None}
