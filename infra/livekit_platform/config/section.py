"""What every section of the configuration is made of: the base class, value types, and their sentences.

A field's `description` is the sentence shown as "allowed" where a value is refused, and in
docs/configuration.md.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
# The name of an object in the cluster, or nothing.
OPTIONAL_NAME = r"^[a-z0-9.-]{0,253}$"
_CPU = r"^[0-9]+(\.[0-9]{1,3}|m)?$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(k|Ki|M|Mi|G|Gi|T|Ti)?$"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_LEAST_BYTES = 2**20


class Section(BaseModel):
    """A part of the configuration: immutable, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keep_the_rest(cls, given: Any) -> Any:
        """Whoever sets one key of a part within this one keeps the others as this one has them by default."""
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Section) and isinstance(given.get(name), dict):
                filled[name] = {**field.default.model_dump(exclude_unset=True), **given[name]}
        return filled


def existing_file(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_absolute() or not path.is_file():
        # A relative path would be taken from infra/, where the program runs: never what was meant.
        raise ValueError("not an absolute path of a file")
    return path


def reachable(address: IPv4Address) -> IPv4Address:
    # `is_reserved` is 240.0.0.0/4 with the broadcast address.
    nobody = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    if nobody or address.is_reserved:
        raise ValueError("not reachable")
    return address


def port_in_range(address: str) -> str:
    """For what ends with `:port`, if it has one: a pattern counts digits, not ports."""
    port = address.rpartition(":")[2]
    if port.isdigit() and not 1 <= int(port) <= 65535:
        raise ValueError("no port")
    return address


def bytes_of(quantity: str) -> float:
    """A quantity of memory or storage in bytes."""
    number = quantity.rstrip("kKMGTi")
    return float(number) * {**_UNITS, **_BINARY_UNITS}[quantity[len(number) :]]


def cores_of(quantity: str) -> float:
    """A quantity of processor time in cores."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def port_of(url: str) -> int:
    """The port of an http:// or https:// address: its own, or the default one of its scheme."""
    address = urlsplit(url)
    return address.port or (443 if address.scheme == "https" else 80)


def _some_bytes(quantity: str) -> str:
    # "512" is taken for 512 bytes by Kubernetes, and kills every container at once.
    if bytes_of(quantity) < _LEAST_BYTES:
        raise ValueError("too few")
    return quantity


def _some_cpu(quantity: str) -> str:
    if cores_of(quantity) == 0:
        raise ValueError("none")
    return quantity


def _strong(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not 32 <= len(text) <= 256 or len(set(text)) < 8 or not all("!" <= letter <= "~" for letter in text):
        raise ValueError("weak or unusable")
    return secret


Cpu = Annotated[str, Field(pattern=_CPU), AfterValidator(_some_cpu)]
Annotations = dict[Annotated[str, Field(min_length=1)], str]
Quantity = Annotated[str, Field(pattern=_QUANTITY), AfterValidator(_some_bytes)]
Port = Annotated[int, Field(ge=1, le=65535)]
GivenSecret = Annotated[SecretStr, AfterValidator(_strong)]
SecretName = Annotated[str, Field(pattern=DNS_NAME, max_length=253)]

PORT_ALLOWED = "a port number from 1 to 65535"
KEY_ALLOWED = (
    "32 to 256 printable ASCII characters without spaces, at least 8 of them different, encrypted: `make up` "
    "(stack `local`) or `make secrets` generates it; `pulumi config set --secret --path` sets your own"
)
CPU_ALLOWED = "processor cores above 0, such as 250m (thousandths) or 2"
QUANTITY_ALLOWED = "a Kubernetes quantity of bytes, at least 1Mi, such as 128Mi or 1Gi"
SECRET_NAME_ALLOWED = "the name of an existing Secret in the platform's namespace"  # noqa: S105
STORAGE_CLASS_ALLOWED = "the name of a StorageClass, or empty for the default one"


class Resources(Section):
    """What a container asks for and is held to. CPU is not limited: throttling shows as jitter in calls."""

    cpu_request: Cpu = Field(default="500m", description=CPU_ALLOWED)
    memory_request: Quantity = Field(
        default="256Mi", description=f"{QUANTITY_ALLOWED}; not above `memory_limit`"
    )
    memory_limit: Quantity = Field(default="2Gi", description=QUANTITY_ALLOWED)

    def to_values(self) -> dict[str, dict[str, str]]:
        """As a container's `resources`."""
        return {
            "requests": {"cpu": self.cpu_request, "memory": self.memory_request},
            "limits": {"memory": self.memory_limit},
        }
