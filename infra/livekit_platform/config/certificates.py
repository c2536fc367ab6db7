"""The stack's own certificate authority and the certificate that it signed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from livekit_platform.config.section import Section

_CERTIFICATE_START = "-----BEGIN CERTIFICATE-----"
_CREATED = "`make up` (stack `local`) or `make secrets` creates and renews it"

Certificate = Annotated[str, Field(pattern=f"^{_CERTIFICATE_START}")]


class Certificates(Section):
    """The authority and the edge's certificate for `edge.tls.kind` `own_ca`. No other kind reads them."""

    ca_certificate: Certificate | None = Field(
        default=None,
        description=f"the authority's certificate in PEM; {_CREATED}",
        examples=[_CERTIFICATE_START],
    )
    ca_private_key: SecretStr | None = Field(
        default=None, description=f"the authority's EC key in PEM, encrypted; {_CREATED}"
    )
    server_certificate: Certificate | None = Field(
        default=None,
        description=f"the edge's certificate in PEM, signed by the authority; {_CREATED}",
        examples=[_CERTIFICATE_START],
    )
    server_private_key: SecretStr | None = Field(
        default=None, description=f"the edge's EC key in PEM, encrypted; {_CREATED}"
    )

    def private_keys(self) -> dict[str, SecretStr]:
        """The private keys that are present, by field name."""
        keys = {"ca_private_key": self.ca_private_key, "server_private_key": self.server_private_key}
        return {name: key for name, key in keys.items() if key is not None}
