"""Where recordings are kept."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

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
    port_of,
)

# An S3 store's address without a path.
Endpoint = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$"), AfterValidator(port_in_range)
]
BUCKET = r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"
REGION = r"^[a-z0-9-]{1,64}$"
ENDPOINT_ALLOWED = "the store's address without a path, such as https://s3.eu-central-1.example.com"
BUCKET_ALLOWED = "a bucket name: 3 to 63 of a-z, 0-9 and -"
REGION_ALLOWED = "1 to 64 of a-z, 0-9 and -"
PATH_STYLE_ALLOWED = "true (bucket in the path) or false (bucket in the host name)"


class ExternalStore(Section):
    """An S3-compatible store that somebody else keeps."""

    endpoint: Endpoint = Field(description=ENDPOINT_ALLOWED, examples=["https://s3.eu-central-1.example.com"])
    cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the host of `endpoint` is, where its address is no "
        "public one: token-api and the egress workers connect to it",
        examples=[["10.60.0.0/24"]],
    )
    # Virtual-host addressing needs a DNS name per bucket, which many compatible stores do not have.
    path_style: bool = Field(default=True, description=PATH_STYLE_ALLOWED)
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
        return port_of(self.endpoint)


class ObjectStore(Section):
    """versitygw with a volume, or a store of somebody else's."""

    kind: Literal["embedded", "external"] = Field(
        default="embedded",
        description="`embedded` (versitygw in the cluster) or `external` (given by `external`)",
    )
    bucket: str = Field(default="recordings", pattern=BUCKET, description=BUCKET_ALLOWED)
    region: str = Field(default="us-east-1", pattern=REGION, description=REGION_ALLOWED)
    storage_size: Quantity = Field(default="10Gi", description=QUANTITY_ALLOWED)
    storage_class: str = Field(
        default="", pattern=OPTIONAL_NAME, description=STORAGE_CLASS_ALLOWED, examples=["fast-ssd"]
    )
    external: ExternalStore | None = Field(default=None, description="an object, for kind `external`")
