"""The platform's secrets: given by the owner, or generated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from livekit_platform.config import Secrets
from livekit_platform.random_secret import RandomSecret


@dataclass(frozen=True)
class PlatformSecretsArgs:
    secrets: Secrets
    # Whether Pulumi refuses to delete them.
    protect: bool


class PlatformSecrets(pulumi.ComponentResource):
    """Every secret value by its field name of `Secrets`, as an output that is marked secret."""

    values: Mapping[str, pulumi.Output[str]]

    def __init__(self, name: str, args: PlatformSecretsArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:PlatformSecrets", name, {}, opts)
        given = args.secrets.given()

        def value(field: str) -> pulumi.Output[str]:
            if field in given:
                return pulumi.Output.secret(given[field].get_secret_value())
            return RandomSecret(
                field.replace("_", "-"),
                generation=args.secrets.generation,
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            ).value

        self.values = {field: value(field) for field in (*Secrets.names(), *given)}
        self.register_outputs({})
