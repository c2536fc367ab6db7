"""Where recordings are kept."""

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
    Annotations,
    Quantity,
    SecretName,
    Section,
    port_in_range,
)


class ExternalStore(Section):
    """An S3-compatible store that somebody else keeps."""

    endpoint: Annotated[str, AfterValidator(port_in_range)] = Field(
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        description="the store's address without a path, such as https://s3.eu-central-1.example.com",
        examples=["https://s3.eu-central-1.example.com"],
    )
    cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the host of `endpoint` is, where its address is no "
        "public one: token-api deletes recordings there",
        examples=[["10.60.0.0/24"]],
    )
    # Virtual-host addressing needs a DNS name per bucket, which many compatible stores do not have.
    path_style: bool = Field(
        default=True, description="true (bucket in the path) or false (bucket in the host name)"
    )
    secret_name: SecretName | None = Field(
        default=None,
        description=f"{SECRET_NAME_ALLOWED} with access_key_id and secret_access_key; or leave it out and "
        "set `service_account_annotations`",
        examples=["recordings-store"],
    )
    service_account_annotations: Annotations = Field(
        default={},
        description="annotations of the ServiceAccounts that use the store, by which the cluster's provider "
        "gives them an identity, as an object of texts",
        examples=[{"example.com/role": "livekit-recordings"}],
    )

    @property
    def port(self) -> int:
        """The port of `endpoint`."""
        address = urlsplit(self.endpoint)
        return address.port or (443 if address.scheme == "https" else 80)


class ObjectStore(Section):
    """versitygw with a volume, or a store of somebody else's."""

    kind: Literal["embedded", "external"] = Field(
        default="embedded",
        description="`embedded` (versitygw in the cluster) or `external` (given by `external`)",
    )
    bucket: str = Field(
        default="recordings",
        pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$",
        description="a bucket name: 3 to 63 of a-z, 0-9 and -",
    )
    region: str = Field(
        default="us-east-1", pattern=r"^[a-z0-9-]{1,64}$", description="1 to 64 of a-z, 0-9 and -"
    )
    storage_size: Quantity = Field(default="10Gi", description=QUANTITY_ALLOWED)
    storage_class: str = Field(
        default="", pattern=OPTIONAL_NAME, description=STORAGE_CLASS_ALLOWED, examples=["fast-ssd"]
    )
    external: ExternalStore | None = Field(default=None, description="an object, for kind `external`")
