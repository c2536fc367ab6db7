"""The platform's secrets: given by the owner, or generated once."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from livekit_platform.config import Secrets
from livekit_platform.random_secret import RandomSecret


@dataclass(frozen=True)
class PlatformSecretsArgs:
    secrets: Secrets


class PlatformSecrets(pulumi.ComponentResource):
    """Every secret value, as an output that is marked secret."""

    livekit_api_secret: pulumi.Output[str]
    redis_password: pulumi.Output[str]
    api_service_key: pulumi.Output[str]

    def __init__(self, name: str, args: PlatformSecretsArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:PlatformSecrets", name, {}, opts)
        given = args.secrets.given()

        def value(field: str) -> pulumi.Output[str]:
            if field in given:
                return pulumi.Output.secret(given[field].get_secret_value())
            return RandomSecret(
                field.replace("_", "-"),
                generation=args.secrets.generation,
                opts=pulumi.ResourceOptions(parent=self),
            ).value

        self.livekit_api_secret = value("livekit_api_secret")
        self.redis_password = value("redis_password")
        self.api_service_key = value("api_service_key")
        self.register_outputs({})
